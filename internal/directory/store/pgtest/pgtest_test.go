package pgtest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
)

func open(t *testing.T, url, password string) (*pgx.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = password
	connection, err := pgx.ConnectConfig(ctx, cfg)
	if err == nil {
		t.Cleanup(func() { _ = connection.Close(context.Background()) })
	}
	return connection, err
}

func ask(t *testing.T, url, query string) int {
	t.Helper()
	connection, err := open(t, url, "")
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := connection.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatWasWrittenOutlivesAKill(t *testing.T) {
	s := pgtest.StartT(t)
	url := s.NewDatabase(t)
	connection, err := open(t, url, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Exec(t.Context(), `CREATE TABLE a (b INT); INSERT INTO a VALUES (7)`); err != nil {
		t.Fatal(err)
	}
	for _, down := range []func() error{s.Kill, s.Stop, s.Kill} {
		if err := down(); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, url, ""); err == nil {
			t.Fatal("it answers when it is down")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, url, `SELECT b FROM a`); got != 7 {
			t.Fatalf("it has %d, want 7", got)
		}
	}
	if got := ask(t, s.NewDatabase(t), `SELECT count(*) FROM pg_tables WHERE tablename = 'a'`); got != 0 {
		t.Error("a fresh database has another's table")
	}
}

func TestAServerWithAPassword(t *testing.T) {
	s := pgtest.StartWithT(t, pgtest.Options{Password: "first"})
	if strings.Contains(s.URL(), "first") {
		t.Error("the password is in the URL")
	}
	if err := s.SetPassword("second"); err != nil {
		t.Fatal(err)
	}
	for password, good := range map[string]bool{"": false, "first": false, "second": true} {
		if _, err := open(t, s.NewDatabase(t), password); (err == nil) != good {
			t.Errorf("with %q: %v", password, err)
		}
	}
}
