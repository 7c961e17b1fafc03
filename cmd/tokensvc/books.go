package main

import (
	"context"
	"errors"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// openStore opens the directory that is a database. It does not yet touch a
// PostgreSQL.
func (c Config) openStore() (*store.Store, error) {
	cfg := store.Config{Connections: c.DirectoryConnections}
	if c.Directory.Kind == "sqlite" {
		cfg.SQLite = c.Directory.Value
		return store.Open(cfg)
	}
	cfg.Postgres = c.Directory.Value
	switch {
	case c.DirectoryPasswordFile != "":
		cfg.Password = func() (secret.Text, error) { return readDatabasePassword(c.DirectoryPasswordFile) }
	case !c.Directory.Password.Empty():
		cfg.Password = func() (secret.Text, error) { return c.Directory.Password, nil }
	}
	return store.Open(cfg)
}

// prepareStore brings a database in a file to this version's schema, and looks
// whether a PostgreSQL has it: many use that one, so somebody decides when it
// changes, by `tokensvc migrate`.
func (c Config) prepareStore(ctx context.Context, s *store.Store) error {
	if c.Directory.Kind == "sqlite" {
		_, _, err := s.Migrate(ctx)
		return err
	}
	return s.Check(ctx)
}

// openPrepared is for commands that do one thing with the database.
func (c Config) openPrepared(ctx context.Context) (*store.Store, error) {
	s, err := c.openStore()
	if err != nil {
		return nil, err
	}
	if err := c.prepareStore(ctx, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}
