package reliability_test

import (
	"syscall"
	"testing"
	"time"
)

const invalidToken = "invalid_token"

func TestItself(t *testing.T) {
	t.Parallel()
	nobody := []string{noAnswer}
	runRows(t, []fault{
		{
			name:    "killed, and started again",
			holders: nobody, agers: nobody, newcomers: nobody, shows: noAnswer, within: soon,
			unready: true, restarts: true,
			begin: func(t *testing.T, w *world) func() {
				w.services[0].Kill(t)
				return func() { w.restart(t, 0) }
			},
		}, {
			// Everybody who has waited is there at once then, and more than may stand
			// in line for Telnyx.
			name:    "stopped, and continued",
			holders: nobody, agers: nobody, newcomers: []string{noAnswer, upstreamLimited}, waits: time.Second, within: soon, unready: true, stops: true,
			begin: func(t *testing.T, w *world) func() {
				w.services[0].Signal(t, syscall.SIGSTOP)
				return func() { w.services[0].Signal(t, syscall.SIGCONT) }
			},
		}, {
			name: "clock an hour fast", setup: moved(), within: 0,
			begin: func(t *testing.T, w *world) func() {
				before := w.lifeLeft(t)
				w.clock.set(t, 0, time.Hour)
				return func() {
					if gone := before - w.lifeLeft(t); (gone - time.Hour).Abs() > *faultLasts+time.Minute {
						t.Errorf("a token has %v less to live, want about an hour, so nothing was broken", gone)
					}
					w.clock.set(t, 0, 0)
				}
			},
		}, {
			// Newcomers show what was issued in an hour's time.
			name: "clock an hour slow", setup: moved(), newcomers: []string{invalidToken}, shows: invalidToken, within: time.Second,
			begin: func(t *testing.T, w *world) func() {
				w.clock.set(t, 0, -time.Hour)
				return func() { w.clock.set(t, 0, 0) }
			},
		},
	})
}

// lifeLeft is for how long somebody's token is good, as the service sees it.
func (w *world) lifeLeft(t *testing.T) time.Duration {
	t.Helper()
	client := w.newClient(t)
	defer client.CloseIdleConnections()
	s := w.ask(t.Context(), client, 0, holders.name(0))
	if s.outcome != issued {
		t.Errorf("a holder got %s", s.outcome)
	}
	return s.left
}
