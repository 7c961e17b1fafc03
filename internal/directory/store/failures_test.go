package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// slack is what a slow machine may add to a time-out.
const slack = 2 * time.Second

// within does what must be over by then.
func within(t *testing.T, limit time.Duration, what string, do func() error) error {
	t.Helper()
	began := time.Now()
	err := do()
	if took := time.Since(began); took > limit+slack {
		t.Errorf("%s takes %v, want at most %v", what, took, limit)
	}
	return err
}

// ways are all ways to the books.
func ways(t *testing.T, s *store.Store) (reads, writes map[string]func() error) {
	ctx := t.Context()
	i := intent("main:ways", "default", "ways")
	return map[string]func() error{
			"Lookup":  func() error { _, err := s.Lookup(ctx, "main:ways", "default"); return err },
			"User":    func() error { _, err := s.User(ctx, "main:before"); return err },
			"Counts":  func() error { _, err := s.Counts(ctx); return err },
			"Intents": func() error { _, err := s.Intents(ctx, []string{i.Name}); return err },
			"Unseen":  func() error { _, err := s.Unseen(ctx, 1, time.Now(), newID(), 1); return err },
		}, map[string]func() error{
			"PutUser": func() error { _, _, err := s.PutUser(ctx, by, "main:"+newID().String(), "", store.Match{}); return err },
			"Begin": func() error {
				_, err := s.Begin(ctx, intent("main:"+newID().String(), "a", "b"), everyone, hold)
				return err
			},
			"Record":         func() error { _, err := s.Record(ctx, by, i, store.Made{ID: newID()}, everyone); return err },
			"QueueDeletion":  func() error { return s.QueueDeletion(ctx, by, newID(), "") },
			"ClaimDeletions": func() error { _, err := s.ClaimDeletions(ctx, 1, 0); return err },
			"TryLease":       func() error { _, err := s.TryLease(ctx, "ways", "me", hold); return err },
			"See":            func() error { _, err := s.See(ctx, 1, nil); return err },
			"FlushVended": func() error {
				s.Vended(newID(), time.Now())
				return store.FlushVended(ctx, s)
			},
		}
}

// fail checks that each fails as it should, in time; all at once, for they are
// slow.
func fail(t *testing.T, limit time.Duration, ways map[string]func() error) {
	t.Helper()
	type answer struct {
		way string
		err error
	}
	answers := make(chan answer)
	for way, do := range ways {
		go func() { answers <- answer{way, within(t, limit, way, do)} }()
	}
	for range ways {
		if a := <-answers; !errors.Is(a.err, directory.ErrUnavailable) {
			t.Errorf("%s: %v, want %v", a.way, a.err, directory.ErrUnavailable)
		}
	}
}

func work(t *testing.T, ways map[string]func() error) {
	t.Helper()
	for way, do := range ways {
		if err := within(t, time.Second, way, do); err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// fill puts in what there is room for, and returns how many users that is.
func fill(t *testing.T, s *store.Store) (users int) {
	t.Helper()
	for ; users < 10_000; users++ {
		_, _, err := s.PutUser(t.Context(), by, fmt.Sprint("main:full", users), strings.Repeat("x", store.MaxNameBytes), store.Match{})
		if errors.Is(err, directory.ErrUnavailable) {
			return users
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("there is no end to it")
	return 0
}

func TestTheDatabaseIsFull(t *testing.T) {
	b := sqliteBooks(t)
	s := b.open(t)
	put(t, s, "main:before", "")
	limit := func(pages int64) {
		t.Helper()
		if err := store.ExecWriting(t.Context(), s, fmt.Sprint("PRAGMA max_page_count = ", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(b.number(t, `PRAGMA page_count`) + 10)
	users := fill(t, s)
	reads, writes := ways(t, s)
	work(t, reads)
	limit(1 << 30)
	work(t, writes)
	if n := b.number(t, `SELECT count(*) FROM users WHERE user_key LIKE 'main:full%'`); n != int64(users) {
		t.Errorf("%d are there, want the %d that were acknowledged", n, users)
	}
	b.consistent(t)
}

func TestTheFileIsLockedByAnotherProcess(t *testing.T) {
	t.Parallel() // it waits, mostly
	b := sqliteBooks(t)
	s := b.open(t)
	put(t, s, "main:before", "")
	id := provision(t, s, "main:before", "desk", everyone)
	other, lines := startChild(t, b, "lock", 0)
	if !lines.Scan() {
		t.Fatal("it locks nothing")
	}
	s.Vended(id, time.UnixMilli(5000))
	reads, writes := ways(t, s)
	work(t, reads)
	fail(t, store.ChangeTimeout, writes)
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	work(t, writes)
	if got := must[store.Credential](t)(s.Credential(t.Context(), id)).VendedAt; got.UnixMilli() != 5000 {
		t.Errorf("what was vended while it could not be written down is lost: %v", got)
	}
	b.consistent(t)
}

func TestTheServerIsAway(t *testing.T) {
	t.Parallel() // it waits, mostly
	server := pgtest.StartT(t)
	b := postgresBooks(t, server)
	s := b.open(t)
	put(t, s, "main:before", "")
	reads, writes := ways(t, s)
	for _, row := range []struct {
		says     string
		down, up func() error
	}{
		{"stopped", server.Stop, server.Start},
		{"killed", server.Kill, server.Start},
		{"frozen", func() error { server.Pause(); return nil }, func() error { server.Resume(); return nil }},
	} {
		t.Logf("the server is %s", row.says)
		work(t, reads)
		if err := row.down(); err != nil {
			t.Fatal(err)
		}
		fail(t, store.AnswerTimeout, reads)
		fail(t, store.ChangeTimeout, writes)
		if err := row.up(); err != nil {
			t.Fatal(err)
		}
		work(t, reads)
		work(t, writes)
		b.consistent(t)
	}
}

// A connection that was lost a moment ago may be noticed by whoever takes it next,
// and by nobody else.
func TestTheServerIsRestartedBetweenTwoCalls(t *testing.T) {
	server := pgtest.StartT(t)
	b := postgresBooks(t, server)
	s := b.open(t)
	put(t, s, "main:before", "")
	reads, writes := ways(t, s)
	work(t, reads)
	if err := errors.Join(server.Stop(), server.Start()); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, "all works again", func(context.Context) error {
		for _, do := range reads {
			if err := do(); err != nil {
				if !errors.Is(err, directory.ErrUnavailable) {
					t.Error(err)
				}
				return err
			}
		}
		return nil
	})
	work(t, writes)
}

func TestSomebodyHoldsTheBooksUp(t *testing.T) {
	t.Parallel() // it waits, mostly
	b := postgresBooks(t, sharedPostgres(t))
	s := b.open(t)
	put(t, s, "main:before", "")
	tx, err := b.raw(t).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), `LOCK TABLE users, credentials, counter, intents, deletions, leases IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	reads, writes := ways(t, s)
	fail(t, store.AnswerTimeout, reads)
	fail(t, store.ChangeTimeout, writes)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	work(t, reads)
	work(t, writes)
	b.consistent(t)
}

func TestThePasswordIsChanged(t *testing.T) {
	server := pgtest.StartWithT(t, pgtest.Options{Password: "first-password"})
	password, asked := "first-password", 0
	b := &books{server: server, cfg: store.Config{
		Postgres: server.URL(), Connections: 1,
		Password: func() (secret.Text, error) { asked++; return secret.New(password), nil },
	}}
	b.migrate(t)
	s := b.open(t)
	put(t, s, "main:before", "")
	reads, writes := ways(t, s)

	before := asked
	work(t, writes)
	if asked != before {
		t.Error("it is asked for a connection that is there")
	}
	if err := server.SetPassword("second-password"); err != nil {
		t.Fatal(err)
	}
	work(t, writes) // who is connected stays so
	if err := errors.Join(server.Stop(), server.Start()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Counts(t.Context()); !errors.Is(err, directory.ErrUnavailable) || strings.Contains(err.Error(), "-password") {
		t.Errorf("with the old password: %v", err)
	}
	password = "second-password"
	work(t, reads)
	work(t, writes)

	withIt := strings.Replace(server.URL(), "tester@", "tester:third-password@", 1)
	for _, address := range []string{
		withIt, strings.Replace(withIt, "127.0.0.1", "127.0.0.1:x", 1), strings.Replace(withIt, "disable", "nonsense", 1),
		strings.Replace(withIt, "/postgres?", "/nowhere?", 1), strings.Replace(withIt, "127.0.0.1:", "127.0.0.1:1", 1),
	} {
		s, err := store.Open(store.Config{Postgres: address})
		if err == nil {
			err = s.Check(t.Context())
			_ = s.Close()
		}
		if err == nil || strings.Contains(err.Error(), "-password") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestThePasswordCannotBeHad(t *testing.T) {
	cause := errors.New("the file is not there")
	s, err := store.Open(store.Config{
		Postgres: sharedPostgres(t).URL(),
		Password: func() (secret.Text, error) { return secret.Text{}, cause },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Counts(t.Context()); !errors.Is(err, directory.ErrUnavailable) || !errors.Is(err, cause) {
		t.Errorf("it says %v", err)
	}
}
