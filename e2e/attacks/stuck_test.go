package attacks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// The service's outputs.
const (
	records = 1
	log     = 2
)

// A reader is the process at the other end of a pipe, which can be made to read no more.
type reader struct{ pid int }

// startRead starts a service one of whose outputs is a pipe. What is read from it is
// where the other tests find it.
func startRead(t *testing.T, output int) (*world, reader) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pid")
	w := start(t, nil, "bash", "-c", fmt.Sprintf(`exec "$@" %[1]d> >(echo "$BASHPID" > "$0"; exec cat >&%[1]d)`, output), file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r reader
	if _, err := fmt.Sscan(string(text), &r.pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(r.pid, syscall.SIGCONT) }) // or it stays for ever
	return w, r
}

func (r reader) stops(t *testing.T)  { r.signal(t, syscall.SIGSTOP) }
func (r reader) goesOn(t *testing.T) { r.signal(t, syscall.SIGCONT) }

func (r reader) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(r.pid, s); err != nil {
		t.Fatal(err)
	}
}

// fill has alice log in until that is not recorded any longer, and returns how often she
// was given a token. Nobody waits for longer than a write is waited for, and a moment.
func (w *world) fill(t *testing.T) (issued int) {
	t.Helper()
	const many, limit = 2000, 5 * time.Second
	for range many {
		status, body, err := w.ask(alice, limit)
		switch {
		case err != nil:
			t.Fatalf("after %d: %v", issued, err)
		case status == http.StatusServiceUnavailable && strings.Contains(body, `"audit_unavailable"`):
			return issued
		case status != http.StatusOK:
			t.Fatalf("after %d: %d %s", issued, status, body)
		}
		issued++
	}
	t.Fatalf("%d logins did not fill the pipe", many)
	return 0
}

// While nobody reads the records, nobody gets a token and it is said, of the login too for
// which the write was begun. Afterwards all is as before, and no record is missing.
func TestNobodyReadsTheRecordsForAWhile(t *testing.T) {
	t.Parallel()
	w, r := startRead(t, records)
	r.stops(t)
	issued := w.fill(t)
	for range 10 { // at once, and so a second is much
		if status, body, err := w.ask(alice, time.Second); err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("while it is full: %d %s %v", status, body, err)
		}
	}
	if status, err := w.Ready(t.Context()); status != http.StatusServiceUnavailable || err != nil {
		t.Errorf("/readyz: %d %v", status, err)
	}
	if said := w.onOps("/readyz"); !strings.Contains(said, `"audit":"cannot be written: a write does not come to its end"`) {
		t.Errorf("/readyz says %s", said)
	}

	r.goesOn(t)
	w.AwaitReady(t)
	if err := w.login(alice, time.Second); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	issued++
	w.Stop(t)
	process.Eventually(t, 5*time.Second, "the last record", func() error {
		if !strings.Contains(w.Stdout(), `"what":"stopped"`) {
			return errors.New("it is not there")
		}
		return nil
	})
	file := filepath.Join(t.TempDir(), "records")
	if err := os.WriteFile(file, []byte(w.Stdout()), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), binary, "audit", "verify", file).CombinedOutput(); err != nil || !bytes.Contains(said, []byte(" 0 missing, 0 lost\n")) {
		t.Errorf("%v, %s", err, said)
	}
	there, refused := strings.Count(w.Stdout(), `"outcome":"issued"`), strings.Count(w.Stdout(), `"outcome":"audit_unavailable"`)
	if there < issued || there > issued+1 || refused != 11 { // one more, which was being written when it was refused
		t.Errorf("%d were issued and 11 refused; records are there of %d and %d", issued, there, refused)
	}
}

// While nobody reads the log, people log in. Afterwards it has what there was room for, and
// how much there was not.
func TestNobodyReadsTheLogForAWhile(t *testing.T) {
	t.Parallel()
	const many = 2000 // lines, more than a pipe and what waits can hold
	w, r := startRead(t, log)
	r.stops(t)
	slow := 0
	for n := range many {
		began := time.Now()
		if err := w.login(alice, 5*time.Second); err != nil {
			t.Fatalf("login %d: %v", n, err)
		}
		if time.Since(began) > 500*time.Millisecond {
			slow++
		}
	}
	if slow > many/100 { // one, but for a machine that has more to do
		t.Errorf("%d of %d logins waited for the log, want the one in whose time it got stuck", slow, many)
	}
	w.AwaitReady(t)

	r.goesOn(t)
	process.Eventually(t, 5*time.Second, "the log", func() error {
		lost := 0.0
		for _, entry := range w.Logged("lines of the log are lost: nobody read it") {
			lost += entry["lines"].(float64)
		}
		if there := len(w.Logged("request")); lost == 0 || there+int(lost) != many {
			return fmt.Errorf("it has %d lines, and says that %v are lost; want %d together", there, lost, many)
		}
		return nil
	})
}

// A service that nobody reads ends when it is told to, in order and at once.
func TestAServiceThatNobodyReadsCanBeStopped(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		output int
		fill   func(t *testing.T, w *world)
	}{
		"records": {records, func(t *testing.T, w *world) { t.Helper(); w.fill(t) }},
		"log": {log, func(t *testing.T, w *world) {
			t.Helper()
			for range 400 {
				if err := w.login(alice, 5*time.Second); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, r := startRead(t, row.output)
			r.stops(t)
			row.fill(t, w)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // far below limits.drain_timeout
			defer cancel()
			w.Signal(t, syscall.SIGTERM)
			ended := make(chan error, 1)
			go func() { ended <- w.AwaitExit(t) }()
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("%v, want exit status 0", err)
				}
			case <-ctx.Done():
				t.Error("it goes on")
				<-ended
			}
		})
	}
}
