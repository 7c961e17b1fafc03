package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// storeBooks are the books in their database. A service that runs on it goes on,
// and hears of every change.
type storeBooks struct {
	store   *store.Store
	issuers []string
	by      store.By
	shared  bool // all of a user's devices use one credential
	creates bool // so does the next login, for somebody in the books
}

func (c Config) openBooks(ctx context.Context, fill bool) (books, error) {
	s, err := c.openPrepared(ctx, fill)
	if err != nil {
		return nil, err
	}
	b := &storeBooks{store: s, by: store.By{Actor: actor()}, shared: c.Devices.Mode == "shared", creates: c.Provision.ConnectionID != ""}
	for _, issuer := range c.Issuers {
		b.issuers = append(b.issuers, issuer.Name)
	}
	return b, nil
}

func (b *storeBooks) close() error { return b.store.Close() }

// key is the user's key in full.
func (b *storeBooks) key(user string) (string, error) {
	key, err := directory.ParseUserKey(user, b.issuers)
	if err != nil {
		return "", usageError{err}
	}
	return key, nil
}

// on does something to a user and says of whom it failed.
func (b *storeBooks) on(user string, do func(key string) error) error {
	key, err := b.key(user)
	if err != nil {
		return err
	}
	switch err := do(key); {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%s: %w", key, errNoUser)
	case err != nil:
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func (b *storeBooks) users(ctx context.Context, after, search string, limit int) (page []handler.UserAnswer, next string, err error) {
	all, next, err := b.store.Users(ctx, store.List{After: after, Search: search, Limit: limit})
	for _, u := range all {
		page = append(page, handler.ShownUser(u))
	}
	return page, next, err
}

func (b *storeBooks) user(ctx context.Context, user string) (found handler.UserAnswer, err error) {
	err = b.on(user, func(key string) error {
		u, err := b.store.User(ctx, key)
		found = handler.ShownUser(u)
		return err
	})
	return found, err
}

func (b *storeBooks) mayAdd(_ context.Context, user string, device directory.Device) error {
	if b.shared && roster.CheckShared(device) != nil {
		return usageError{roster.ErrShared}
	}
	switch _, err := roster.UserKey(user, b.issuers); {
	case errors.Is(err, roster.ErrNoIssuer) || errors.Is(err, roster.ErrNoValue):
		return misused("%w; the issuers are: %s", err, strings.Join(b.issuers, ", "))
	case err != nil:
		return usageError{err}
	}
	return nil
}

func (b *storeBooks) put(ctx context.Context, user, name string, there bool) (put handler.UserAnswer, err error) {
	err = b.on(user, func(key string) error {
		u, _, err := b.store.PutUser(ctx, b.by, key, name, store.Match{Exists: there, Absent: !there})
		put = handler.ShownUser(u)
		return err
	})
	return put, err
}

func (b *storeBooks) disable(ctx context.Context, user string) (disabled handler.UserAnswer, err error) {
	err = b.on(user, func(key string) error {
		u, err := b.store.Disable(ctx, b.by, key, store.Match{})
		disabled = handler.ShownUser(u)
		return err
	})
	return disabled, err
}

func (b *storeBooks) enable(ctx context.Context, user string) (enabled handler.UserAnswer, err error) {
	err = b.on(user, func(key string) error {
		u, err := b.store.Enable(ctx, b.by, key, store.Match{})
		enabled = handler.ShownUser(u)
		return err
	})
	return enabled, err
}

func (b *storeBooks) remove(ctx context.Context, user string, keep bool) error {
	return b.on(user, func(key string) error { return b.store.Remove(ctx, b.by, key, keep, store.Match{}) })
}

func (b *storeBooks) assign(ctx context.Context, user string, device directory.Device, id telnyx.CredentialID) error {
	return b.on(user, func(key string) error {
		_, _, err := b.store.Assign(ctx, b.by, key, device, store.Assignment{ID: id}, store.Match{})
		if errors.Is(err, directory.ErrDisabled) {
			err = fmt.Errorf("%w: enable first: tokensvc users enable %s", err, key)
		}
		return err
	})
}

func (b *storeBooks) firstLogin() string {
	if b.creates {
		return loginCreates
	}
	return loginNeeds
}

func (b *storeBooks) unassign(ctx context.Context, user string, device directory.Device, keep bool) error {
	return b.on(user, func(key string) error { return b.store.Unassign(ctx, b.by, key, device, keep, store.Match{}) })
}

func (b *storeBooks) events(ctx context.Context, user string, before int64, limit int) (all []handler.EventAnswer, err error) {
	key := ""
	if user != "" {
		if key, err = b.key(user); err != nil {
			return nil, err
		}
	}
	events, err := b.store.Events(ctx, store.EventList{User: key, Before: before, Limit: limit})
	for _, e := range events {
		all = append(all, handler.ShownEvent(e))
	}
	return all, err
}

func (b *storeBooks) take(ctx context.Context, list newcomers) (tally, error) {
	var count roster.Tally
	var err error
	switch {
	case list.dryRun:
		count, err = b.read(ctx, store.ImportDryRun, list)
	case list.atomic:
		count, err = b.takeWhole(ctx, list)
	default:
		count, err = b.read(ctx, store.ImportEach, list)
	}
	return tally{count, list.dryRun}, err
}

// takeWhole takes a list as a whole or not at all. It keeps everybody else from
// changing the books, so it begins with a look at whether it is in order.
func (b *storeBooks) takeWhole(ctx context.Context, list newcomers) (roster.Tally, error) {
	would, err := b.read(ctx, store.ImportDryRun, list)
	if err != nil || would.Failed > 0 {
		return roster.Tally{Failed: would.Failed}, err
	}
	if list.from, err = list.again(); err != nil {
		return roster.Tally{}, err
	}
	return b.read(ctx, store.ImportAtomic, list)
}

func (b *storeBooks) read(ctx context.Context, mode store.ImportMode, list newcomers) (roster.Tally, error) {
	reader := roster.NewReader(list.from, list.format, b.issuers)
	reader.SharedDevices = b.shared
	return roster.Import(ctx, b.store, b.by, mode, reader, list.wrong)
}
