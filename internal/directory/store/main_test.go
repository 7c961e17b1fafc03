package store_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// shared is a PostgreSQL for all tests that do no harm to it.
var shared struct {
	sync.Once
	server *pgtest.Server
	err    error
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = cmp.Or(code, 1)
		}
	}
	os.Exit(code)
}

func sharedPostgres(t *testing.T) *pgtest.Server {
	t.Helper()
	shared.Do(func() { shared.server, shared.err = pgtest.New(pgtest.Options{}) })
	if errors.Is(shared.err, pgtest.ErrNotInstalled) && os.Getenv("NO_SKIP") == "" {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// onBoth runs a test with empty books in SQLite, and in PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, b *books)) {
	t.Run("sqlite", func(t *testing.T) { test(t, sqliteBooks(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, postgresBooks(t, sharedPostgres(t))) })
}

// books are a database.
type books struct {
	cfg    store.Config
	server *pgtest.Server // nil for SQLite
	db     *sql.DB        // raw's
	opened []*store.Store
}

func sqliteBooks(t *testing.T) *books {
	t.Helper()
	b := &books{cfg: store.Config{SQLite: filepath.Join(t.TempDir(), "books.db")}}
	b.migrate(t)
	return b
}

func postgresBooks(t *testing.T, server *pgtest.Server) *books {
	t.Helper()
	b := &books{cfg: store.Config{Postgres: server.NewDatabase(t)}, server: server}
	b.migrate(t)
	return b
}

func (b *books) migrate(t *testing.T) {
	t.Helper()
	if _, _, err := b.open(t).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// open opens the books once more, as another replica or process does.
func (b *books) open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b.opened = append(b.opened, s)
	return s
}

// close closes all that was opened.
func (b *books) close(t *testing.T) {
	t.Helper()
	for _, s := range b.opened {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b.opened = nil
}

// raw is the database without the store before it. It is for the goroutine of the
// test.
func (b *books) raw(t *testing.T) *sql.DB {
	t.Helper()
	if b.db != nil {
		return b.db
	}
	driver, address := "sqlite", "file:"+(&url.URL{Path: b.cfg.SQLite}).EscapedPath()+"?_pragma=busy_timeout(5000)"
	if b.server != nil {
		driver, address = "pgx", b.cfg.Postgres
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxIdleConns(0) // the server may have been another one since
	b.db = db
	return db
}

func (b *books) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := b.raw(t).ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func (b *books) number(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	if err := b.raw(t).QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// elapse lets time go by for whatever is held.
func (b *books) elapse(t *testing.T, d time.Duration) {
	t.Helper()
	for _, statement := range []string{
		`UPDATE intents SET held_until = held_until - $1, began_at = began_at - $1`,
		`UPDATE leases SET held_until = held_until - $1`,
		`UPDATE deletions SET due_at = due_at - $1, since = since - $1`,
	} {
		b.exec(t, statement, d.Milliseconds())
	}
}

// consistent checks what must be true of the books whatever happened.
func (b *books) consistent(t *testing.T) {
	t.Helper()
	for says, query := range map[string]string{
		"events are numbered without gaps":         `SELECT count(*) FROM (SELECT number, row_number() OVER (ORDER BY number) AS place FROM events) e WHERE number <> place`,
		"the counter is the last event's number":   `SELECT abs((SELECT value FROM counter) - (SELECT COALESCE(max(number), 0) FROM events))`,
		"every credential has a user":              `SELECT count(*) FROM credentials WHERE user_key NOT IN (SELECT user_key FROM users)`,
		"a disabled user has no credential":        `SELECT count(*) FROM credentials c JOIN users u ON u.user_key = c.user_key WHERE u.disabled_at > 0`,
		"nothing is recorded and to be deleted":    `SELECT count(*) FROM credentials WHERE credential_id IN (SELECT credential_id FROM deletions)`,
		"what a user has is no longer created":     `SELECT count(*) FROM intents i JOIN credentials c ON c.user_key = i.user_key AND c.device = i.device`,
		"a user's version is one of its events":    `SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.user_key = u.user_key AND e.number = u.version)`,
		"each recorded credential has its event":   `SELECT count(*) FROM credentials c WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.credential_id = c.credential_id AND e.action LIKE 'credential_%')`,
		"what is to be deleted was made nobody's":  `SELECT count(*) FROM deletions d WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.credential_id = d.credential_id AND e.action = 'credential_released')`,
		"nothing that was deleted is to be, again": `SELECT count(*) FROM deletions d JOIN events e ON e.credential_id = d.credential_id AND e.action = 'credential_deleted'`,
		"a user is there as the last event says": `WITH last AS (SELECT user_key, max(number) AS number FROM events WHERE action LIKE 'user_%' AND action <> 'user_changed' GROUP BY user_key)
			SELECT count(*) FROM last l JOIN events e ON e.number = l.number LEFT JOIN users u ON u.user_key = l.user_key
			WHERE (e.action = 'user_removed') <> (u.user_key IS NULL) OR (e.action = 'user_disabled') <> (COALESCE(u.disabled_at, 0) > 0)`,
		"a credential is there as the last event says": `WITH last AS (SELECT credential_id, max(number) AS number FROM events WHERE credential_id <> '' GROUP BY credential_id)
			SELECT count(*) FROM last l JOIN events e ON e.number = l.number LEFT JOIN credentials c ON c.credential_id = l.credential_id
			WHERE (e.action IN ('credential_released', 'credential_deleted')) <> (c.credential_id IS NULL)`,
		"what was made nobody's is to be deleted, or kept": `WITH last AS (SELECT credential_id, max(number) AS number FROM events WHERE credential_id <> '' GROUP BY credential_id)
			SELECT count(*) FROM last l JOIN events e ON e.number = l.number LEFT JOIN deletions d ON d.credential_id = l.credential_id
			WHERE (e.action = 'credential_released' AND e.detail NOT LIKE '%kept at Telnyx' AND e.detail <> 'is not at Telnyx') <> (d.credential_id IS NOT NULL)`,
		"what is kept is nobody's": `SELECT count(*) FROM kept WHERE credential_id IN (SELECT credential_id FROM credentials)`,
		"what was to be kept is": `WITH last AS (SELECT credential_id, max(number) AS number FROM events WHERE credential_id <> '' GROUP BY credential_id)
			SELECT count(*) FROM last l JOIN events e ON e.number = l.number LEFT JOIN kept k ON k.credential_id = l.credential_id
			WHERE (e.action = 'credential_released' AND e.detail LIKE '%kept at Telnyx') <> (k.credential_id IS NOT NULL)`,
	} {
		if n := b.number(t, query); n != 0 {
			t.Errorf("not true of %d: %s", n, says)
		}
	}
}

// eventually waits until try says nothing, at most so long.
func eventually(t *testing.T, limit time.Duration, what string, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
}

var lastID atomic.Int64

// newID returns a credential's id that is nobody's.
func newID() telnyx.CredentialID { return idOf(lastID.Add(1)) }

func idOf(n int64) telnyx.CredentialID {
	id, err := telnyx.ParseCredentialID(fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", n))
	if err != nil {
		panic(err)
	}
	return id
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

var by = store.By{Actor: "test"}
