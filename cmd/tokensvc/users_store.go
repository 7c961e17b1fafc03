package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// storeBooks are the books in their database. A service that runs on it goes on,
// and hears of every change.
type storeBooks struct {
	store   *store.Store
	issuers []string
	by      store.By
}

func (c Config) openBooks(ctx context.Context) (books, error) {
	s, err := c.openPrepared(ctx)
	if err != nil {
		return nil, err
	}
	b := &storeBooks{store: s, by: store.By{Actor: actor()}}
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

func (b *storeBooks) users(ctx context.Context, after, search string, limit int) (page []bookedUser, next string, err error) {
	all, next, err := b.store.Users(ctx, store.List{After: after, Search: search, Limit: limit})
	for _, u := range all {
		page = append(page, booked(u))
	}
	return page, next, err
}

func (b *storeBooks) user(ctx context.Context, user string) (found bookedUser, err error) {
	err = b.on(user, func(key string) error {
		u, err := b.store.User(ctx, key)
		found = booked(u)
		return err
	})
	return found, err
}

func (b *storeBooks) put(ctx context.Context, user, name string, there bool) (put bookedUser, err error) {
	err = b.on(user, func(key string) error {
		u, _, err := b.store.PutUser(ctx, b.by, key, name, store.Match{Exists: there, Absent: !there})
		put = booked(u)
		return err
	})
	return put, err
}

func (b *storeBooks) disable(ctx context.Context, user string) (disabled bookedUser, err error) {
	err = b.on(user, func(key string) error {
		u, err := b.store.Disable(ctx, b.by, key, store.Match{})
		disabled = booked(u)
		return err
	})
	return disabled, err
}

func (b *storeBooks) enable(ctx context.Context, user string) (enabled bookedUser, err error) {
	err = b.on(user, func(key string) error {
		u, err := b.store.Enable(ctx, b.by, key, store.Match{})
		enabled = booked(u)
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
		return err
	})
}

func (b *storeBooks) unassign(ctx context.Context, user string, device directory.Device, keep bool) error {
	return b.on(user, func(key string) error { return b.store.Unassign(ctx, b.by, key, device, keep, store.Match{}) })
}

func (b *storeBooks) events(ctx context.Context, user string, before int64, limit int) (all []bookedEvent, err error) {
	key := ""
	if user != "" {
		if key, err = b.key(user); err != nil {
			return nil, err
		}
	}
	events, err := b.store.Events(ctx, store.EventList{User: key, Before: before, Limit: limit})
	for _, e := range events {
		all = append(all, bookedEvent{
			e.Number, moment(e.At), e.By.Actor, e.By.RequestID, string(e.Action), e.User, string(e.Device), e.Credential.String(), e.Detail,
		})
	}
	return all, err
}

func booked(u store.User) bookedUser {
	b := bookedUser{
		User: u.Key, Name: u.Name, Disabled: !u.DisabledAt.IsZero(), DisabledAt: moment(u.DisabledAt), CreatedAt: moment(u.CreatedAt),
		Version: u.Version, Devices: []bookedCredential{},
	}
	for _, c := range u.Credentials {
		b.Devices = append(b.Devices, bookedCredential{
			string(c.Device), c.ID.String(), c.SIPUsername, c.Provisioned, moment(c.CreatedAt), moment(c.UsableAt), moment(c.ExpiresAt), moment(c.VendedAt),
		})
	}
	return b
}

func (b *storeBooks) take(ctx context.Context, list newcomers) (tally, error) {
	mode := store.ImportEach
	switch {
	case list.dryRun:
		mode = store.ImportDryRun
	case list.atomic:
		mode = store.ImportAtomic
	}
	i, err := b.store.BeginImport(ctx, b.by, mode)
	if err != nil {
		return tally{DryRun: list.dryRun}, err
	}
	taking := &taking{Import: i, list: list, tally: tally{DryRun: list.dryRun}}
	err = taking.all(ctx, roster.NewReader(list.from, list.format, b.issuers))
	commit := err == nil && (taking.tally.Failed == 0 || !list.atomic)
	err = errors.Join(err, i.End(ctx, commit))
	if mode == store.ImportAtomic && (!commit || err != nil) {
		return tally{Failed: taking.tally.Failed}, err
	}
	return taking.tally, err
}

// taking is an import that is under way.
type taking struct {
	*store.Import
	list  newcomers
	rows  []store.Row        // to be added
	wrong []roster.LineError // to be told, once those before are known
	tally tally
}

// all takes everything that there is to be read.
func (i *taking) all(ctx context.Context, from *roster.Reader) error {
	for {
		row, err := from.Next()
		bad, isLine := errors.AsType[*roster.LineError](err)
		switch {
		case errors.Is(err, io.EOF):
			return i.add(ctx)
		case isLine:
			i.fail(bad.Line, bad.Text)
		case err != nil:
			return errors.Join(i.add(ctx), err)
		default:
			i.rows = append(i.rows, row)
		}
		if len(i.rows) == store.MaxBatch || len(i.wrong) == store.MaxBatch {
			if err := i.add(ctx); err != nil {
				return err
			}
		}
	}
}

// add adds the rows that were collected, and tells what was wrong up to there.
func (i *taking) add(ctx context.Context) error {
	verdicts, err := i.Add(ctx, i.rows)
	i.rows = i.rows[:0]
	for _, v := range verdicts {
		switch {
		case v.Err != nil:
			i.fail(v.Line, v.Problem())
		case v.Did == store.RowCreated:
			i.tally.Created++
		case v.Did == store.RowUpdated:
			i.tally.Updated++
		default:
			i.tally.Unchanged++
		}
	}
	slices.SortFunc(i.wrong, func(a, b roster.LineError) int { return cmp.Compare(a.Line, b.Line) })
	for _, w := range i.wrong {
		i.list.wrong(w.Line, w.Text)
	}
	i.wrong = i.wrong[:0]
	return err
}

func (i *taking) fail(line int, text string) {
	i.tally.Failed++
	i.wrong = append(i.wrong, roster.LineError{Line: line, Text: text})
}
