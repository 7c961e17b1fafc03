package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// inShell is a command that does something to its process before it runs the service.
func inShell(first string) []string { return []string{"/bin/sh", "-c", first + ` && exec "$@"`, "sh"} }

// openDescriptors is how many the service has.
func (s *service) openDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Pid()))
	if err != nil {
		process.Skip(t, "there is no /proc")
	}
	return len(all)
}

// crowd opens connections that take part in nothing once their first request was
// answered, if it is.
func (s *service) crowd(t *testing.T, connections int) (leave func()) {
	t.Helper()
	var all []net.Conn
	leave = func() {
		for _, conn := range all {
			_ = conn.Close()
		}
	}
	t.Cleanup(leave)
	for range connections {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.Listen, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
		if _, err := io.WriteString(conn, "GET /nothing HTTP/1.1\r\nHost: tokensvc\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	return leave
}

// Callers' connections never take what is needed to reach Telnyx, however few files
// may be open and however many callers there are.
func TestAThousandDescriptors(t *testing.T) {
	const limit, idle, cold = 1024, 2000, 100
	var users []string
	for i := range cold + 1 {
		users = append(users, fmt.Sprint("user-", i))
	}
	l := newLab(t, telnyxtest.Options{}, users...)
	s := launchUnder(t, inShell(fmt.Sprintf("ulimit -n %d", limit)), l.env)
	s.AwaitReady(t)
	const warning = "fewer connections than limits.connections are accepted: the limit on open files is too low for it; raise that (ulimit -n, LimitNOFILE, --ulimit nofile) or lower limits.connections"
	warned := s.Logged(warning)
	if len(warned) != 1 || warned[0]["open_files"] != float64(limit) || warned[0]["level"] != "warn" {
		t.Errorf("the log warns %v, want once, of %d", warned, limit)
	}

	first := call(t, s) // has its connection before the crowd comes, and nothing has gone to Telnyx
	if got := first.send(asking(http.MethodGet, "/v1/whoami")); got.status != http.StatusUnauthorized {
		t.Errorf("got %v", got)
	}
	leave := s.crowd(t, idle)
	full := 0
	process.Eventually(t, 10*time.Second, "as many connections as there may be", func() error {
		before := full
		if full = s.openDescriptors(t); full != before || full < limit/2 {
			return fmt.Errorf("%d descriptors are open", full)
		}
		return nil
	})
	if full > limit-reservedForTelnyx {
		t.Errorf("%d descriptors are open, which leaves fewer than %d of %d for Telnyx", full, reservedForTelnyx, limit)
	}
	for _, user := range users[:cold] {
		l.wantToken(t, user, first.send(bearing(l.issuer.Bearer(user, nil))))
	}
	s.wantLive(t)
	late := make(chan error, 1)
	go func() {
		got, err := call(t, s).try(t.Context(), bearing(l.issuer.Bearer(users[cold], nil)))
		if err == nil && got.status != http.StatusOK {
			err = errors.New(got.problem().Code)
		}
		late <- err
	}()
	leave()
	select {
	case err := <-late:
		if err != nil {
			t.Errorf("a caller who came last: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a caller who came last is not served when the others have left")
	}
	process.Eventually(t, 10*time.Second, "few descriptors again", func() error {
		if n := s.openDescriptors(t); n > 100 {
			return fmt.Errorf("%d descriptors are open", n)
		}
		return nil
	})
	if out := s.Output(); strings.Contains(out, "too many open files") {
		t.Error("the service ran out of descriptors")
	}
}

// reservedForTelnyx is how many connections to Telnyx the service may open.
const reservedForTelnyx = 256

// memoryCgroup makes a cgroup with so much memory, if this process may, and returns
// what a shell does to be in it. Else the runtime alone is told.
func memoryCgroup(t *testing.T, bytes int) (command []string, env setting) {
	t.Helper()
	group := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("tokensvc-e2e-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o700); err != nil {
		t.Log("no memory cgroup may be made here: GOMEMLIMIT stands in for it")
		return nil, setting{"GOMEMLIMIT", strconv.Itoa(bytes / 10 * 9)}
	}
	t.Cleanup(func() { // before that, the service has ended
		process.Eventually(t, 5*time.Second, "the end of the cgroup", func() error { return os.Remove(group) })
	})
	for _, file := range []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"} {
		if err := os.WriteFile(filepath.Join(group, file), []byte(strconv.Itoa(bytes)), 0o600); err != nil && file == "memory.limit_in_bytes" {
			t.Fatal(err)
		}
	}
	return inShell("echo $$ > " + group + "/cgroup.procs"), setting{"TOKENSVC_LOG_LEVEL", "info"}
}

// memory is what the service has resident, without files' pages, which the kernel can
// drop.
func (s *service) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		process.Skip(t, "there is no /proc")
	}
	_, line, _ := strings.Cut(string(status), "RssAnon:")
	kib, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(line, "kB", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// A container of 128 MiB lives with more tokens than it has room for: as many bytes
// of them as 100,000 of the usual size have, which makes for fewer requests.
func TestMoreTokensThanMemory(t *testing.T) {
	const memory, mark, people, workers = 128 << 20, 7500, 9000, 16
	command, env := memoryCgroup(t, memory)
	l := newLab(t, telnyxtest.Options{TokenMark: strings.Repeat("x", mark)}, "user-0")
	credentials := make([]string, people)
	for i := range credentials {
		credentials[i] = l.telnyx.AddCredential(telnyxtest.Credential{})
	}
	s := launchUnder(t, command, l.with(env, setting{"TOKENSVC_DIRECTORY", "claim:credential"}))
	s.AwaitReady(t)
	limits := s.Logged("memory limit")
	if len(limits) != 1 || math.Abs(limits[0]["bytes"].(float64)-memory*9/10) > 10 {
		t.Errorf("the log has %v, want a limit of nine tenths", limits)
	}
	ask := func(c *caller, i int) (int, error) {
		bearer := bearing(l.issuer.Bearer(fmt.Sprint("user-", i), map[string]any{"credential": credentials[i]}))
		got, err := c.try(t.Context(), bearer)
		if err == nil && got.status != http.StatusOK {
			err = fmt.Errorf("%d %s", got.status, got.problem().Code)
		}
		return len(got.token()), err
	}
	c := &caller{t, &http.Client{Timeout: 30 * time.Second, Transport: newTransport(t)}, s.Listen} // 9,000 answers held to the contract take their time
	var next, bytes atomic.Int64
	var asking sync.WaitGroup
	for range workers {
		asking.Go(func() {
			for i := int(next.Add(1)) - 1; i < people && !t.Failed(); i = int(next.Add(1)) - 1 {
				n, err := ask(c, i)
				if err != nil {
					t.Error(err)
				}
				bytes.Add(int64(n))
			}
		})
	}
	asking.Wait()
	if n := bytes.Load(); n < 100_000*900 {
		t.Errorf("the tokens have %d bytes, which is no matter", n)
	}
	minted := l.telnyx.Requests(telnyxtest.Token)
	for _, i := range []int{people - 1, 0} {
		if _, err := ask(c, i); err != nil {
			t.Error(err)
		}
	}
	if n := l.telnyx.Requests(telnyxtest.Token) - minted; n != 1 {
		t.Errorf("of the newest and the oldest token %d were minted anew, want the oldest", n)
	}
	if resident := s.memory(t); resident > memory {
		t.Errorf("%d MiB are resident", resident>>20)
	}
	s.wantLive(t)
}
