package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

func (s *Store) provider() (*goose.Provider, error) {
	dialect, folder := goose.DialectSQLite3, "migrations/sqlite"
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if s.postgres != nil {
		dialect, folder = goose.DialectPostgres, "migrations/postgres"
		// Several that migrate at once wait for one another.
		locker, err := lock.NewPostgresSessionLocker()
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
	switch err := s.Check(ctx); {
	case err == nil || errors.Is(err, ErrOlderSchema):
	default:
		return 0, 0, err
	}
	p, err := s.provider()
	if err != nil {
		return 0, 0, unavailable(err)
	}
	if before, _, err = p.GetVersions(ctx); err != nil {
		return 0, 0, unavailable(err)
	}
	if _, err := p.Up(ctx); err != nil {
		return before, before, fmt.Errorf("migrating: %w", unavailable(err))
	}
	after, _, err = p.GetVersions(ctx)
	return before, after, unavailable(err)
}

// Check reports whether the database answers and has the schema that this version
// knows: nil, ErrNewerSchema, ErrOlderSchema or directory.ErrUnavailable.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	p, err := s.provider()
	if err != nil {
		return unavailable(err)
	}
	has, knows, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return unavailable(err)
	case has > knows:
		return ErrNewerSchema
	case has < knows:
		return ErrOlderSchema
	}
	return nil
}
