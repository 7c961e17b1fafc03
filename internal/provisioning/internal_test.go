package provisioning

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const user = "main:alice"

func someCredential(t *testing.T) store.Credential {
	t.Helper()
	id, err := telnyx.ParseCredentialID("c215ade3-0d39-418e-94be-c5f780760199")
	if err != nil {
		t.Fatal(err)
	}
	return store.Credential{ID: id}
}

func TestWhatWasReadBeforeAChangeIsNotKeptAfterIt(t *testing.T) {
	p := place{user, directory.DefaultDevice}
	for name, row := range map[string]struct {
		change store.Change
		kept   bool
	}{
		"of the user":     {store.Change{User: user}, false},
		"of all":          {store.Change{All: true}, false},
		"of nobody known": {store.Change{Released: someCredential(t).ID}, false},
		"none":            {store.Change{User: "another's, of another group"}, true},
	} {
		c, err := newCache(time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if row.kept && c.group(row.change.User) == c.group(user) {
			continue // one time in a thousand they are of one group
		}
		generation := c.generation(user)
		c.changed(row.change) // while the books are asked
		c.keep(p, someCredential(t), generation)
		if _, ok := c.get(p); ok != row.kept {
			t.Errorf("a change %s: kept is %v", name, ok)
		}
		c.keep(p, someCredential(t), c.generation(user))
		c.changed(row.change)
		if _, ok := c.get(p); ok != row.kept {
			t.Errorf("a change %s afterwards: kept is %v", name, ok)
		}
	}
}

func TestWhatExpiresIsKeptNoLonger(t *testing.T) {
	now := time.Now()
	c, err := newCache(func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	p, credential := place{user, directory.DefaultDevice}, someCredential(t)
	credential.ExpiresAt = now.Add(time.Second)
	c.keep(p, credential, c.generation(user))
	for after, want := range map[time.Duration]bool{0: true, 999 * time.Millisecond: true, time.Second: false} {
		began := now
		now = now.Add(after)
		if _, ok := c.get(p); ok != want {
			t.Errorf("after %v: %v", after, ok)
		}
		now = began
	}
}

// inBubble runs a test with books, and a clock that only goes on when all wait.
func inBubble(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "books.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(store.Config{SQLite: path})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
}

func TestALeaseIsKeptAsLongAsTheWorkTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store) {
		err := alone(t.Context(), s, "work", "us", func(ctx context.Context) error {
			for range 60 {
				if err := sleep(ctx, time.Minute); err != nil {
					return err
				}
				if got, err := s.TryLease(ctx, "work", "another", leaseHold); got || err != nil {
					t.Errorf("another has got it: %v", err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if got, err := s.TryLease(t.Context(), "work", "another", leaseHold); !got || err != nil {
			t.Errorf("it is kept after the work: %v", err)
		}
	})
}

func TestWorkStopsWhenItsLeaseIsLost(t *testing.T) {
	for name, row := range map[string]struct {
		lose func(ctx context.Context, s *store.Store)
		want error
	}{
		"another has it": {func(ctx context.Context, s *store.Store) {
			s.ReleaseLease(ctx, "work", "us")
			s.TryLease(ctx, "work", "another", time.Hour)
		}, store.ErrHeld},
		"the books are away": {func(_ context.Context, s *store.Store) { s.Close() }, directory.ErrUnavailable},
	} {
		inBubble(t, func(t *testing.T, s *store.Store) {
			began := time.Now()
			err := alone(t.Context(), s, "work", "us", func(ctx context.Context) error {
				row.lose(ctx, s)
				<-ctx.Done()
				return ctx.Err()
			})
			if took := time.Since(began); !errors.Is(err, row.want) || took >= leaseHold {
				t.Errorf("%s: %v after %v, want %v", name, err, took, row.want)
			}
		})
	}
}
