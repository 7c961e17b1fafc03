package telnyx

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// far is a client of a server to which connecting takes longer than an answer.
func far(t *testing.T, s *telnyxtest.Server) (*Client, CredentialID) {
	t.Helper()
	c, err := New(Config{BaseURL: s.URL(), APIKeys: func() []secret.Text { return []secret.Text{secret.New(telnyxtest.DefaultAPIKey)} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	direct := c.dialer.dial
	c.dialer.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		<-time.After(20 * time.Millisecond)
		return direct(ctx, network, address)
	}
	id, err := ParseCredentialID(s.AddCredential(telnyxtest.Credential{}))
	if err != nil {
		t.Fatal(err)
	}
	return c, id
}

// Callers who take turns use each other's connections, and those that were begun
// for somebody who has been served meanwhile.
func TestNoMoreConnectionsThanCallers(t *testing.T) {
	const callers = 32
	s := telnyxtest.StartT(t, telnyxtest.Options{Latency: time.Millisecond})
	c, id := far(t, s)
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for range 20 {
				if _, err := c.Mint(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calling.Wait()
	if n := s.Connections(); n > callers {
		t.Errorf("%d connections for %d callers", n, callers)
	}
	if open := c.dialer.open.Load(); open > callers || open < 1 {
		t.Errorf("%d connections are counted", open)
	}
	if n, wanting := c.dialer.requests.Load(), c.dialer.wanting.Load(); n != 0 || wanting != 0 {
		t.Errorf("%d requests are counted, %d of them without a connection; there are none", n, wanting)
	}
}

// A connection that ended is not counted: whoever comes next need not wait for it.
func TestABrokenConnectionHoldsNobodyUp(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	c, id := far(t, s)
	for range 3 {
		s.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Reset, Times: 1})
		if _, err := c.Mint(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if open := c.dialer.open.Load(); open != 1 {
		t.Errorf("%d connections are counted, want the one", open)
	}
}
