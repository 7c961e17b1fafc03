package audit

import (
	"context"
	"fmt"
	"time"
)

// Run tries again to write what waits, looks after the file, and sees that nobody waits
// for too long, until ctx is done.
func (t *Trail) Run(ctx context.Context) {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.tend()
		}
	}
}

// Reopen opens the file again, since it may have been put away.
func (t *Trail) Reopen() {
	t.reopening.Store(true)
	t.tend()
}

func (t *Trail) tend() {
	t.mu.Lock()
	switch {
	case t.closed || t.stuck:
		t.mu.Unlock()
	case !t.leading:
		t.leading = true
		t.lead() // also with nothing to write
	case t.current != nil && time.Since(t.began) >= patience:
		t.release()
		t.mu.Unlock()
		t.tell(errStuck)
	default:
		t.mu.Unlock()
	}
}

// release has nobody wait for a write that does not come to its end, but for the one who
// is at it. What is being written may be yet: a grant that is refused now may be in the
// file, and then so is its refusal.
func (t *Trail) release() {
	t.stuck, t.failure = true, errStuck
	t.current.released = true
	for _, e := range t.current.entries {
		e.fate = aside
		if e.grant && !t.vend {
			e.fate = refused
		}
	}
	t.current.wake()
	for _, e := range t.next.entries {
		t.fail(e)
	}
	t.next.wake()
	t.next = new(batch)
}

// An UnwrittenError says how many records will never be written.
type UnwrittenError struct{ Records uint64 }

func (e *UnwrittenError) Error() string {
	return fmt.Sprintf("%d records of decisions could not be written", e.Records)
}
