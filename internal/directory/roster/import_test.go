package roster_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

func openBooks(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(store.Config{SQLite: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// What is wrong is told in the order of the lines, whoever finds it.
func TestAnImportTellsOfEveryLine(t *testing.T) {
	const list = "user,credential_id\n" +
		"alice,11111111-1111-4111-8111-111111111111\n" +
		"bob,11111111-1111-4111-8111-111111111111\n" + // which the store refuses
		"carol,none\n" + // and this the reader
		"alice,\n"
	for mode, want := range map[store.ImportMode]roster.Tally{
		store.ImportEach: {Created: 1, Unchanged: 1, Failed: 2}, store.ImportDryRun: {Created: 1, Unchanged: 1, Failed: 2}, store.ImportAtomic: {Failed: 2},
	} {
		s := openBooks(t, filepath.Join(t.TempDir(), "books.db"))
		var lines []int
		tally, err := roster.Import(t.Context(), s, store.By{Actor: "test"}, mode, roster.NewReader(strings.NewReader(list), roster.CSV, []string{"main"}),
			func(line int, _ string) { lines = append(lines, line) })
		if err != nil || tally != want || fmt.Sprint(lines) != "[3 4]" {
			t.Errorf("mode %d: %+v, lines %v, %v; want %+v", mode, tally, lines, err, want)
		}
		if _, err := s.User(t.Context(), "main:alice"); (err == nil) != (mode == store.ImportEach) {
			t.Errorf("mode %d: alice is %v", mode, err)
		}
	}
}

// crowd is a list that never ends, and does something after so many people.
type crowd struct {
	people, at int
	then       func()
}

func (e *crowd) Read(p []byte) (int, error) {
	if e.people++; e.people == e.at {
		e.then()
	}
	return copy(p, fmt.Sprintf(`{"user":"person%d"}`+"\n", e.people)), nil
}

// What is counted is in the books, whatever comes after it.
func TestAnImportThatBreaksOffCountsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	s := openBooks(t, path)
	list := &crowd{at: store.MaxBatch + 10, then: func() { _ = s.Close() }}
	tally, err := roster.Import(t.Context(), s, store.By{Actor: "test"}, store.ImportEach, roster.NewReader(list, roster.NDJSON, []string{"main"}), func(int, string) {})
	counts, failed := openBooks(t, path).Counts(t.Context())
	if !errors.Is(err, directory.ErrUnavailable) || tally != (roster.Tally{Created: store.MaxBatch}) || failed != nil || counts.Users != store.MaxBatch {
		t.Errorf("%+v, %v; %d users, %v; want %d", tally, err, counts.Users, failed, store.MaxBatch)
	}
}

// So is what a reader gave before it failed, unless it was to be all or nothing.
func TestAListThatCannotBeReadToItsEnd(t *testing.T) {
	for mode, want := range map[store.ImportMode]int{store.ImportEach: 1, store.ImportAtomic: 0} {
		s := openBooks(t, filepath.Join(t.TempDir(), "books.db"))
		broken := errors.New("broken pipe")
		list := io.MultiReader(strings.NewReader("user\nalice\n"), &brokenReader{broken})
		tally, err := roster.Import(t.Context(), s, store.By{Actor: "test"}, mode, roster.NewReader(list, roster.CSV, []string{"main"}), func(int, string) {})
		counts, failed := s.Counts(t.Context())
		if !errors.Is(err, broken) || tally != (roster.Tally{Created: want}) || failed != nil || int(counts.Users) != want {
			t.Errorf("mode %d: %+v, %v; %d users, %v; want %d", mode, tally, err, counts.Users, failed, want)
		}
	}
}

type brokenReader struct{ err error }

func (b *brokenReader) Read([]byte) (int, error) { return 0, b.err }
