package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	defaultConnections = 16
	sqliteReaders      = 4
	sqliteLists        = 1
	mostLists          = 2

	// answerTimeout bounds a reading that somebody waits for, and changeTimeout a
	// change. SQLite waits as long as answerTimeout for a lock of another process.
	answerTimeout = 3 * time.Second
	changeTimeout = 10 * time.Second
	// connectTimeout bounds the making of a connection to PostgreSQL.
	connectTimeout = 2 * time.Second
	// connectionLife is how long a connection to PostgreSQL is used, so that after
	// a failover none stays with a server that only reads. Those for changes are
	// gone as soon as it says so.
	connectionLife = 5 * time.Minute
	// onlyReads is what PostgreSQL says to changes then (read_only_sql_transaction).
	onlyReads = "25006"
)

// A Store is the books. Its methods may be called from any goroutine.
type Store struct {
	now      func() time.Time
	postgres *pgx.ConnConfig // nil for SQLite
	password func() (secret.Text, error)
	// writes are the connections for changes: one to SQLite, and to PostgreSQL a
	// quarter of all. Changes wait for one another, each with a connection, and
	// must not keep readers waiting for theirs. Nor must lists, which may look at all
	// there is: those have one to SQLite, and to PostgreSQL up to two.
	writes *sql.DB
	reads  *sql.DB
	lists  *sql.DB

	vended *vended
}

// Open prepares a Store. It opens the file of a SQLite database, and makes it if
// there is none, but does not yet touch a PostgreSQL. The error repeats no part of
// the URL.
func Open(cfg Config) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Store{now: cfg.Now, password: cfg.Password, vended: newVended()}
	var err error
	switch {
	case (cfg.SQLite == "") == (cfg.Postgres == ""):
		err = errors.New("store: exactly one of SQLite and Postgres is required")
	case cfg.Connections < 0:
		err = errors.New("store: Connections must be positive")
	case cfg.SQLite != "":
		err = s.openSQLite(cfg.SQLite)
	default:
		err = s.openPostgres(cfg.Postgres, cmp.Or(cfg.Connections, defaultConnections))
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openSQLite opens the file. What was committed is on the disk (synchronous FULL):
// whoever was told that a change is made may rely on it, power cut or not.
func (s *Store) openSQLite(path string) (err error) {
	if path, err = prepareFile(path); err != nil {
		return fmt.Errorf("opening the database: %w", unavailable(err))
	}
	if s.writes, err = openFile(path, 1, longestWait, "journal_mode(WAL)"); err != nil {
		return err
	}
	if s.reads, err = openFile(path, sqliteReaders, answerTimeout, "query_only(1)"); err != nil {
		return err
	}
	if s.lists, err = openFile(path, sqliteLists, answerTimeout, "query_only(1)"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	if err := s.patiently(ctx, func() error { return s.writes.PingContext(ctx) }); err != nil {
		return errors.Join(fmt.Errorf("opening the database: %w", unavailable(err)), s.closePools())
	}
	return nil
}

// prepareFile returns the whole path, so that none means to SQLite what it does not
// to the operator, as :memory: would. If there is no file it makes one that only
// we can read: it says who works here. SQLite gives the files beside it the same
// mode.
func prepareFile(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	return path, file.Close()
}

// openFile prepares connections to a file, each of which waits so long for another
// process. None is made yet.
func openFile(path string, connections int, wait time.Duration, pragmas ...string) (*sql.DB, error) {
	query := url.Values{"_pragma": append(pragmas,
		fmt.Sprintf("busy_timeout(%d)", wait.Milliseconds()), "foreign_keys(1)", "synchronous(FULL)")}
	query.Set("_txlock", "immediate")
	address := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

func (s *Store) openPostgres(address string, connections int) error {
	cfg, err := pgx.ParseConfig(address)
	if err != nil { // its words repeat the address
		return errURL
	}
	cfg.ConnectTimeout = connectTimeout
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "tokensvc"
	}
	s.postgres = cfg
	forChanges := connections / 4
	forLists := min(forChanges, mostLists)
	s.reads = s.openServer(connections - forChanges - forLists)
	s.writes, s.lists = s.reads, s.reads
	if forChanges > 0 {
		s.writes, s.lists = s.openServer(forChanges), s.openServer(forLists)
	}
	return nil
}

func (s *Store) openServer(connections int) *sql.DB {
	cfg := s.postgres.Copy()
	cfg.OnPgError = func(c *pgconn.PgConn, err *pgconn.PgError) (goesOn bool) {
		if err.Code != onlyReads {
			return s.postgres.OnPgError(c, err)
		}
		for _, pool := range s.pools() { // all of them lead to the same server
			most := pool.Stats().MaxOpenConnections
			pool.SetMaxIdleConns(0) // which closes them
			pool.SetMaxIdleConns(most)
		}
		return false
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionBeforeConnect(s.beforeConnect), stdlib.OptionAfterConnect(afterConnect))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxLifetime(connectionLife)
	return db
}

// afterConnect sets what changes rely on, whatever the server's defaults are. What
// a process that is stopped or cut off has locked is free again, and what it waits
// for it does not get any more, by the time at which it would have given up: all
// others would wait for it for hours.
func afterConnect(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, fmt.Sprintf(`SET default_transaction_isolation = 'read committed';
		SET lock_timeout = %[1]d; SET idle_in_transaction_session_timeout = %[1]d`, changeTimeout.Milliseconds()))
	return err
}

// beforeConnect puts the password in as it is now.
func (s *Store) beforeConnect(_ context.Context, cfg *pgx.ConnConfig) error {
	if s.password == nil {
		return nil
	}
	text, err := s.password()
	if err != nil {
		return fmt.Errorf("the database's password: %w", err)
	}
	cfg.Password = text.Reveal()
	return nil
}

// Close writes down what is still to be, and closes the database.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	return errors.Join(s.flushVended(ctx), s.closePools())
}

// pools are the connections, each once.
func (s *Store) pools() []*sql.DB {
	if s.reads == s.writes {
		return []*sql.DB{s.reads}
	}
	return []*sql.DB{s.lists, s.reads, s.writes} // SQLite's last to close tidies up, and the others only read
}

// Connections are those to the database.
type Connections struct {
	InUse, Idle int   // at this moment
	Most        int   // that there may be, at work or idle
	Waits       int64 // how often somebody had to wait for one, since the start
}

// Connections says how it stands with the connections to the database.
func (s *Store) Connections() Connections {
	var all Connections
	for _, pool := range s.pools() {
		now := pool.Stats()
		all.InUse, all.Idle = all.InUse+now.InUse, all.Idle+now.Idle
		all.Most, all.Waits = all.Most+now.MaxOpenConnections, all.Waits+now.WaitCount
	}
	return all
}

func (s *Store) closePools() (err error) {
	for _, pool := range s.pools() {
		err = errors.Join(err, pool.Close())
	}
	return err
}

// unavailable makes any error of a database one that callers know. Those of ours
// pass. A context's error is one of the database's: whoever's time is up has had
// no answer.
func unavailable(err error) error {
	if err == nil || isOurs(err) {
		return err
	}
	return fmt.Errorf("%w: %w", directory.ErrUnavailable, err)
}

func isOurs(err error) bool {
	for _, ours := range []error{
		ErrNotFound, ErrInvalid, ErrTaken, ErrDeleting, ErrChanged, ErrHeld, ErrNewerSchema, ErrOlderSchema,
		directory.ErrUnavailable, directory.ErrNoCredential, directory.ErrDisabled, directory.ErrTooManyDevices,
	} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}
