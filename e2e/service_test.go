package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit    = 15 * time.Second // from exec to listening
	readyLimit    = 30 * time.Second // from listening to ready
	shutdownLimit = 20 * time.Second // from SIGTERM to the end
	responseLimit = 1 << 20          // bytes
)

// httpClient does not share connections with http.DefaultClient, and has a
// limit, which that has not.
var httpClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}

// service is a running `tokensvc serve`.
type service struct {
	URL, OpsURL string

	client *http.Client // holds every answer to openapi.yaml
	cmd    *exec.Cmd
	output output
	exited chan error // how the process ended; whoever takes it puts it back

	mu      sync.Mutex
	secrets []string // must not be in the output
}

// startService runs the binary with these variables and nothing else in its
// environment, and these arguments to serve, and returns when it is ready. When
// the test ends it must stop on SIGTERM with status 0, unless it has before, and
// its output must hold none of the secrets it saw.
func startService(t *testing.T, env map[string]string, args ...string) *service {
	t.Helper()
	s := launchService(t, env, args...)
	s.awaitReady(t)
	return s
}

// launchService is startService without waiting for more than listening.
func launchService(t *testing.T, env map[string]string, args ...string) *service {
	t.Helper()
	return launchUnder(t, nil, env, args...)
}

// launchUnder has a command of its own end in running the service.
func launchUnder(t *testing.T, command []string, env map[string]string, args ...string) *service {
	t.Helper()
	s := &service{exited: make(chan error, 1), client: checked(t, newTransport(t))}
	all := slices.Concat(command, []string{binary, "serve"}, args)
	// The test's context is done before its clean-up, and would kill.
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), all[0], all[1:]...)
	s.cmd.Dir = t.TempDir()
	s.cmd.Env = []string{"TOKENSVC_LISTEN=127.0.0.1:0", "TOKENSVC_OPS_LISTEN=127.0.0.1:0"}
	for name, value := range env {
		s.cmd.Env = append(s.cmd.Env, name+"="+value)
	}
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.hide(env["TELNYX_API_KEY"])
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })

	eventually(t, startLimit, "tokensvc serve listening", func() error {
		select {
		case err := <-s.exited:
			s.exited <- err
			t.Fatalf("tokensvc serve ended before it listened: %v", err)
		default:
		}
		listen, ops, err := s.output.addresses()
		s.URL, s.OpsURL = "http://"+listen, "http://"+ops
		return err
	})
	return s
}

// stop asks the service to end, as a container runtime does.
func (s *service) stop(t *testing.T) {
	t.Helper()
	s.signal(t, syscall.SIGTERM)
	if err := s.awaitExit(t); err != nil {
		t.Errorf("tokensvc serve after SIGTERM: %v, want exit status 0", err)
	}
	written := s.output.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		if strings.Contains(written, secret) {
			t.Errorf("tokensvc serve wrote a secret that begins with %.8q", secret)
		}
	}
	if t.Failed() {
		t.Logf("tokensvc serve wrote:\n%s", written)
	}
}

func (s *service) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("sending %v to tokensvc serve: %v", sig, err)
	}
}

// awaitExit returns how the process ended after a signal, nil for status 0.
func (s *service) awaitExit(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.exited:
		s.exited <- err
		return err
	case <-time.After(shutdownLimit):
		_ = s.cmd.Process.Kill()
		t.Errorf("tokensvc serve still ran %v after a signal to stop, and was killed", shutdownLimit)
		return nil
	}
}

// hide adds a secret that must not be in the service's output.
func (s *service) hide(secret string) {
	if secret == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, secret)
}

func (s *service) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, readyLimit, "tokensvc serve ready", func() error {
		if status := s.ready(t); status != http.StatusOK {
			return fmt.Errorf("/readyz answers %d", status)
		}
		return nil
	})
}

func (s *service) ready(t *testing.T) int {
	t.Helper()
	return do(t, s.client, newRequest(t, http.MethodGet, s.OpsURL+"/readyz", nil)).status
}

// wantLive wants the process to say that it serves, which it does whether or not
// it is ready.
func (s *service) wantLive(t *testing.T) {
	t.Helper()
	if got := do(t, s.client, newRequest(t, http.MethodGet, s.OpsURL+"/livez", nil)); got.status != http.StatusOK {
		t.Errorf("/livez answers %v, want 200", got)
	}
}

// ask posts to /v1/token with that bearer.
func (s *service) ask(t *testing.T, bearer string) answer {
	t.Helper()
	s.hide(bearer)
	req := newRequest(t, http.MethodPost, s.URL+"/v1/token", nil)
	req.Header.Set("Authorization", "Bearer "+bearer)
	return do(t, s.client, req)
}

// newRequest makes a request with a form for a body, or none.
func newRequest(t *testing.T, method, address string, form url.Values) *http.Request {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

// answer is a response that was read to its end.
type answer struct {
	status   int
	header   http.Header
	body     string
	location *url.URL // where it points to, or nil
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

func do(t *testing.T, client *http.Client, req *http.Request) answer {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, responseLimit))
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Redacted(), err)
	}
	location, _ := res.Location() // mostly there is none
	return answer{res.StatusCode, res.Header, string(body), location}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// addresses returns where the service listens, from its log line that says so.
func (o *output) addresses() (listen, ops string, err error) {
	for line := range strings.Lines(o.String()) {
		var entry struct {
			Message   string `json:"message"`
			Listen    string `json:"listen"`
			OpsListen string `json:"ops_listen"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "serving" {
			return entry.Listen, entry.OpsListen, nil
		}
	}
	return "", "", fmt.Errorf(`no log line with the message "serving" in:%s%s`, "\n", o.String())
}
