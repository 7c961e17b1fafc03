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
	idle := !t.leading && !t.stuck && !t.closed
	late := t.current != nil && !t.stuck && !t.closed && time.Since(t.began) >= patience
	if late {
		t.release()
	}
	t.mu.Unlock()
	switch {
	case late:
		t.tell(errStuck)
	case idle:
		t.patiently(t.visit)
	}
}

// visit leads, also with nothing to write, unless somebody does by now.
func (t *Trail) visit() {
	t.mu.Lock()
	if t.leading || t.closed {
		t.mu.Unlock()
		return
	}
	t.leading = true
	t.mu.Unlock()
	t.lead()
}

// patiently has something done that may write, and returns when it is done, or is at it
// for too long: whoever is at a write that does not come to its end stays there, which
// must be neither who looks after everybody else nor who begins or ends the run.
func (t *Trail) patiently(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
		return
	case <-time.After(patience):
	}
	t.mu.Lock()
	late := t.current != nil && !t.stuck
	if late {
		t.release()
	}
	t.mu.Unlock()
	if late {
		t.tell(errStuck)
	}
}

// release has nobody wait for a write that does not come to its end. What is being written
// may be yet: a grant that is refused now may be in the file, and then so is its refusal.
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

// An UnwrittenError says how many records will never be written, or, of a write that does
// not come to its end, most likely will not.
type UnwrittenError struct{ Records uint64 }

func (e *UnwrittenError) Error() string {
	return fmt.Sprintf("%d records of decisions could not be written", e.Records)
}
