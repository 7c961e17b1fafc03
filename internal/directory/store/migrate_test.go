package store_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// onEmpty runs a test with databases that have nothing in them.
func onEmpty(t *testing.T, test func(t *testing.T, b *books)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, &books{cfg: store.Config{SQLite: filepath.Join(t.TempDir(), "books.db")}})
	})
	t.Run("postgres", func(t *testing.T) {
		server := sharedPostgres(t)
		test(t, &books{cfg: store.Config{Postgres: server.NewDatabase(t)}, server: server})
	})
}

func (b *books) tables(t *testing.T) int64 {
	t.Helper()
	if b.server != nil {
		return b.number(t, `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`)
	}
	return b.number(t, `SELECT count(*) FROM sqlite_master`)
}

func TestLookingAtAnEmptyDatabaseMakesNothingInIt(t *testing.T) {
	onEmpty(t, func(t *testing.T, b *books) {
		s := b.open(t)
		if err := s.Check(t.Context()); !errors.Is(err, store.ErrOlderSchema) {
			t.Errorf("it is %v", err)
		}
		if n := b.tables(t); n != 0 {
			t.Errorf("it has %d things in it", n)
		}
		for says, is := range map[string]error{
			"reading":  func() error { _, err := s.Lookup(t.Context(), "main:alice", "default"); return err }(),
			"changing": func() error { _, _, err := s.PutUser(t.Context(), by, "main:alice", "", anyone); return err }(),
		} {
			if !errors.Is(is, directory.ErrUnavailable) {
				t.Errorf("%s: %v", says, is)
			}
		}
	})
}

func TestSchemasOfOtherVersions(t *testing.T) {
	onEmpty(t, func(t *testing.T, b *books) {
		s := b.open(t)
		for _, want := range []int64{0, 1} { // what it had before
			if before, after, err := s.Migrate(t.Context()); before != want || after != 1 || err != nil {
				t.Errorf("migrated from %d to %d: %v", before, after, err)
			}
		}
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("then it is %v", err)
		}
		put(t, s, "main:alice", "")
		b.exec(t, `INSERT INTO tokensvc_schema (version_id, is_applied) VALUES (9999, $1)`, true)
		if err := s.Check(t.Context()); !errors.Is(err, store.ErrNewerSchema) {
			t.Errorf("a newer one is %v", err)
		}
		if _, _, err := s.Migrate(t.Context()); !errors.Is(err, store.ErrNewerSchema) {
			t.Errorf("a newer one is migrated: %v", err)
		}
		b.exec(t, `DELETE FROM tokensvc_schema WHERE version_id > 0`)
		if err := s.Check(t.Context()); !errors.Is(err, store.ErrOlderSchema) {
			t.Errorf("an older one is %v", err)
		}
		// What is there already is in the way, and stays.
		if _, _, err := s.Migrate(t.Context()); !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("tables that are in the way: %v", err)
		}
		if got := has(t, s, "main:alice", "default"); got != "nothing" {
			t.Errorf("alice is %s", got)
		}
	})
}

func TestTenMigrateAtOnce(t *testing.T) {
	onEmpty(t, func(t *testing.T, b *books) {
		var all sync.WaitGroup
		for range 10 {
			s := b.open(t)
			all.Go(func() {
				if _, after, err := s.Migrate(t.Context()); after != 1 || err != nil {
					t.Errorf("migrated to %d: %v", after, err)
				}
			})
		}
		all.Wait()
		if n := b.number(t, `SELECT count(*) FROM tokensvc_schema WHERE version_id = 1`); n != 1 {
			t.Errorf("it was migrated %d times", n)
		}
		put(t, b.open(t), "main:alice", "")
	})
}

func TestBothDatabasesHaveTheSameTables(t *testing.T) {
	columns := func(db *sql.DB, query string) (all []string) {
		t.Helper()
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var table, column, kind, required, otherwise string
			if err := rows.Scan(&table, &column, &kind, &required, &otherwise); err != nil {
				t.Fatal(err)
			}
			otherwise, _, _ = strings.Cut(otherwise, "::")
			all = append(all, strings.Join([]string{table, column, strings.ToLower(kind), required, otherwise}, " "))
		}
		slices.Sort(all)
		return all
	}
	sqlite, postgres := sqliteBooks(t), postgresBooks(t, sharedPostgres(t))
	in := columns(sqlite.raw(t), `SELECT m.name, p.name, p.type, CASE WHEN p."notnull" = 1 OR p.pk > 0 THEN 'required' ELSE 'optional' END, COALESCE(p.dflt_value, '')
		FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name <> 'tokensvc_schema' AND m.name NOT LIKE 'sqlite%'
		UNION ALL SELECT tbl_name, name, 'index', '', '' FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`)
	want := columns(postgres.raw(t), `SELECT table_name, column_name, data_type, CASE is_nullable WHEN 'NO' THEN 'required' ELSE 'optional' END, COALESCE(column_default, '')
		FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'tokensvc_schema'
		UNION ALL SELECT tablename, indexname, 'index', '', '' FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'tokensvc_schema'
		AND indexname NOT LIKE '%_key' AND indexname NOT LIKE '%_pkey'`)
	if len(in) < 40 || !slices.Equal(in, want) {
		t.Errorf("SQLite has\n%s\nPostgreSQL has\n%s", strings.Join(in, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhereADatabaseCanBe(t *testing.T) {
	for _, name := range []string{
		"books.db", "with space.db", "100%.db", "%41.db", "what?.db", "a?mode=memory&_pragma=query_only(1).db", "#1.db", "a&b=c.db", ":memory:", "file:x.db", "ü 象.db", `back\slash.db`, "'; --.db",
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, path := range []string{name, filepath.Join(t.TempDir(), name)} {
				b := &books{cfg: store.Config{SQLite: path}}
				b.migrate(t)
				put(t, b.open(t), "main:alice", "")
				if got := has(t, b.open(t), "main:alice", "default"); got != "nothing" {
					t.Errorf("%s: alice is %s", path, got)
				}
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if info.Mode().Perm() != 0o600 {
					t.Errorf("%s: others may read it: %v", path, info.Mode())
				}
			}
		})
	}
}

func TestWhatIsNoDatabase(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for says, row := range map[string]struct {
		cfg  store.Config
		want string
	}{
		"neither":             {store.Config{}, "exactly one"},
		"both":                {store.Config{SQLite: "a", Postgres: "postgres://h/d"}, "exactly one"},
		"no connections":      {store.Config{Postgres: "postgres://h/d", Connections: -1}, "Connections"},
		"a folder":            {store.Config{SQLite: folder}, "is a directory"},
		"in a missing folder": {store.Config{SQLite: filepath.Join(folder, "missing", "a.db")}, "no such file"},
		"under a file":        {store.Config{SQLite: filepath.Join(write("file", ""), "a.db")}, "not a directory"},
		"a text":              {store.Config{SQLite: write("text", strings.Repeat("users: {}\n", 100))}, "not a database"},
		"a short text":        {store.Config{SQLite: write("short", "users: {}\n")}, "not a database"},
		"a path with a NUL":   {store.Config{SQLite: "a\x00b"}, "invalid"},
		"no URL":              {store.Config{Postgres: "postgres://user:hunter2@h:port/d"}, "URL"},
	} {
		s, err := store.Open(row.cfg)
		if err == nil {
			t.Errorf("%s: it is opened", says)
			_ = s.Close()
			continue
		}
		if s != nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v, want a word of %q", says, s, err, row.want)
		}
	}
}

func TestADatabaseThatIsDamaged(t *testing.T) {
	b := sqliteBooks(t)
	s := b.open(t)
	for _, row := range many(500) {
		put(t, s, row.User, row.Name)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(b.cfg.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(b.cfg.SQLite, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(make([]byte, info.Size()-4096), 4096); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	s = b.open(t)
	if _, err := s.Lookup(t.Context(), "main:00001", "default"); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("a login is told %v", err)
	}
	if _, _, err := s.PutUser(t.Context(), by, "main:new", "", anyone); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("a change is told %v", err)
	}
}
