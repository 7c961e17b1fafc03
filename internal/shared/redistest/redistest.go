// Package redistest starts a real Redis for a test: on a free port of the loopback,
// in a temporary directory, and gone with the test. It is stopped, started, killed,
// paused and filled on demand.
//
// The program is the PATH's redis-server. Where there is none the test is skipped,
// unless NO_SKIP is set.
package redistest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/tokensvc/tokensvc/internal/testserver"
)

// ErrNotInstalled says that there is no Redis on this machine.
var ErrNotInstalled = fmt.Errorf("redis-server is %w", testserver.ErrNotInstalled)

const askTimeout = 10 * time.Second

// Options says how a Server differs from the usual one.
type Options struct {
	// Password is what the server asks for. Default none.
	Password string
	// TLS makes it speak TLS and nothing else, with a certificate for localhost
	// that CAFile's signed.
	TLS bool
}

// A Server is a Redis of one's own, which keeps nothing on disk. Its methods are for
// one goroutine.
type Server struct {
	dir      string
	port     int
	password string
	tls      bool
	running  *testserver.Process
}

// StartT starts a server that ends with the test.
func StartT(tb testserver.TB) *Server {
	tb.Helper()
	return StartWithT(tb, Options{})
}

// StartWithT is StartT with options.
func StartWithT(tb testserver.TB, o Options) *Server {
	tb.Helper()
	return testserver.StartT(tb, func() (*Server, error) { return New(o) })
}

// New starts a server that is the caller's to close. The error is ErrNotInstalled
// if there is none to start.
func New(o Options) (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, password: o.Password, tls: o.TLS}
	if s.tls {
		err = writeCertificates(dir)
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// URL is the server's address: redis://127.0.0.1:PORT, or rediss://localhost:PORT.
// It has no password in it.
func (s *Server) URL() string {
	if s.tls {
		return "rediss://" + net.JoinHostPort("localhost", strconv.Itoa(s.port))
	}
	return "redis://" + s.Addr()
}

// Addr is the server's address, without a scheme.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// CAFile is the file of the certificate that signed the server's, as SSL_CERT_FILE
// takes it.
func (s *Server) CAFile() string { return filepath.Join(s.dir, caFile) }

// Fill makes every write fail for want of memory, until Drain.
func (s *Server) Fill() error { return s.Tell("CONFIG", "SET", "maxmemory", "1") }

// Drain ends a Fill.
func (s *Server) Drain() error { return s.Tell("CONFIG", "SET", "maxmemory", "0") }

// Tell has the server execute a command, and returns what is wrong with it.
func (s *Server) Tell(args ...string) error {
	_, err := s.Ask(args...)
	return err
}

// Ask has the server execute a command, and returns what it answers: nil, a string,
// an int64, or a []any of these. The server's default user executes it.
func (s *Server) Ask(args ...string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	client, err := rueidis.NewClient(s.options())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	answer, err := client.Do(ctx, client.B().Arbitrary(args[0]).Args(args[1:]...).Build()).ToAny()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return answer, nil
}

func (s *Server) options() rueidis.ClientOption {
	o := rueidis.ClientOption{
		InitAddress: []string{s.Addr()}, Password: s.password, Dialer: net.Dialer{Timeout: time.Second},
		ForceSingleClient: true, AlwaysRESP2: true, DisableCache: true, DisableRetry: true,
	}
	if s.tls {
		ca, _ := os.ReadFile(s.CAFile())
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: "localhost"}
	}
	return o
}

// Close stops the server and removes its files.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}
