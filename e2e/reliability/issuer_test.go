package reliability_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

const issuerUnavailable = "issuer_unavailable"

// hangUp is an issuer that is down.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func TestIssuer(t *testing.T) {
	t.Parallel()
	rows := []fault{
		{
			name: "down", within: 0,
			begin: func(_ *testing.T, w *world) func() {
				w.issuer.Break(hangUp)
				return func() { w.issuer.Break(nil) }
			},
		}, {
			name: "down for an hour", within: 0, setup: moved(),
			begin: func(t *testing.T, w *world) func() {
				w.issuer.Break(hangUp)
				w.pass(t, time.Hour)
				return func() { w.issuer.Break(nil) }
			},
		}, {
			name: "another key beside the old one", within: 0,
			begin: func(_ *testing.T, w *world) func() {
				w.issuer.Publish(w.issuer.Key(), oidctest.NewKey("another"))
				return func() {}
			},
			check: wantKeyFetches(2, 3),
		}, {
			name: "another key in place of the old one", within: 0,
			begin: func(_ *testing.T, w *world) func() {
				w.issuer.Publish(oidctest.NewKey("another"))
				return func() {}
			},
			check: wantKeyFetches(2, 3),
		}, {
			name: "another key, and 3 s until it is told", within: soon, waits: slowCall - 200*time.Millisecond,
			begin: func(_ *testing.T, w *world) func() {
				w.issuer.SetLatency(slowCall)
				w.issuer.Publish(w.issuer.Key(), oidctest.NewKey("another"))
				return func() { w.issuer.SetLatency(0) }
			},
		},
	}
	if thorough() {
		rows = append(rows, fault{
			// It is asked about a key that nobody has seen once in 30 s.
			name: "down, with another key", within: 31 * time.Second,
			newcomers: []string{issuerUnavailable}, shows: issuerUnavailable,
			begin: func(_ *testing.T, w *world) func() {
				w.issuer.Break(hangUp)
				w.issuer.Publish(oidctest.NewKey("another"))
				return func() { w.issuer.Break(nil) }
			},
		})
	}
	runRows(t, rows)
}

// wantKeyFetches wants the issuer to have been asked for its keys so often.
func wantKeyFetches(least, most int) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if n := w.issuer.KeyFetches(); n < least || n > most {
			t.Errorf("the issuer was asked for keys %d times, want %d to %d", n, least, most)
		}
	}
}
