package shared

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// The pauses between two tries to connect grow from the first to the last: a
	// restart costs a moment, and a Redis that comes back is found within seconds.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	// steady is how long a connection must have lasted for the pauses to begin anew.
	steady = 10 * time.Second
	// beat is how often a connection is tried that is there, and what could not be
	// forgotten in time is tried again.
	beat = time.Second
)

// Run connects, and connects again, until the context ends or Close is called. It
// is called once.
func (r *Redis) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	said := "" // of why it is away
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		l, err := r.dial(ctx)
		if ctx.Err() != nil {
			if l != nil {
				l.close()
			}
			return
		}
		if err == nil {
			said = ""
			r.serve(ctx, l)
			err = l.cause()
			if time.Since(l.since) > steady {
				pause = firstPause
			}
		}
		if said != err.Error() && ctx.Err() == nil {
			said = err.Error()
			r.onState(false, err)
		}
		rest(ctx, pause)
	}
}

// serve keeps a link as long as it lasts.
func (r *Redis) serve(ctx context.Context, l *link) {
	defer l.close()
	r.link.Store(l)
	defer r.link.Store(nil)
	r.onState(true, nil)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = r.ask(ctx, ping)
			r.forgetLost(ctx)
		}
	}
}

// rest waits for about as long, so that replicas do not all come at once.
func rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // spreads load, guards nothing
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
