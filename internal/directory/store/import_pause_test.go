package store_test

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// Whoever sends the rows may stop in the middle, and all who change the books wait.
func TestAnImportThatStallsIsOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	synctest.Test(t, func(t *testing.T) {
		s := must[*store.Store](t)(store.Open(store.Config{SQLite: path}))
		defer s.Close()
		must2[int64, int64](t)(s.Migrate(t.Context()))
		i := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportAtomic))
		defer i.End(t.Context(), false)
		for _, user := range []string{"main:a", "main:b", "main:c"} {
			<-time.After(store.PauseTimeout - time.Second) // slow, and no more than that
			must[[]store.Verdict](t)(i.Add(t.Context(), []store.Row{{User: user}}))
		}
		<-time.After(store.PauseTimeout + time.Second)
		put(t, s, "main:alice", "")
		if _, err := i.Add(t.Context(), []store.Row{{User: "main:d"}}); !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("more rows: %v, want %v", err, directory.ErrUnavailable)
		}
		if err := i.End(t.Context(), true); !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("the end: %v, want %v", err, directory.ErrUnavailable)
		}
		if got := counts(t, s).Users; got != 1 {
			t.Errorf("there are %d users, want the one that came after it", got)
		}
	})
}

func TestAnImportThatStallsBeforeItsEndIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	synctest.Test(t, func(t *testing.T) {
		s := must[*store.Store](t)(store.Open(store.Config{SQLite: path}))
		defer s.Close()
		must2[int64, int64](t)(s.Migrate(t.Context()))
		i := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportAtomic))
		must[[]store.Verdict](t)(i.Add(t.Context(), []store.Row{{User: "main:a"}}))
		<-time.After(store.PauseTimeout + time.Second)
		if err := i.End(t.Context(), true); !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("the end: %v, want %v", err, directory.ErrUnavailable)
		}
		put(t, s, "main:alice", "")
		if got := counts(t, s).Users; got != 1 {
			t.Errorf("there are %d users, want the one that came after it", got)
		}
	})
}
