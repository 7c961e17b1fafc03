package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// lockEvery and lockTries bound how long one who migrates a PostgreSQL waits for
// another who does.
const (
	lockEvery = 1 // seconds
	lockTries = 300
)

// schemaTable says which migrations have been applied. It has a name of its own, for
// somebody else may use goose in the same schema of a PostgreSQL.
const schemaTable = "tokensvc_schema"

func (s *Store) provider() (*goose.Provider, error) {
	dialect, folder := goose.DialectSQLite3, "migrations/sqlite"
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName(schemaTable)}
	if s.postgres != nil {
		dialect, folder = goose.DialectPostgres, "migrations/postgres"
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockEvery, lockTries))
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, s.writes, files, options...)
}

// Migrate brings the database to the schema of this version, and returns the
// schema's number before and after. There is no way back. Several may do it at
// once. A database that is newer is left alone: ErrNewerSchema.
func (s *Store) Migrate(ctx context.Context) (before, after int64, err error) {
	p, err := s.provider()
	if err != nil {
		return 0, 0, unavailable(err)
	}
	before, err = s.schema(ctx)
	switch {
	case err != nil:
		return 0, 0, unavailable(err)
	case before > known(p):
		return before, before, ErrNewerSchema
	case before == known(p):
		return before, before, nil
	}
	after, err = s.up(ctx, p, before)
	if err != nil {
		return before, after, fmt.Errorf("migrating: %w", unavailable(err))
	}
	return before, after, nil
}

// up applies what is missing. Where several do it at once on SQLite, which has no
// lock for it, one fails at what another has just done, and goes on after that.
func (s *Store) up(ctx context.Context, p *goose.Provider, has int64) (int64, error) {
	if s.postgres == nil { // nobody asks anew for goose
		wait := func(ctx context.Context, d time.Duration) error {
			_, err := s.writes.ExecContext(ctx, fmt.Sprintf(`PRAGMA busy_timeout = %d`, d.Milliseconds()))
			return err
		}
		if err := wait(ctx, answerTimeout); err != nil {
			return has, err
		}
		defer wait(context.WithoutCancel(ctx), longestWait) //nolint:errcheck // then others wait longer
	}
	for {
		_, failed := p.Up(ctx)
		now, err := s.schema(ctx)
		switch {
		case err != nil:
			return has, errors.Join(failed, err)
		case failed == nil || now >= known(p):
			return now, nil
		case now == has:
			return has, failed
		}
		has = now
	}
}

// known is the number of this version's schema.
func known(p *goose.Provider) int64 {
	all := p.ListSources()
	return all[len(all)-1].Version
}

// schema returns the number of the database's schema, and 0 for an empty
// database. It makes nothing, not even the table that the number is in.
func (s *Store) schema(ctx context.Context) (number int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	is := `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '` + schemaTable + `')`
	if s.postgres != nil {
		is = `SELECT to_regclass('` + schemaTable + `') IS NOT NULL`
	}
	var there bool
	if err := s.reads.QueryRowContext(ctx, is).Scan(&there); err != nil || !there {
		return 0, err
	}
	err = s.reads.QueryRowContext(ctx, `SELECT COALESCE(max(version_id), 0) FROM `+schemaTable+` WHERE is_applied`).Scan(&number)
	return number, err
}

// Check reports whether the database answers and has the schema that this version
// knows: nil, ErrNewerSchema, ErrOlderSchema or directory.ErrUnavailable. It
// changes nothing.
func (s *Store) Check(ctx context.Context) error {
	p, err := s.provider()
	if err != nil {
		return unavailable(err)
	}
	has, err := s.schema(ctx)
	switch {
	case err != nil:
		return unavailable(err)
	case has > known(p):
		return ErrNewerSchema
	case has < known(p):
		return ErrOlderSchema
	}
	return nil
}
