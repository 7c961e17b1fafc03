package handler

import (
	"context"
	"sync"
	"time"
)

// A deadline is a request's context with the time at which it ends. As good as
// every request has ended long before and has waited for nothing, so a timer is only
// started for whoever waits.
type deadline struct {
	context.Context // the request's own
	at              time.Time

	mu   sync.Mutex
	wait context.Context // what is waited on, nil while nobody does
	stop context.CancelFunc
	over bool // the request has ended
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) {
	if at, ok := d.Context.Deadline(); ok && at.Before(d.at) {
		return at, true
	}
	return d.at, true
}

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} { return d.waiting().Done() }

// Err implements context.Context.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.wait != nil:
		return d.wait.Err()
	case d.Context.Err() != nil:
		return d.Context.Err()
	case d.over:
		return context.Canceled
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// AfterFunc is what package context looks for, to follow a context that is not one
// of its own without a goroutine.
func (d *deadline) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(d.waiting(), f) }

// waiting returns a context with a timer.
func (d *deadline) waiting() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wait == nil {
		d.wait, d.stop = context.WithDeadline(d.Context, d.at)
		if d.over {
			d.stop()
		}
	}
	return d.wait
}

// end cancels the context, as the request has ended.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.stop != nil {
		d.stop()
	}
}
