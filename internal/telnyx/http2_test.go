package telnyx

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// overTLS returns a client of a TLS server that speaks HTTP/2, and the number
// of connections that the server has accepted.
func overTLS(t *testing.T, handler http.HandlerFunc) (*Client, *atomic.Int32) {
	t.Helper()
	var accepted atomic.Int32
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			accepted.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := New(Config{BaseURL: server.URL + "/v2", APIKeys: func() []secret.Text { return []secret.Text{secret.New("KEY")} }})
	if err != nil {
		t.Fatal(err)
	}
	client.transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	client.transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	t.Cleanup(client.CloseIdleConnections)
	return client, &accepted
}

func TestHTTP2IsSpokenOverOneConnection(t *testing.T) {
	client, accepted := overTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("the request came by %s", r.Proto)
		}
		done(w, r)
	})
	for range 10 {
		if _, err := client.Mint(t.Context(), someID); err != nil {
			t.Fatal(err)
		}
	}
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestAnHTTP2StreamThatIsResetIsAnOutage(t *testing.T) {
	var requests atomic.Int32
	client, _ := overTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%2 == 1 {
			w.Write([]byte("MARKED"))
			http.NewResponseController(w).Flush() // the head goes out, then RST_STREAM
		}
		panic(http.ErrAbortHandler)
	})
	for _, row := range []struct {
		op       string
		attempts int
	}{{"mint", 3}, {"create", 1}} {
		err := operations[row.op](t.Context(), client)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != ErrUnavailable || e.Attempts != row.attempts || !e.Uncertain {
			t.Errorf("%s: %v, want an uncertain ErrUnavailable after %d attempts", row.op, err, row.attempts)
		}
	}
}
