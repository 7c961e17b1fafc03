package reliability_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// clock is the world's: how far all time has moved, which Telnyx's goes with, and
// how far the service's wall clock was stepped, which is the service's alone.
type clock struct {
	file           string
	moved, stepped atomic.Int64 // nanoseconds
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.moved.Load())) }

// set tells the service, which takes it up within 50 ms.
func (c *clock) set(t *testing.T, moved, stepped time.Duration) {
	t.Helper()
	c.moved.Store(int64(moved))
	c.stepped.Store(int64(stepped))
	writeFile(t, c.file, fmt.Sprintf("%v %v\n", moved, stepped))
}

func newClock(t *testing.T, dir string) *clock {
	t.Helper()
	c := &clock{file: filepath.Join(dir, "clock")}
	c.set(t, 0, 0)
	return c
}

// moved is a world in which time can be moved.
func moved() setup { return setup{movable: true, noAgers: true} }

// pass has that much time go by while the fault lasts, in steps of a minute or so.
func (w *world) pass(t *testing.T, total time.Duration) {
	t.Helper()
	const steps = 60
	for n := range steps {
		w.clock.set(t, total*time.Duration(n+1)/steps, 0)
		wait(t, *faultLasts/(steps+5))
	}
}
