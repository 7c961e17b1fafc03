package reliability_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// line is the network between the service and somebody whom it calls: bytes pass
// through it, and it can be cut. With certificates it speaks TLS on our side.
type line struct {
	to   string // address
	addr string // its own

	certificate atomic.Pointer[tls.Certificate] // nil for none

	swallows atomic.Bool // bytes that come in are lost

	garbles atomic.Bool // bytes that come back are noise

	mu       sync.Mutex
	listener net.Listener // nil while it is cut
	open     map[net.Conn]bool
	serving  sync.WaitGroup
}

// newLine opens a line that ends with the test.
func newLine(t *testing.T, to string) *line {
	t.Helper()
	l := &line{to: to, open: map[net.Conn]bool{}}
	// Not 127.0.0.1, where whoever asks for any free port could be given ours
	// while the line is cut.
	l.listen(t, "127.0.0.2:0")
	t.Cleanup(func() {
		l.cut()
		l.serving.Wait()
	})
	return l
}

func (l *line) listen(t *testing.T, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener, l.addr = listener, listener.Addr().String()
	l.serving.Go(func() { l.accept(listener) })
}

// cut ends all connections and refuses new ones, until restore.
func (l *line) cut() {
	l.mu.Lock()
	listener := l.listener
	l.listener = nil
	l.mu.Unlock()
	if listener != nil {
		_ = listener.Close()
	}
	l.drop()
}

func (l *line) restore(t *testing.T) { l.listen(t, l.addr) }

// drop resets all connections. New ones are welcome.
func (l *line) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // Close sends RST
		}
		_ = conn.Close()
	}
}

func (l *line) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.open[conn] = true
		l.mu.Unlock()
		l.serving.Go(func() {
			defer func() {
				_ = conn.Close()
				l.mu.Lock()
				delete(l.open, conn)
				l.mu.Unlock()
			}()
			l.serve(conn)
		})
	}
}

func (l *line) serve(conn net.Conn) {
	if certificate := l.certificate.Load(); certificate != nil {
		secured := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if secured.HandshakeContext(ctx) != nil {
			return
		}
		conn = secured
	}
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	var back sync.WaitGroup
	back.Go(func() {
		l.pass(conn, far, &l.garbles)
		_ = conn.Close()
	})
	l.pass(far, conn, new(atomic.Bool))
	_ = far.Close()
	back.Wait()
}

// pass passes bytes on, or noise, until there are no more.
func (l *line) pass(to io.Writer, from io.Reader, garbled *atomic.Bool) {
	bytes := make([]byte, 4<<10)
	for {
		n, err := from.Read(bytes)
		if garbled.Load() {
			_, _ = rand.Read(bytes[:n]) // never fails
		}
		if n > 0 && !l.swallows.Load() {
			if _, err := to.Write(bytes[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// hostPort is where a base URL points to.
func hostPort(base string) string {
	_, rest, _ := strings.Cut(base, "://")
	address, _, _ := strings.Cut(rest, "/")
	return address
}
