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
				w.services[0].kill(t)
				return func() { w.restart(t, 0) }
			},
		}, {
			// Everybody who has waited is there at once then, and more than may stand
			// in line for Telnyx.
			name:    "stopped, and continued",
			holders: nobody, agers: nobody, newcomers: []string{noAnswer, upstreamLimited}, waits: time.Second, within: soon, unready: true,
			begin: func(t *testing.T, w *world) func() {
				w.services[0].signal(t, syscall.SIGSTOP)
				return func() { w.services[0].signal(t, syscall.SIGCONT) }
			},
		}, {
			name: "clock an hour fast", setup: moved(), within: 0,
			begin: func(t *testing.T, w *world) func() {
				w.clock.set(t, 0, time.Hour)
				return func() { w.clock.set(t, 0, 0) }
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
