// Command directory measures a directory of a million people: how long it takes
// to import them from CSV, to look one up, and to start the service on it. It
// prints a Markdown table.
//
// The databases are in a temporary folder, and so is the PostgreSQL, unless
// another is named. What is cold here is the connection: the operating system's
// own cache of the file is warm, because it has just been written.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
)

func main() {
	var b bench
	flag.IntVar(&b.people, "people", 1_000_000, "how `many` people there are")
	flag.StringVar(&b.postgres, "postgres", "", "`URL` of an empty PostgreSQL database; by default one is started if it is installed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/directory:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	people   int
	postgres string
	folder   string
	binary   string
}

// row is what was measured of a database.
type row struct {
	database  string
	took      time.Duration // the import
	busy      time.Duration // of this process meanwhile
	cold      quantiles     // a lookup on a new connection
	warm      quantiles     // on one that is open
	ready     time.Duration // from exec to ready
	megabytes int64
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.folder, err = os.MkdirTemp("", "tokensvc-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	list := filepath.Join(b.folder, "people.csv")
	if err := errors.Join(writePeople(list, b.people), b.build(ctx)); err != nil {
		return err
	}
	rows, err := b.sqlite(ctx, list)
	if err != nil {
		return err
	}
	more, err := b.postgreSQL(ctx, list)
	if err != nil {
		return err
	}
	printTable(os.Stdout, b.people, append(rows, more...))
	return nil
}

func (b *bench) sqlite(ctx context.Context, list string) ([]row, error) {
	path := filepath.Join(b.folder, "tokensvc.db")
	r, err := b.measure(ctx, "SQLite", "sqlite:"+path, list, store.Config{SQLite: path})
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	r.megabytes = info.Size() >> 20
	return []row{r}, nil
}

// postgreSQL measures nothing where there is none.
func (b *bench) postgreSQL(ctx context.Context, list string) (rows []row, err error) {
	name, address := "PostgreSQL", b.postgres
	if address == "" {
		server, err := pgtest.New(pgtest.Options{})
		if errors.Is(err, pgtest.ErrNotInstalled) {
			fmt.Fprintln(os.Stderr, "there is no PostgreSQL on this machine, and no -postgres")
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		address = server.URL()
		name += ", 32 MB of buffers, fsync off"
	}
	r, err := b.measure(ctx, name, address, list, store.Config{Postgres: address})
	if err != nil {
		return nil, err
	}
	r.megabytes, err = postgresSize(ctx, address)
	return []row{r}, err
}

func (b *bench) measure(ctx context.Context, name, directory, list string, cfg store.Config) (r row, err error) {
	r.database = name
	before := busy()
	if r.took, err = b.fill(ctx, cfg, list); err != nil {
		return r, fmt.Errorf("%s: import: %w", name, err)
	}
	r.busy = busy() - before
	if r.cold, r.warm, err = b.lookups(ctx, cfg); err != nil {
		return r, fmt.Errorf("%s: lookups: %w", name, err)
	}
	if r.ready, err = b.start(ctx, directory); err != nil {
		return r, fmt.Errorf("%s: start: %w", name, err)
	}
	return r, nil
}
