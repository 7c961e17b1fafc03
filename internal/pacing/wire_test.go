package pacing_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// pacedClient is a client of a Telnyx on a real listener, behind a Pacer's gate for
// logins. mints counts what comes of its attempts.
func pacedClient(t *testing.T, server *telnyxtest.Server, p *pacing.Pacer) (*telnyx.Client, *counter) {
	t.Helper()
	gate := &counter{Gate: p.Logins()}
	client, err := telnyx.New(telnyx.Config{
		BaseURL: server.URL(), APIKeys: func() []secret.Text { return []secret.Text{secret.New(telnyxtest.DefaultAPIKey)} }, Gate: gate,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client, gate
}

type counter struct {
	*pacing.Gate
	all, limited atomic.Int64
}

func (c *counter) Leave(a telnyx.Attempt) {
	c.all.Add(1)
	if errors.Is(a.Kind, telnyx.ErrLimited) {
		c.limited.Add(1)
	}
	c.Gate.Leave(a)
}

// A short storm on the wire: 1,500 people within a second, 300 mints a second. The
// bounds are wide, because client and Telnyx share a machine that may be busy with
// other tests; TestAStorm has the narrow ones.
func TestAStormOnTheWire(t *testing.T) {
	if testing.Short() {
		t.Skip("takes six seconds")
	}
	const users = 1500
	server := telnyxtest.StartT(t, telnyxtest.Options{RateLimit: 300, RateWindow: time.Second, Latency: 50 * time.Millisecond})
	client, gate := pacedClient(t, server, newPacer(t, pacing.Config{}))
	began := time.Now()
	var all sync.WaitGroup
	var refusals atomic.Int64
	for n := range users {
		about, err := telnyx.ParseCredentialID(server.AddCredential(telnyxtest.Credential{}))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			after(time.Duration(n) * time.Second / users)
			for {
				_, err := client.Mint(t.Context(), about)
				if err == nil {
					return
				}
				if !errors.Is(err, telnyx.ErrLimited) {
					t.Errorf("got %v", err)
					return
				}
				refusals.Add(1)
				after(wholeSeconds(err))
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	t.Logf("all served after %v; %d attempts, %d limited; told to come back %d times", took, gate.all.Load(), gate.limited.Load(), refusals.Load())
	if took > 20*time.Second {
		t.Errorf("it took %v, want about 6 s", took)
	}
	if n := gate.limited.Load(); n > users*3/100 {
		t.Errorf("%d of %d calls were limited", n, gate.all.Load())
	}
	if n := server.Requests(telnyxtest.Token); int64(n) != gate.all.Load() {
		t.Errorf("Telnyx saw %d requests, the gate %d", n, gate.all.Load())
	}
}

// after waits, on the real clock: that is what a person does who is told to.
func after(d time.Duration) { <-time.After(d) }

func TestAnOutageOnTheWire(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	p := newPacer(t, pacing.Config{})
	client, gate := pacedClient(t, server, p)
	server.Inject(telnyxtest.Fault{Status: 500, Shape: telnyxtest.Empty})
	var abouts []telnyx.CredentialID
	for range 50 {
		about, err := telnyx.ParseCredentialID(server.AddCredential(telnyxtest.Credential{}))
		if err != nil {
			t.Fatal(err)
		}
		abouts = append(abouts, about)
	}
	for _, about := range abouts {
		if _, err := client.Mint(t.Context(), about); !errors.Is(err, telnyx.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if n := gate.all.Load(); n > 12 { // three credentials, with their retries
		t.Errorf("%d attempts for 50 calls in an outage", n)
	}
	server.ClearFaults()
	back := time.Now()
	for _, about := range abouts {
		for {
			_, err := client.Mint(t.Context(), about)
			if err == nil {
				break
			}
			e, ok := errors.AsType[*telnyx.Error](err)
			if !ok || time.Since(back) > 5*time.Second {
				t.Fatalf("got %v after %v", err, time.Since(back))
			}
			after(e.RetryAfter)
		}
	}
	if s := p.State(); s.Breaker != pacing.Closed || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}
