package reliability_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// longToken makes Telnyx's tokens as long as they may be, so that few of them are
// as much as many are.
const longToken = 11_000 // bytes before base64

// A service in little memory is asked for tokens of more people than it has room
// for. Old tokens make place for new ones, and the kernel does not end it.
func TestItselfInLittleMemory(t *testing.T) {
	t.Parallel()
	megabytes, people := 48, 3_500
	if thorough() {
		megabytes, people = 128, 12_000
	}
	f := fault{
		name: fmt.Sprintf("%d MiB of memory, and %s people whose tokens are %d MiB", megabytes, thousands(people), people*longToken*4/3>>20),
		setup: setup{
			telnyx:    telnyxtest.Options{TokenMark: strings.Repeat("x", longToken)},
			behind:    inGroup(t, megabytes),
			newcomers: people + 10_000,
			noAgers:   true,
		},
		begin: func(t *testing.T, w *world) func() {
			w.login(t, people)
			return func() {}
		},
		// Its goroutines and descriptors can be compared, its memory is meant to grow.
		grows: megabytes,
		check: func(t *testing.T, w *world) {
			if w.services[0].Gone() {
				t.Error("the service has ended")
			}
			// The pages of the program's own file are the kernel's to take back.
			if f, err := w.services[0].footprint(); err != nil || f.own > megabytes {
				t.Errorf("it takes %d MiB (%v), of %d", f.own, err, megabytes)
			}
		},
		within: time.Second,
	}
	runRows(t, []fault{f})
}

// login has so many people log in as fast as the service lets a few of them.
func (w *world) login(t *testing.T, people int) {
	t.Helper()
	const atOnce = 8
	client := w.newClient(t)
	defer client.CloseIdleConnections()
	var next, failed atomic.Int64
	began := time.Now()
	var asking sync.WaitGroup
	for range atOnce {
		asking.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= people {
					return
				}
				// From the end, where the load's newcomers do not come to.
				if s := w.ask(t.Context(), client, 0, newcomers.name(w.newcomers-1-n)); s.outcome != issued {
					failed.Add(1)
				}
			}
		})
	}
	asking.Wait()
	t.Logf("logging in took %v", time.Since(began))
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d people got no token", n, people)
	}
}

// inGroup returns the words of a program that starts another in a control group
// with that much memory, or where none can be made, as is usual for who is not
// root, with a variable that says so.
func inGroup(t *testing.T, megabytes int) []string {
	t.Helper()
	group := fmt.Sprintf("/sys/fs/cgroup/memory/tokensvc-reliability-%d", os.Getpid())
	err := os.Mkdir(group, 0o755)
	if err == nil {
		t.Cleanup(func() {
			if err := os.Remove(group); err != nil {
				t.Error(err)
			}
		})
		err = os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), fmt.Appendf(nil, "%d", megabytes<<20), 0o600)
	}
	if err == nil {
		return []string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, group}
	}
	if !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) {
		t.Log(err)
	}
	return []string{"env", fmt.Sprintf("GOMEMLIMIT=%dMiB", megabytes*9/10)}
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
