package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
)

// following is what a Follow has told.
type following struct {
	t       *testing.T
	changes chan store.Change
}

// follow follows, and returns when it has begun.
func follow(t *testing.T, s *store.Store) *following {
	t.Helper()
	f := startFollowing(t, s)
	f.want(10*time.Second, store.Change{All: true})
	return f
}

func startFollowing(t *testing.T, s *store.Store) *following {
	t.Helper()
	f := &following{t, make(chan store.Change)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Follow(ctx, func(c store.Change) {
			select {
			case f.changes <- c:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("it goes on when it is told to end")
		}
	})
	return f
}

// want waits for a change.
func (f *following) want(limit time.Duration, want store.Change) {
	f.t.Helper()
	select {
	case got := <-f.changes:
		if got != want {
			f.t.Fatalf("it tells %+v, want %+v", got, want)
		}
	case <-time.After(limit):
		f.t.Fatalf("%+v is not told within %v", want, limit)
	}
}

const soon = 2 * time.Second

func TestAChangeIsToldToOtherReplicas(t *testing.T) {
	t.Parallel() // it waits, mostly
	onBoth(t, func(t *testing.T, b *books) {
		here, there := b.open(t), b.open(t)
		put(t, there, "main:before", "")
		f := follow(t, here)
		began := time.Now()
		for n := range 5 {
			user := fmt.Sprint("main:u", n)
			put(t, there, user, "")
			f.want(soon, store.Change{User: user})
		}
		if took := time.Since(began); b.server != nil && took > 3*time.Second {
			t.Errorf("five changes took %v: they are not heard of, only seen", took)
		}
		// What somebody gets is told as theirs, what they lose by its name too.
		id := provision(t, there, "main:u1", "desk", everyone)
		f.want(soon, store.Change{User: "main:u1"})
		if err := there.Unassign(t.Context(), by, "main:u1", "desk", false, store.Match{}); err != nil {
			t.Fatal(err)
		}
		f.want(soon, store.Change{User: "main:u1", Released: id})
		put(t, here, "main:own", "")
		f.want(soon, store.Change{User: "main:own"})
	})
}

func TestWhoeverIsFarBehindIsToldThatAllMayHaveChanged(t *testing.T) {
	t.Parallel() // it waits, mostly
	many := func(b *books, t *testing.T, n int64) {
		t.Helper()
		last := b.number(t, `SELECT value FROM counter`)
		b.exec(t, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < `+fmt.Sprint(n)+`)
			INSERT INTO events (number, at, actor, action, user_key) SELECT `+fmt.Sprint(last)+` + i, 0, '', 'user_changed', 'main:u' || i FROM n`)
		b.exec(t, `UPDATE counter SET value = value + $1`, n)
	}
	onBoth(t, func(t *testing.T, b *books) {
		f := follow(t, b.open(t))
		many(b, t, 10_001)
		f.want(10*time.Second, store.Change{All: true})
		many(b, t, 10_000)
		for n := range 10_000 {
			f.want(10*time.Second, store.Change{User: fmt.Sprint("main:u", n+1)})
		}
		// As with books that come from a backup.
		b.exec(t, `DELETE FROM events WHERE number > 5`)
		b.exec(t, `UPDATE counter SET value = 5`)
		f.want(soon, store.Change{All: true})
		put(t, b.open(t), "main:alice", "")
		f.want(soon, store.Change{User: "main:alice"})
	})
}

// listener is the process of PostgreSQL's that serves the Follow.
const listener = `SELECT COALESCE(max(pid), 0) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()`

func TestWhoeverFollowsLosesItsConnection(t *testing.T) {
	b := postgresBooks(t, sharedPostgres(t))
	here, there := b.open(t), b.open(t)
	f := follow(t, here)
	raw := b.raw(t)
	pid := func(not int) (pid int) {
		eventually(t, 5*time.Second, "it listens", func(ctx context.Context) error {
			err := raw.QueryRowContext(ctx, listener).Scan(&pid)
			if err == nil && (pid == 0 || pid == not) {
				err = fmt.Errorf("the process is %d", pid)
			}
			return err
		})
		return pid
	}
	last := pid(0)
	for n := range 3 {
		b.exec(t, `SELECT pg_terminate_backend($1)`, last)
		user := fmt.Sprint("main:u", n)
		put(t, there, user, "")
		f.want(soon, store.Change{User: user})
		last = pid(last)
	}
}

func TestWhoeverFollowsLosesItsDatabase(t *testing.T) {
	t.Parallel() // it waits, mostly
	server := pgtest.StartT(t)
	b := postgresBooks(t, server)
	here, there := b.open(t), b.open(t)
	f := follow(t, here)
	for n, down := range []func() error{server.Stop, server.Kill, server.Stop} {
		if err := down(); err != nil {
			t.Fatal(err)
		}
		late := startFollowing(t, b.open(t))
		if n == 2 { // long enough to be noticed
			select {
			case c := <-late.changes:
				t.Fatalf("of a database that is away it tells %+v", c)
			case <-time.After(3 * time.Second):
			}
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		user := fmt.Sprint("main:u", n)
		eventually(t, 5*time.Second, "it works again", func(ctx context.Context) error {
			_, _, err := there.PutUser(ctx, by, user, "", store.Match{})
			return err
		})
		f.want(soon, store.Change{User: user})
		late.want(soon, store.Change{All: true})
	}
}

// As from a hand at the database. It must not keep what comes after from being told.
func TestAnEventThatCannotBeRead(t *testing.T) {
	t.Parallel() // it waits, mostly
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		f := follow(t, s)
		b.exec(t, `INSERT INTO events (number, at, actor, action, credential_id) VALUES (1, 0, '', 'user_changed', 'nonsense')`)
		b.exec(t, `UPDATE counter SET value = 1`)
		f.want(soon, store.Change{All: true})
		put(t, s, "main:alice", "")
		f.want(soon, store.Change{User: "main:alice"})
	})
}
