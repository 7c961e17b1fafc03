package main

import (
	"context"
	"errors"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// aboutBooks says what the directory alone knows of why it has no credential: the
// user is not in it, where that would do, or it does not answer, and why.
func (x *explainer) aboutBooks(ctx context.Context, e *explanation, err error) {
	p := x.cfg.Provision
	switch {
	case errors.Is(err, directory.ErrUnavailable):
		e.unknown = err
		if _, better := x.inBooks(ctx, e.User); better != nil {
			e.unknown = better
		}
	case errors.Is(err, directory.ErrNoCredential) && x.cfg.Directory.isDatabase() && p.ConnectionID != "" && p.Users == "listed":
		there, err := x.inBooks(ctx, e.User)
		e.Unlisted = !there && err == nil
	}
}

// inBooks reports whether the user is in the database.
func (x *explainer) inBooks(ctx context.Context, user string) (there bool, err error) {
	s, err := x.cfg.openPrepared(ctx, false)
	switch {
	case errors.Is(err, errNoFile):
		return false, nil
	case err != nil:
		return false, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var found store.Found
	found, err = s.Lookup(ctx, user, directory.DefaultDevice)
	return found.Known, err
}
