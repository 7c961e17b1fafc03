package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tokensvc/tokensvc/internal/directory/store"
)

const (
	coldLookups = 500
	warmLookups = 20_000
)

// quantiles of how long something took.
type quantiles struct{ p50, p99 time.Duration }

func quantilesOf(all []time.Duration) quantiles {
	slices.Sort(all)
	return quantiles{all[len(all)/2], all[len(all)*99/100]}
}

// lookups looks up people at random: each on a new connection, which is the first
// thing that it does, and then all on those of one store.
func (b *bench) lookups(ctx context.Context, cfg store.Config) (cold, warm quantiles, err error) {
	var took []time.Duration
	for range coldLookups {
		s, err := store.Open(cfg)
		if err != nil {
			return cold, warm, err
		}
		d, err := b.lookup(ctx, s)
		if err := errors.Join(err, s.Close()); err != nil {
			return cold, warm, err
		}
		took = append(took, d)
	}
	cold, took = quantilesOf(took), nil
	s, err := store.Open(cfg)
	if err != nil {
		return cold, warm, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for range warmLookups {
		d, err := b.lookup(ctx, s)
		if err != nil {
			return cold, warm, err
		}
		took = append(took, d)
	}
	return cold, quantilesOf(took), nil
}

func (b *bench) lookup(ctx context.Context, s *store.Store) (time.Duration, error) {
	user := issuer + ":" + keyOf(rand.IntN(b.people)) //nolint:gosec // chance is all that is wanted
	began := time.Now()
	found, err := s.Lookup(ctx, user, "desk")
	took := time.Since(began)
	if err == nil && found.Credential.ID.IsZero() {
		err = errors.New("somebody has no credential")
	}
	return took, err
}

func postgresSize(ctx context.Context, address string) (megabytes int64, err error) {
	connection, err := pgx.Connect(ctx, address)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, connection.Close(ctx)) }()
	err = connection.QueryRow(ctx, `SELECT pg_database_size(current_database()) >> 20`).Scan(&megabytes)
	return megabytes, err
}

func printTable(w io.Writer, people int, rows []row) {
	fmt.Fprintf(w, "| %d people in | import from CSV (processor time of it here) | lookup on a new connection, p50 and p99 | on an open one, p50 and p99 | start to ready | size |\n", people)
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, r := range rows {
		fmt.Fprintf(w, "| %s | %.0f s (%.0f s) | %s, %s | %s, %s | %s | %d MiB |\n", r.database, r.took.Seconds(), r.busy.Seconds(),
			brief(r.cold.p50), brief(r.cold.p99), brief(r.warm.p50), brief(r.warm.p99), brief(r.ready), r.megabytes)
	}
}

func brief(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
