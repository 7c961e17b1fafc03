package reliability_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// Whatever becomes of it, nobody goes without a token.
func TestRedis(t *testing.T) {
	t.Parallel()
	away := wantLogged("the shared cache cannot be used")
	var rows []fault
	for _, row := range []fault{
		{
			name:  "killed",
			check: away, begin: func(t *testing.T, w *world) func() {
				must(t, w.redis.Kill())
				return func() { must(t, w.redis.Start()) }
			},
		}, {
			name:  "paused",
			check: away, begin: func(_ *testing.T, w *world) func() {
				w.redis.Pause()
				return w.redis.Resume
			},
		}, {
			name: "killed and started empty, twice a second", check: away,
			begin: func(t *testing.T, w *world) func() {
				return every(500*time.Millisecond, func() {
					if err := w.redis.Kill(); err != nil {
						t.Error(err)
					}
					if err := w.redis.Start(); err != nil {
						t.Error(err)
					}
				})
			},
		}, {
			name: "full", check: wantLogged("the shared cache does not do what is asked of it"),
			begin: func(t *testing.T, w *world) func() {
				must(t, w.redis.Fill())
				return func() { must(t, w.redis.Drain()) }
			},
		}, {
			name:  "answers noise",
			check: away, begin: func(_ *testing.T, w *world) func() {
				w.redisLine.garbles.Store(true)
				return func() { w.redisLine.garbles.Store(false) }
			},
		}, {
			name:  "port closed",
			check: away, begin: func(t *testing.T, w *world) func() {
				w.redisLine.cut()
				return func() { w.redisLine.restore(t) }
			},
		},
	} {
		row.setup, row.shows = setup{redis: true, replicas: 2}, issued+" (mint)"
		rows = append(rows, row)
	}
	runRows(t, rows)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantLogged wants a service to say so, or to have said so.
func wantLogged(what string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		t.Helper()
		process.Eventually(t, 5*time.Second, "a log line with "+what+", without which nothing was broken", func() error {
			for _, p := range w.processes() {
				if strings.Contains(p.Log(), what) {
					return nil
				}
			}
			return errors.New("there is none")
		})
	}
}
