package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// anywhere makes dev listen on free ports.
var anywhere = []string{
	"dev", "-page-listen", "127.0.0.1:0", "-listen", "127.0.0.1:0", "-ops-listen", "127.0.0.1:0", "-issuer-listen", "127.0.0.1:0", "-telnyx-listen", "127.0.0.1:0",
}

// devRun is a running `tokensvc dev`.
type devRun struct {
	welcome                  string
	page, service, ops, oidc string
	cmd                      *exec.Cmd
	exited                   chan error // how it ended; whoever takes it puts it back
}

var devAddress = regexp.MustCompile(`(?m)^  (page|service|ops|issuer) +(http://\S+)`)

func startDev(t *testing.T, args ...string) *devRun {
	t.Helper()
	return startDevIn(t, []string{"TMPDIR=" + t.TempDir()}, args...) // one that is killed leaves its folder
}

// startDevIn is startDev with these variables.
func startDevIn(t *testing.T, env []string, args ...string) *devRun {
	t.Helper()
	d := &devRun{exited: make(chan error, 1)}
	var stdout, stderr output
	d.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	d.cmd.Dir, d.cmd.Env = t.TempDir(), env
	d.cmd.Stdout, d.cmd.Stderr = &stdout, &stderr
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.exited <- d.cmd.Wait() }()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill() // if the test has not ended it
		<-d.exited
		if t.Failed() {
			t.Logf("tokensvc dev wrote:\n%s%s", stdout.String(), stderr.String())
		}
	})
	process.Eventually(t, startLimit, "tokensvc dev's welcome", func() error {
		if d.welcome = stdout.String(); !strings.Contains(d.welcome, "Ctrl-C") {
			return errors.New("it is not there yet")
		}
		return nil
	})
	for _, match := range devAddress.FindAllStringSubmatch(d.welcome, -1) {
		switch match[1] {
		case "page":
			d.page = match[2]
		case "service":
			d.service = match[2]
		case "ops":
			d.ops = match[2]
		case "issuer":
			d.oidc = match[2]
		}
	}
	client := checked(t, newTransport(t))
	process.Eventually(t, startLimit, "tokensvc dev ready", func() error {
		if got := do(t, client, newRequest(t, http.MethodGet, d.ops+"/readyz", nil)); got.status != http.StatusOK {
			return fmt.Errorf("/readyz answers %v", got)
		}
		return nil
	})
	return d
}

// What dev prints can be pasted, and does what is written above it.
func TestDevsLinesCanBePasted(t *testing.T) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			process.Skip(t, program+" is not installed: dev's lines are for a terminal that has it")
		}
	}
	d := startDev(t, anywhere...)
	lines := regexp.MustCompile(`(?m)^(\w+) (.+)\n  (curl .+)$`).FindAllStringSubmatch(d.welcome, -1)
	outcomes := map[string]string{}
	for _, line := range lines {
		person, shows, pasted := line[1], line[2], line[3]
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		cmd := exec.CommandContext(ctx, "bash", "-c", pasted)
		text, err := cmd.Output()
		cancel()
		if err != nil {
			t.Errorf("%s: %v", pasted, err)
			continue
		}
		var got struct{ Token, Code string }
		if err := json.Unmarshal(text, &got); err != nil {
			t.Errorf("%s: %v in %s", person, err, text)
		}
		outcomes[person] = got.Code
		if (got.Token != "") != (got.Code == "") || !strings.Contains(shows, got.Code) {
			t.Errorf("%s %s: got %s", person, shows, text)
		}
	}
	want := map[string]string{"alice": "", "bob": "no_credential", "carol": "denied", "dave": "credential_rejected"}
	if fmt.Sprint(outcomes) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", outcomes, want)
	}
}

func TestDevToken(t *testing.T) {
	d := startDev(t, anywhere...)
	pasted := regexp.MustCompile(`(?m)for scripts:  (.+)$`).FindStringSubmatch(d.welcome)
	if pasted == nil {
		t.Fatalf("no line for scripts in:\n%s", d.welcome)
	}
	words := strings.Fields(pasted[1])
	if words[0] != binary {
		t.Errorf("the line for scripts runs %s, want %s", words[0], binary)
	}
	got := runBinary(t, nil, words[1:]...)
	bearer := strings.TrimSuffix(got.stdout, "\n")
	if got.status != 0 || got.stderr != "" || strings.Count(bearer, ".") != 2 || strings.ContainsAny(bearer, " \n") {
		t.Fatalf("got %+v, want a bearer and nothing else", got)
	}
	c := &caller{t, checked(t, &http.Transport{DisableKeepAlives: true}), d.service}
	if answered := c.send(bearing(bearer)); answered.status != http.StatusOK || answered.token() == "" {
		t.Errorf("with that bearer: %v, want a token", answered)
	}
	if answered := c.send(bearing(bearer), header("Origin", "http://localhost:3000")); answered.header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("a page on localhost:3000 may not read the answer")
	}

	if got := runBinary(t, nil, "dev", "token", "-issuer", d.oidc, "mallory"); got.status != 1 || got.stdout != "" || !strings.Contains(got.stderr, "nobody of that name lives here: there are alice, bob, carol, dave") {
		t.Errorf("a bearer for a stranger: %+v", got)
	}
	if got := runBinary(t, nil, "dev", "token"); got.status != 2 || got.stdout != "" {
		t.Errorf("a bearer for nobody: %+v", got)
	}
	if got := runBinary(t, nil, "dev", "token", "-issuer", "127.0.0.1:8081", "alice"); got.status != 2 || !strings.Contains(got.stderr, "-issuer must be a URL, like http://127.0.0.1:8081") {
		t.Errorf("a bearer from no URL: %+v", got)
	}
	if got := runBinary(t, nil, "dev", "token", "alice", "-issuer", d.oidc); got.status != 2 || !strings.Contains(got.stderr, "flags go before the name") {
		t.Errorf("a bearer with the flag last: %+v", got)
	}
	if got := runBinary(t, nil, "dev", "token", "-issuer", "http://"+freeAddress(t), "alice"); got.status != 1 || !strings.Contains(got.stderr, "is `tokensvc dev` running there?") {
		t.Errorf("a bearer from a dev that does not run: %+v", got)
	}
}

// The real thing can be run in dev's world too, with what dev prints.
func TestServeRunsInDevsWorld(t *testing.T) {
	local := slices.Clone(anywhere)
	for i, arg := range local {
		local[i] = strings.Replace(arg, "127.0.0.1:", "localhost:", 1) // as people write it
	}
	d := startDev(t, local...)
	env := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^  export (\w+)='(.*)'$`).FindAllStringSubmatch(d.welcome, -1) {
		env[line[1]] = line[2]
	}
	s := startService(t, env)
	bearer := do(t, httpClient, newRequest(t, http.MethodGet, d.oidc+"/bearer/alice", nil)).body
	if got := s.ask(t, strings.TrimSpace(bearer)); got.status != http.StatusOK {
		t.Errorf("alice got %v, want a token", got)
	}
	bearer = do(t, httpClient, newRequest(t, http.MethodGet, d.oidc+"/bearer/carol", nil)).body
	if got := s.ask(t, strings.TrimSpace(bearer)); got.status != http.StatusForbidden {
		t.Errorf("carol got %v, want what dev's service says", got)
	}
}

func TestDevEndsWithCtrlC(t *testing.T) {
	startDev(t, anywhere...).interrupt(t)
}

// interrupt ends it as Ctrl-C does.
func (d *devRun) interrupt(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.exited:
		d.exited <- err
		if err != nil {
			t.Errorf("%v, want exit status 0", err)
		}
	case <-time.After(process.StopLimit):
		t.Errorf("still running %v after SIGINT", process.StopLimit)
	}
}

// dev's people are anybody who asks, so nobody else may be able to ask, and no
// real key may be near.
func TestDevKeepsToItself(t *testing.T) {
	const key = "KEY0190A5E66F4B7C3E8D2A_marked"
	busy := listening(t)
	another, free := listening(t), freeAddress(t)
	flagged := func(more ...string) []string { return append(append([]string{}, anywhere...), more...) }

	for _, row := range []struct {
		what   string
		env    []string
		args   []string
		status int
		says   []string
	}{
		{"the softphone for everybody", nil, flagged("-page-listen", "0.0.0.0:0"), 2, []string{"-page-listen must be a loopback address"}},
		{"the service for everybody", nil, flagged("-listen", "0.0.0.0:0"), 2, []string{"-listen must be a loopback address"}},
		{"the service for everybody, put shortly", nil, flagged("-listen", ":0"), 2, []string{"-listen must be a loopback address"}},
		{"health for everybody", nil, flagged("-ops-listen", "0.0.0.0:0"), 2, []string{"-ops-listen must be a loopback address"}},
		{"the issuer for everybody", nil, flagged("-issuer-listen", "0.0.0.0:0"), 2, []string{"-issuer-listen must be a loopback address"}},
		{"the emulator for everybody", nil, flagged("-telnyx-listen", "[::]:0"), 2, []string{"-telnyx-listen must be a loopback address"}},
		{"a name that may be anything", nil, flagged("-listen", "phone.example.com:0"), 2, []string{"-listen must be a loopback address"}},
		{"a real key", []string{"TELNYX_API_KEY=" + key}, anywhere, 2, []string{"TELNYX_API_KEY"}},
		{"a real key's file", []string{"TELNYX_API_KEY_FILE=/run/secrets/" + key}, anywhere, 2, []string{"TELNYX_API_KEY_FILE"}},
		{"an emulator's key, which looks like any other", []string{"TELNYX_API_KEY=short"}, anywhere, 2, []string{"TELNYX_API_KEY is set"}},
		{"an origin that is none", nil, flagged("-cors-origins", "http://localhost:3000,*"), 2, []string{"-cors-origins must be", "element 2"}},
		{"a sub-command misspelt", nil, []string{"dev", "tokens", "alice"}, 2, []string{"tokensvc dev token NAME"}},
		{"an argument too many", nil, append(append([]string{}, anywhere...), key), 2, []string{"no arguments"}},
		{"an SDK that is not there", nil, flagged("-sdk", "nowhere/bundle.mjs"), 2, []string{"-sdk nowhere/bundle.mjs is no file"}},
		{"a port that is taken, for the softphone", nil, flagged("-page-listen", busy), 1, []string{busy + " is taken (the softphone): choose another with -page-listen 127.0.0.1:0\n"}},
		{"a port that is taken, for the service", nil, flagged("-listen", busy), 1, []string{busy + " is taken (the service): choose another with -listen 127.0.0.1:0\n"}},
		{"a port that is taken, for health", nil, flagged("-ops-listen", busy), 1, []string{busy + " is taken (health and metrics): choose another with -ops-listen 127.0.0.1:0\n"}},
		{"a port that is taken, for the issuer", nil, flagged("-issuer-listen", busy), 1, []string{busy + " is taken (the issuer): choose another with -issuer-listen 127.0.0.1:0\n"}},
		{"a port that is taken, for the emulator", nil, flagged("-telnyx-listen", busy), 1, []string{busy + " is taken (Telnyx emulator): choose another with -telnyx-listen 127.0.0.1:0\n"}},
		{"ports that are taken", nil, flagged("-ops-listen", busy, "-telnyx-listen", another), 1, []string{busy + " is taken (health and metrics): choose another with -ops-listen 127.0.0.1:0\n" + another + " is taken (Telnyx emulator): choose another with -telnyx-listen 127.0.0.1:0\n"}},
		{"one port for two", nil, flagged("-listen", free, "-issuer-listen", free), 1, []string{free + " is taken (the issuer): choose another with -issuer-listen 127.0.0.1:0\n"}},
	} {
		t.Run(row.what, func(t *testing.T) {
			got := runBinary(t, row.env, row.args...)
			if got.status != row.status {
				t.Errorf("status %d, want %d", got.status, row.status)
			}
			if got.stdout != "" {
				t.Errorf("standard output %q, want nothing", got.stdout)
			}
			for _, words := range row.says {
				if !strings.Contains(got.stderr, words) {
					t.Errorf("says %q, want %q in it", got.stderr, words)
				}
			}
			if strings.Contains(got.stderr, key) || strings.Contains(got.stderr, "KEY0190") {
				t.Errorf("shows the key: %s", got.stderr)
			}
		})
	}
}

// listening returns an address that is taken until the test ends.
func listening(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
