package telnyx_test

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const minters = 64

// replaced is how many connections a busy machine may make net/http give up
// and replace: it does not use one again when it learns later than 50 ms after
// the answer that the request had been written. At no time are more open than
// MaxConnections.
const replaced = 8

func TestConnectionsAreNoMoreThanTheConcurrency(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{Latency: time.Millisecond})
	client := newClient(t, telnyx.Config{BaseURL: server.URL(), MaxConnections: minters})
	id := parseID(t, server.AddCredential(telnyxtest.Credential{}))
	concurrently(t, 50*minters, func(ctx context.Context) error {
		_, err := client.Mint(ctx, id)
		return err
	})
	if n := server.Connections(); n > minters+replaced {
		t.Errorf("%d connections for %d concurrent minters", n, minters)
	}
	if n := server.Requests(telnyxtest.Token); n != 50*minters {
		t.Errorf("%d requests for %d mints", n, 50*minters)
	}
}

// What a user gets who sets nothing, beside what net/http does for whoever sets
// nothing there: it keeps two idle connections, and opens the others anew.
func TestConnectionsAreUsedAgainByDefault(t *testing.T) {
	const mints = 50 * minters
	ours := telnyxtest.StartT(t, telnyxtest.Options{Latency: time.Millisecond})
	client := newClient(t, telnyx.Config{BaseURL: ours.URL()})
	id := parseID(t, ours.AddCredential(telnyxtest.Credential{}))
	concurrently(t, mints, func(ctx context.Context) error {
		_, err := client.Mint(ctx, id)
		return err
	})

	theirs := telnyxtest.StartT(t, telnyxtest.Options{Latency: time.Millisecond})
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	plain, plainID := &http.Client{Transport: transport}, theirs.AddCredential(telnyxtest.Credential{})
	concurrently(t, mints, func(ctx context.Context) error { return mintPlainly(ctx, plain, theirs.URL(), plainID) })

	n, without := ours.Connections(), theirs.Connections()
	t.Logf("%d mints by %d callers: %d connections, %d with net/http's defaults, %.1f times as many", mints, minters, n, without, float64(without)/float64(n))
	// A connection may be dialed for a caller who is served by another one before
	// it is there, so a few more than callers may be open.
	if most := 2 * minters; n > most {
		t.Errorf("%d connections for %d concurrent minters, want at most %d", n, minters, most)
	}
}

func TestRefusalsKeepTheirConnection(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	client := newClient(t, telnyx.Config{BaseURL: server.URL()})
	for _, shape := range []telnyxtest.Shape{telnyxtest.ErrorsArray, telnyxtest.Empty, telnyxtest.HTML, telnyxtest.Redirect} {
		server.Inject(telnyxtest.Fault{Status: 404, Shape: shape, Times: 5})
	}
	for range 20 {
		_, err := client.Mint(t.Context(), anyID(t))
		checkError(t, err, telnyx.ErrCredentialRejected)
	}
	if n := server.Connections(); n != 1 {
		t.Errorf("%d connections for 20 calls one after the other, want 1", n)
	}
}

func TestMoreCallsThanConnectionsWaitTheirTurn(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{Latency: time.Millisecond})
	client := newClient(t, telnyx.Config{BaseURL: server.URL(), MaxConnections: 4})
	id := parseID(t, server.AddCredential(telnyxtest.Credential{}))
	concurrently(t, 4*minters, func(ctx context.Context) error {
		_, err := client.Mint(ctx, id)
		return err
	})
	if n := server.Connections(); n > 4+replaced {
		t.Errorf("%d connections, want no more than about 4", n)
	}
}

// BenchmarkConnections mints by 64 callers at once and reports how many
// connections that opens: with the client, and as a transport with net/http's
// defaults does it.
func BenchmarkConnections(b *testing.B) {
	bench := func(b *testing.B, mint func(server *telnyxtest.Server, id string) func(context.Context) error) {
		server := telnyxtest.StartT(b, telnyxtest.Options{Latency: time.Millisecond})
		call := mint(server, server.AddCredential(telnyxtest.Credential{}))
		b.ResetTimer()
		concurrently(b, b.N, call)
		b.ReportMetric(float64(server.Connections())/float64(b.N), "conns/mint")
		b.ReportMetric(float64(server.Connections()), "conns")
	}
	client := func(most int) func(*testing.B) {
		return func(b *testing.B) {
			bench(b, func(server *telnyxtest.Server, id string) func(context.Context) error {
				c := newClient(b, telnyx.Config{BaseURL: server.URL(), MaxConnections: most})
				return func(ctx context.Context) error { _, err := c.Mint(ctx, parseID(b, id)); return err }
			})
		}
	}
	b.Run("client/most=64", client(minters))
	b.Run("client/most=256", client(telnyx.DefaultMaxConnections))
	b.Run("net-http-defaults", func(b *testing.B) {
		bench(b, func(server *telnyxtest.Server, id string) func(context.Context) error {
			transport := http.DefaultTransport.(*http.Transport).Clone()
			b.Cleanup(transport.CloseIdleConnections)
			plain := &http.Client{Transport: transport}
			return func(ctx context.Context) error { return mintPlainly(ctx, plain, server.URL(), id) }
		})
	})
}

func mintPlainly(ctx context.Context, c *http.Client, url, id string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/telephony_credentials/"+id+"/token", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+telnyxtest.DefaultAPIKey)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// concurrently makes a number of calls by 64 callers at once.
func concurrently(tb testing.TB, calls int, call func(context.Context) error) {
	tb.Helper()
	turns := make(chan struct{}, calls)
	for range calls {
		turns <- struct{}{}
	}
	close(turns)
	var all sync.WaitGroup
	for range minters {
		all.Go(func() {
			for range turns {
				if err := call(tb.Context()); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	all.Wait()
}
