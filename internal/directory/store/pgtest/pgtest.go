// Package pgtest starts a real PostgreSQL for a test: on a free port of the
// loopback, in a temporary directory, and gone with the test. It is stopped,
// started and killed on demand.
//
// The programs are those of /usr/lib/postgresql/*/bin, where Debian has them, or
// of the PATH. Where there are none the test is skipped, unless NO_SKIP is set.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tokensvc/tokensvc/internal/testserver"
)

// ErrNotInstalled says that there is no PostgreSQL on this machine.
var ErrNotInstalled = fmt.Errorf("PostgreSQL is %w", testserver.ErrNotInstalled)

const (
	owner          = "tester"
	maxConnections = 200

	initTimeout  = time.Minute
	stopTimeout  = 20 * time.Second
	queryTimeout = 20 * time.Second
)

// Options says how a Server differs from the usual one.
type Options struct {
	// Password is what the server asks for (scram-sha-256). Default none: it
	// trusts whoever comes.
	Password string
}

// A Server is a PostgreSQL of one's own. Its methods are for one goroutine.
type Server struct {
	bin, dir  string
	port      int
	password  string
	databases atomic.Int64
	running   *testserver.Process
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

// New starts a server that is the caller's to close. The error is
// ErrNotInstalled if there is none to start.
func New(o Options) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, password: o.Password}
	if err := errors.Join(s.prepare(), s.Start()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// programs finds the folder of initdb and postgres: the newest of Debian's, or
// the PATH's.
func programs() (string, error) {
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		folders = append([]string{filepath.Dir(initdb)}, folders...)
	}
	for i := len(folders) - 1; i >= 0; i-- {
		if _, err := os.Stat(filepath.Join(folders[i], "postgres")); err == nil {
			return folders[i], nil
		}
	}
	return "", ErrNotInstalled
}

// prepare makes the database's files.
func (s *Server) prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), initTimeout)
	defer cancel()
	trust := []string{"-A", "trust"}
	if s.password != "" {
		file := filepath.Join(s.dir, "password")
		if err := os.WriteFile(file, []byte(s.password), 0o600); err != nil {
			return err
		}
		trust = []string{"-A", "scram-sha-256", "--pwfile", file}
	}
	attributes, err := unprivileged(s.dir)
	if err != nil {
		return err
	}
	//nolint:gosec // a program of PostgreSQL's
	initdb := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"),
		append(trust, "--no-sync", "-U", owner, "-E", "UTF8", "--no-locale", "-D", s.data())...)
	initdb.Dir, initdb.SysProcAttr = s.dir, attributes
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// Dir is the folder of the server's files, the database's among them.
func (s *Server) Dir() string { return s.dir }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// URL is the address of the server's first database. It has no password in it.
func (s *Server) URL() string { return s.url("postgres") }

func (s *Server) url(database string) string {
	address := url.URL{
		Scheme: "postgres", User: url.User(owner), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return address.String()
}

// NewDatabase makes an empty database and returns its URL.
func (s *Server) NewDatabase(tb testserver.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	if err := s.Exec("CREATE DATABASE " + name); err != nil {
		tb.Fatalf("%v", err)
	}
	return s.url(name)
}

// SetPassword changes what the server asks for. Who is connected stays so.
func (s *Server) SetPassword(password string) error {
	if err := s.Exec("ALTER USER " + owner + " PASSWORD '" + password + "'"); err != nil {
		return err
	}
	s.password = password
	return nil
}

// Exec executes a statement in the server's first database, as its owner.
func (s *Server) Exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	connection, err := s.connect(ctx)
	if err != nil {
		return err
	}
	_, err = connection.Exec(ctx, statement)
	return errors.Join(err, connection.Close(ctx))
}

func (s *Server) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(s.URL())
	if err != nil {
		return nil, err
	}
	cfg.Password = s.password
	return pgx.ConnectConfig(ctx, cfg)
}
