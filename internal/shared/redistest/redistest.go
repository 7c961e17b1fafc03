// Package redistest starts a real Redis for a test: on a free port of the loopback,
// in a temporary directory, and gone with the test. It is stopped, started, killed,
// paused and filled on demand.
//
// The program is redis-server, of the PATH. Where there is none the test is
// skipped, unless NO_SKIP is set.
package redistest

import (
	"context"
	"errors"
)

// ErrNotInstalled says that there is no Redis on this machine.
var ErrNotInstalled = errors.New("redis-server is not installed")

// Options says how a Server differs from the usual one.
type Options struct {
	// Password is what the server asks for. Default none.
	Password string
	// TLS makes it speak TLS and nothing else, with a certificate of CAFile's.
	TLS bool
}

// TB is what is needed of a *testing.T.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(f func())
}

// A Server is a Redis of one's own. Its methods are for one goroutine.
type Server struct{}

// StartT starts a server that ends with the test.
func StartT(tb TB) *Server { return StartWithT(tb, Options{}) }

// StartWithT is StartT with options.
func StartWithT(tb TB, o Options) *Server { return &Server{} }

// New starts a server that is the caller's to close.
func New(o Options) (*Server, error) { return nil, ErrNotInstalled }

// URL is the server's address: redis://127.0.0.1:PORT, or rediss://localhost:PORT.
func (s *Server) URL() string { return "" }

// CAFile is the file of the certificate that signed the server's, for SSL_CERT_FILE.
func (s *Server) CAFile() string { return "" }

// Start starts the server, and returns when it answers. After Stop or Kill it has
// the same address, and it is empty.
func (s *Server) Start() error { return nil }

// Stop shuts the server down.
func (s *Server) Stop() error { return nil }

// Kill kills the server at once.
func (s *Server) Kill() error { return nil }

// Pause freezes the server: who connects, or is connected, has no answer until
// Resume.
func (s *Server) Pause() {}

// Resume ends a Pause.
func (s *Server) Resume() {}

// Fill makes every write fail for want of memory, until Drain.
func (s *Server) Fill() error { return nil }

// Drain ends a Fill.
func (s *Server) Drain() error { return nil }

// Do has the server execute a command, and returns what it answers: nil, a string,
// an int64, or a []any of these.
func (s *Server) Do(ctx context.Context, args ...string) (any, error) { return nil, nil }

// Close stops the server and removes its files.
func (s *Server) Close() error { return nil }
