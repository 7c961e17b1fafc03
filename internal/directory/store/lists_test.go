package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// A search looks at every user, and an administrator can ask for many at once.
func TestNoLoginWaitsForAList(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		put(t, s, "main:before", "")
		reads, writes := ways(t, s)
		delete(reads, "Counts")
		release, err := store.HoldLists(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		work(t, reads)
		work(t, writes)
		for list, do := range lists(s) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := do(ctx); !errors.Is(err, directory.ErrUnavailable) {
				t.Errorf("%s does not wait for other lists: %v", list, err)
			}
			cancel()
		}
		release()
		for list, do := range lists(s) {
			if err := do(t.Context()); err != nil {
				t.Errorf("%s: %v", list, err)
			}
		}
	})
}

func lists(s *store.Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Users":       func(ctx context.Context) error { _, _, err := s.Users(ctx, store.List{}); return err },
		"a search":    func(ctx context.Context) error { _, _, err := s.Users(ctx, store.List{Search: "x"}); return err },
		"Events":      func(ctx context.Context) error { _, err := s.Events(ctx, store.EventList{}); return err },
		"Credentials": func(ctx context.Context) error { _, _, err := s.Credentials(ctx, newID(), 1); return err },
		"Counts":      func(ctx context.Context) error { _, err := s.Counts(ctx); return err },
	}
}

func TestAllConnectionsAreCounted(t *testing.T) {
	for connections := 1; connections <= 40; connections++ {
		s, err := store.Open(store.Config{Postgres: "postgres://localhost/nowhere", Connections: connections})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Connections().Most; got != connections {
			t.Errorf("of %d, %d may be open", connections, got)
		}
		_ = s.Close()
	}
}

// With few connections they are shared, and all works one after the other.
func TestOfFewConnectionsAllAreForAnything(t *testing.T) {
	for connections := 1; connections <= 5; connections++ {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			b := postgresBooks(t, sharedPostgres(t))
			b.cfg.Connections = connections
			s := b.open(t)
			put(t, s, "main:before", "")
			reads, writes := ways(t, s)
			work(t, reads)
			work(t, writes)
		})
	}
}
