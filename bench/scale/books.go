package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
)

// books is a PostgreSQL that counts.
type books struct {
	server     *pgtest.Server
	address    string
	postmaster string // its process
	connection *pgx.Conn
}

func openBooks(ctx context.Context) (b *books, err error) {
	server, err := pgtest.New(pgtest.Options{})
	if err != nil {
		return nil, err
	}
	b = &books{server: server, address: server.URL()}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, b.close(ctx))
	}
	return b, nil
}

// prepare has it count statements, and makes the tables.
func (b *books) prepare(ctx context.Context) error {
	if err := b.server.Exec(`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'`); err != nil {
		return err
	}
	if err := errors.Join(b.server.Stop(), b.server.Start()); err != nil {
		return err
	}
	if err := b.server.Exec(`CREATE EXTENSION pg_stat_statements`); err != nil {
		return fmt.Errorf("PostgreSQL's contributed pg_stat_statements is needed: %w", err)
	}
	pids, err := os.ReadFile(filepath.Join(b.server.Dir(), "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	b.postmaster, _, _ = strings.Cut(string(pids), "\n")
	s, err := store.Open(store.Config{Postgres: b.address})
	if err != nil {
		return err
	}
	_, _, err = s.Migrate(ctx)
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	b.connection, err = pgx.Connect(ctx, b.address)
	return err
}

func (b *books) close(ctx context.Context) (err error) {
	if b.connection != nil {
		err = b.connection.Close(ctx)
	}
	return errors.Join(err, b.server.Close())
}

// statements is how many there were so far, those that begin and end a change among
// them, but for those that ask this.
func (b *books) statements(ctx context.Context) (n int64, err error) {
	err = b.connection.QueryRow(ctx, `SELECT COALESCE(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat%'`).Scan(&n)
	return n, err
}

// connections is how many the replicas have open.
func (b *books) connections(ctx context.Context) (n int, err error) {
	err = b.connection.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tokensvc'`).Scan(&n)
	return n, err
}

// busy is how long processors have worked for PostgreSQL so far.
func (b *books) busy() (total time.Duration) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range append(all, "/proc/"+b.postmaster+"/stat") {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		switch {
		case len(fields) < 15:
		case fields[1] == b.postmaster: // a child: user and system time
			total += ticks(fields[11]) + ticks(fields[12])
		case path == "/proc/"+b.postmaster+"/stat": // it, and its children that have ended
			total += ticks(fields[11]) + ticks(fields[12]) + ticks(fields[13]) + ticks(fields[14])
		}
	}
	return total
}

// ticks is a time as /proc tells it: in hundredths of a second, wherever Go runs.
func ticks(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * 10 * time.Millisecond
}
