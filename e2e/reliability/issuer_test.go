package reliability_test

import (
	"context"
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
			begin: func(t *testing.T, w *world) func() {
				w.issuer.Break(hangUp)
				leave := w.suspect(t)
				return func() { leave(); w.issuer.Break(nil) }
			},
			check: wantFailedFetches(1),
		}, {
			name: "down for an hour", within: 0, setup: moved(),
			begin: func(t *testing.T, w *world) func() {
				w.issuer.Break(hangUp)
				leave := w.suspect(t)
				w.pass(t, time.Hour)
				return func() { leave(); w.issuer.Break(nil) }
			},
			// One in 30 s, and the service is told the time 60 times.
			check: wantFailedFetches(10),
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

// suspect has a stranger show bearers with a key that nobody has, about which the
// issuer is asked, until the returned function is called.
func (w *world) suspect(t *testing.T) (leave func()) {
	t.Helper()
	forged := oidctest.NewKey("nobody's").Sign(nil, w.issuer.Claims(holders.name(0), nil))
	client, got := w.newClient(t), counts{}
	stop := every(20*time.Millisecond, func() {
		s := w.askAs(context.WithoutCancel(t.Context()), client, w.urls[0], holders.name(0), forged)
		got[s.outcome]++
	})
	return func() {
		stop()
		if len(got) != 1 || got[issuerUnavailable] == 0 {
			t.Errorf("a stranger got %v, want %s alone", got, issuerUnavailable)
		}
		client.CloseIdleConnections()
	}
}

// wantFailedFetches wants the issuer to have been asked in vain.
func wantFailedFetches(least float64) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		if n, err := w.services[0].total("tokensvc_issuer_fetches_total", `success="false"`); err != nil || n < least {
			t.Errorf("the issuer was asked in vain %v times (%v), want at least %v, so nothing was broken", n, err, least)
		}
	}
}
