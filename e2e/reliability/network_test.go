package reliability_test

import (
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// slowCall is a call in a slow minute. It is more than the shortened time-out of
// a call.
const slowCall = 3 * time.Second

// lookAgain is for a question that is not answered, which a resolver repeats after 5 s;
// whoever asks the same meanwhile waits with it.
const lookAgain = 2 * time.Second

func TestTelnyxCannotBeReached(t *testing.T) {
	t.Parallel()
	named := setup{tls: true}
	unavailable := []string{upstreamUnavailable}
	runRows(t, []fault{
		{
			name: "port closed", newcomers: unavailable, shows: upstreamUnavailable, within: soon,
			begin: func(t *testing.T, w *world) func() {
				w.line.cut()
				return func() { w.line.restore(t) }
			},
		}, {
			name: "connections reset ten times a second", newcomers: unavailable, shows: upstreamUnavailable, within: soon,
			setup: setup{telnyx: telnyxtest.Options{Latency: 80 * time.Millisecond}},
			begin: func(t *testing.T, w *world) func() {
				return every(100*time.Millisecond, w.line.drop)
			},
		}, {
			name: "bytes vanish", newcomers: []string{upstreamTimeout}, shows: upstreamTimeout, within: soon,
			begin: func(_ *testing.T, w *world) func() {
				w.line.swallows.Store(true)
				return func() { w.line.swallows.Store(false) }
			},
		}, {
			name: "3 s a call", waits: slowCall, within: soon,
			setup: setup{env: map[string]string{"TELNYX_TIMEOUT": "10s"}},
			begin: inject(telnyxtest.Fault{Delay: slowCall}),
		}, {
			name: "certificate expired", setup: named, newcomers: unavailable, shows: upstreamUnavailable, within: soon,
			begin: func(t *testing.T, w *world) func() {
				return w.certify(t, w.authority, time.Now().Add(-time.Minute))
			},
		}, {
			name: "certificate of an unknown authority", setup: named, newcomers: unavailable, shows: upstreamUnavailable, within: soon,
			begin: func(t *testing.T, w *world) func() {
				return w.certify(t, newAuthority(t), time.Now().Add(time.Hour))
			},
		}, {
			name: "name server silent", setup: named, newcomers: []string{upstreamTimeout}, shows: upstreamTimeout, within: soon + lookAgain,
			begin: misname(silent),
		}, {
			name: "name server in trouble", setup: named, newcomers: unavailable, shows: upstreamUnavailable, within: soon,
			begin: misname(failing),
		}, {
			name: "name gone", setup: named, newcomers: unavailable, shows: upstreamUnavailable, within: soon,
			begin: misname(unknown),
		},
	})
}

// every does something again and again, until the returned function is called.
func every(interval time.Duration, do func()) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				do()
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}

// certify gives Telnyx another certificate, until it is mended.
func (w *world) certify(t *testing.T, by *authority, until time.Time) (mend func()) {
	t.Helper()
	good := w.line.certificate.Swap(by.issue(t, until))
	w.line.drop() // what is open goes on without it
	return func() { w.line.certificate.Store(good) }
}

// misname has the name server be in trouble, when connections must be made anew.
func misname(trouble int32) func(*testing.T, *world) func() {
	return func(_ *testing.T, w *world) func() {
		w.names.trouble.Store(trouble)
		w.line.drop()
		return func() { w.names.trouble.Store(answering) }
	}
}

func TestTelnyxLimits(t *testing.T) {
	t.Parallel()
	runRows(t, []fault{
		{
			name: "a tenth of the limit", newcomers: []string{upstreamLimited}, shows: upstreamLimited, within: soon,
			setup: setup{telnyx: telnyxtest.Options{RateLimit: 40}},
			begin: func(_ *testing.T, w *world) func() {
				w.telnyx.SetRateLimit(4)
				return func() { w.telnyx.SetRateLimit(40) }
			},
		},
	})
}
