package main

import (
	"context"
	"errors"
	"time"
)

// migrateTimeout bounds a migration: of a large table it may take a while, and
// others that migrate too are waited for.
const migrateTimeout = 10 * time.Minute

// migrate is `tokensvc migrate`.
func migrate(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("migrate", t, "[-config tokensvc.yaml]",
		"Brings the directory's database to the schema of this version. There is no way back: back it up before. Several may run at once.")
	path := flags.String("config", "", "`file` in YAML; without one, environment variables alone")
	if status, ok := parse(flags, args); !ok {
		return status
	}
	cfg, problems := loadAlone(*path, t.environ)
	switch {
	case len(problems) > 0:
		sayError(t.err, joined(problems))
		return exitUsage
	case !cfg.Directory.isDatabase():
		sayError(t.err, errNoDatabase)
		return exitUsage
	}
	if err := cfg.migrate(ctx, t); err != nil {
		sayError(t.err, err)
		return exitFailed
	}
	return exitOK
}

func (c Config) migrate(ctx context.Context, t terminal) (err error) {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	s, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	before, after, err := s.Migrate(ctx)
	switch {
	case err != nil:
		return err
	case before == after:
		say(t.out, "the database has schema %d, as it must\n", after)
	default:
		say(t.out, "the database had schema %d and has %d now\n", before, after)
	}
	return nil
}
