package e2e_test

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// trap listens where nobody should come, and hangs up on whoever does.
type trap struct {
	URL      string
	listener net.Listener

	mu   sync.Mutex
	came []string // from which address
	own  int      // of them, our own
}

func newTrap(t *testing.T) *trap {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &trap{URL: "http://" + listener.Addr().String(), listener: listener}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			p.mu.Lock()
			p.came = append(p.came, conn.RemoteAddr().String())
			p.mu.Unlock()
		}
	}()
	return p
}

// wantNobody wants no connection to have been opened until now: whoever comes
// after all of them is the test itself, and waits to be seen.
func (p *trap) wantNobody(t *testing.T) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	process.Eventually(t, 5*time.Second, "the test's own connection", func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !slices.Contains(p.came, conn.LocalAddr().String()) {
			return fmt.Errorf("it is not among %d", len(p.came))
		}
		return nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own++
	if n := len(p.came) - p.own; n != 0 {
		t.Errorf("%d connections to %s, want none", n, p.URL)
	}
}
