package audit_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// Under load, with bugs in mid-story and files put away under it, there is a record of
// every decision, and of each only one.
func TestEveryDecisionUnderLoad(t *testing.T) {
	const rotations = 4
	w := start(t, map[string]string{"TEST_PANIC_EVERY": "997"})
	var got answers
	files := make([]string, rotations, rotations+1)
	loading := make(chan error, 1)
	go func() { loading <- w.ask(&got, 0, *decisions) }()
	for n := range rotations {
		process.Eventually(t, time.Minute, "a part of the load", func() error {
			if have := got.size(); have < (n+1)**decisions/(rotations+1) {
				return fmt.Errorf("%d answers", have)
			}
			return nil
		})
		files[n] = fmt.Sprint(w.records, ".", n)
		if err := os.Rename(w.records, files[n]); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 { // else it finds out by itself
			w.Signal(t, syscall.SIGHUP)
		}
	}
	if err := <-loading; err != nil {
		t.Fatal(err)
	}
	w.Stop(t)
	files = append(files, w.records)
	w.wantSame(&got, w.recorded(files...))
	w.wantWhole(*decisions+2, files...)
	for outcome, least := range map[string]int{"issued": *decisions * 7 / 10, "invalid_token": *decisions / 10, "internal": *decisions / 2000} {
		if n := got.count(outcome); n < least {
			t.Errorf("%d were %s, want %d at least", n, outcome, least)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", file, len(text), err)
		}
		if strings.Contains(string(text), "eyJ") || strings.Contains(string(text), w.forged) {
			t.Errorf("there is a secret in %s", file)
		}
	}
}

func (a *answers) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.outcomes)
}

// Whoever was handed a token by a service that is killed is in the records.
func TestAKilledServiceHasRecordedWhatItHandedOut(t *testing.T) {
	w := start(t, nil)
	var got answers
	loading := make(chan error, 1)
	go func() { loading <- w.ask(&got, 0, 200_000) }()
	process.Eventually(t, time.Minute, "some load", func() error {
		if got.size() < 3000 {
			return fmt.Errorf("%d answers", got.size())
		}
		return nil
	})
	w.Kill(t)
	if err := <-loading; err == nil {
		t.Fatal("the load came to its end")
	}
	w.wantSame(&got, w.recorded(w.records))
	status, said := w.verify(w.records)
	if status != 0 || !strings.Contains(said, "was killed") {
		t.Errorf("status %d, want 0:\n%s", status, said)
	}
}

// A disk that is full in mid-run, here a limit on the size of files, stops tokens or does
// not, as is configured; and of what was decided meanwhile nothing is lost.
func TestADiskThatIsFullForAWhile(t *testing.T) {
	for mode, row := range map[string]struct {
		full  string // what callers are told meanwhile
		ready int
	}{
		"refuse": {"audit_unavailable", http.StatusServiceUnavailable},
		"vend":   {"issued", http.StatusOK},
	} {
		t.Run(mode, func(t *testing.T) {
			w := start(t, map[string]string{"TOKENSVC_AUDIT_ON_FAILURE": mode})
			var before, meanwhile, after answers
			w.must(w.ask(&before, 0, 2000))
			info, err := os.Stat(w.records)
			w.must(err)
			w.limitFiles(fmt.Sprint(info.Size() + 5000)) // in the middle of a line
			w.must(w.ask(&meanwhile, 2000, 4000))
			if n := meanwhile.count(row.full); n < 1500 {
				t.Errorf("%d were %s while the disk was full, want nearly all of 1600", n, row.full)
			}
			if status, err := w.Ready(t.Context()); status != row.ready || err != nil {
				t.Errorf("/readyz: %d %v, want %d", status, err, row.ready)
			}
			if said := w.tells(); !strings.Contains(said, "file too large") || !strings.Contains(said, "tokensvc_audit_up 0") {
				t.Errorf("health and metrics do not tell: %s", said)
			}
			w.limitFiles("unlimited")
			w.AwaitReady(t)
			process.Eventually(t, process.StartLimit, "the records that wait", func() error {
				if said := w.tells(); !strings.Contains(said, "tokensvc_audit_waiting 0\n") {
					return fmt.Errorf("%s", said)
				}
				return nil
			})
			w.must(w.ask(&after, 4000, 5000))
			if n := after.count("issued"); n != 800 {
				t.Errorf("%d were issued afterwards, want 800", n)
			}
			w.Stop(t)
			recorded := w.recorded(w.records)
			w.wantSame(&before, recorded)
			w.wantSame(&meanwhile, recorded)
			w.wantSame(&after, recorded)
			w.wantWhole(5002, w.records)
		})
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// limitFiles has the running service write no file beyond a size.
func (w *world) limitFiles(most string) {
	w.t.Helper()
	out, err := exec.CommandContext(w.t.Context(), "prlimit", fmt.Sprint("--pid=", w.Pid()), "--fsize="+most+":unlimited").CombinedOutput()
	if err != nil {
		w.t.Fatalf("prlimit: %v: %s", err, out)
	}
}

// tells is what health and metrics say of the records.
func (w *world) tells() string {
	w.t.Helper()
	var told strings.Builder
	for _, path := range []string{"/readyz", "/metrics"} {
		out, err := exec.CommandContext(w.t.Context(), "curl", "-sS", w.Ops+path).Output()
		w.must(err)
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "audit") && !strings.HasPrefix(line, "#") {
				told.WriteString(line)
			}
		}
	}
	return told.String()
}

// Whoever reads standard output goes away: the service stays, and refuses.
func TestNobodyReadsStandardOutputAnyLonger(t *testing.T) {
	w := start(t, map[string]string{"TOKENSVC_AUDIT_FILE": "-"}, "bash", "-c", `exec "$@" > >(exec head -n 1 >&2)`, "bash")
	var got answers
	process.Eventually(t, process.StartLimit, "somebody who is refused", func() error {
		w.must(w.ask(&got, got.size(), got.size()+1))
		if got.count("audit_unavailable") == 0 {
			return fmt.Errorf("%v", got.outcomes)
		}
		return nil
	})
	if status, err := w.Ready(t.Context()); status != http.StatusServiceUnavailable || err != nil {
		t.Errorf("/readyz: %d %v", status, err)
	}
}

// By default the records are on standard output, and the log is not.
func TestRecordsOnStandardOutput(t *testing.T) {
	w := start(t, map[string]string{"TOKENSVC_AUDIT_FILE": "-"})
	var got answers
	var together sync.WaitGroup
	for n := range 10 {
		together.Go(func() {
			if err := w.ask(&got, 10*n, 10*n+10); err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
	w.Stop(t)
	w.must(os.WriteFile(w.records, []byte(w.Stdout()), 0o600))
	w.wantSame(&got, w.recorded(w.records))
	w.wantWhole(102, w.records)
	if strings.Contains(w.Log(), "token_sha256") {
		t.Error("records are in the log")
	}
}
