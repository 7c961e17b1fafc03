package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Made is a credential that was created at Telnyx, or was found there under the
// intent's name.
type Made struct {
	ID          telnyx.CredentialID
	SIPUsername string
	ExpiresAt   time.Time // zero for never
	UsableAt    time.Time // zero for at once
	Adopted     bool      // it was found
}

// Record ends an intent: what was made is the user's device's. If the device has
// got one meanwhile, that is returned. Whatever was made and is not needed, or may
// not be given to the user any more, is put on the list of what to delete, with
// the error too.
//
// Errors: directory.ErrDisabled; directory.ErrNoCredential, if the user is not in
// the books and may not be, or as with Begin; directory.ErrTooManyDevices. With the following
// nothing has changed, and the intent goes on: ErrInvalid, also if what was made
// can be in no books; ErrTaken, also if it was kept by order, so that it is nobody's
// until somebody gives it; ErrDeleting; directory.ErrUnavailable, after which it may
// be recorded all the same.
func (s *Store) Record(ctx context.Context, by By, i Intent, m Made, l Limits) (Credential, error) {
	if err := errors.Join(i.check(), Assignment{ID: m.ID, SIPUsername: m.SIPUsername}.check(i.Device)); err != nil {
		return Credential{}, err
	}
	var recorded Credential
	var refused error
	err := s.change(ctx, by, func(c *change) (err error) {
		recorded, refused, err = c.record(i, m, l)
		return err
	})
	if err := errors.Join(err, refused); err != nil {
		return Credential{}, err
	}
	return recorded, nil
}

// record returns what the device has now, or why it may have none: that is written
// down too, so it is no error of the change.
func (c *change) record(i Intent, m Made, l Limits) (has Credential, refused, err error) {
	now, err := c.store.clock(c.ctx, c)
	if err != nil {
		return Credential{}, nil, err
	}
	if err := errors.Join(c.free(m.ID, i.User, i.Device), c.notKept(m.ID), c.exec(`DELETE FROM intents WHERE name = $1`, i.Name)); err != nil {
		return Credential{}, nil, err
	}
	u, there, err := c.whoAsks(i.User, l)
	if errors.Is(err, directory.ErrDisabled) || errors.Is(err, directory.ErrNoCredential) {
		return Credential{}, err, c.discard(i, m, err.Error())
	}
	if err != nil {
		return Credential{}, nil, err
	}
	held, _ := u.On(i.Device)
	if held.ID == m.ID { // recorded before, or renewed by somebody who did not get to say so
		has, err = c.renew(held, m.ExpiresAt)
		return has, nil, err
	}
	if held.Live(moment(now)) {
		return held, nil, c.discard(i, m, "the device has one already")
	}
	tooMany, ok := u.tooMany(i.Device, moment(now), l)
	if !ok {
		return Credential{}, directory.ErrTooManyDevices, c.discard(i, m, directory.ErrTooManyDevices.Error())
	}
	has = Credential{
		ID: m.ID, User: i.User, Device: i.Device, SIPUsername: m.SIPUsername, Provisioned: true, CreatedAt: moment(c.at),
		UsableAt: moment(millis(m.UsableAt)), ExpiresAt: moment(millis(m.ExpiresAt)),
	}
	return has, nil, c.give(u, there, held, tooMany, has, m.Adopted)
}

// give writes down that the user has the credential, and takes back what makes
// room for it. The error is ErrDeleting if it is about to go.
func (c *change) give(u User, there bool, expired Credential, tooMany []Credential, has Credential, adopted bool) error {
	if deleting, err := c.deleting(has.ID); err != nil || deleting {
		return cmp.Or(err, ErrDeleting)
	}
	if !there {
		if _, err := c.createUser(u.Key, ""); err != nil {
			return err
		}
	}
	if !expired.ID.IsZero() {
		if err := c.release(expired, toDelete, "has expired"); err != nil {
			return err
		}
	}
	for _, unused := range tooMany {
		if err := c.release(unused, unused.replaced(), "makes room for another device"); err != nil {
			return err
		}
	}
	action := CredentialCreated
	if adopted {
		action = CredentialAdopted
	}
	return errors.Join(c.insertCredential(has, action, ""), c.touch(u.Key))
}

// discard puts what was made, and is nobody's, on the list of what to delete.
func (c *change) discard(i Intent, m Made, why string) error {
	if deleting, err := c.deleting(m.ID); err != nil || deleting {
		return err
	}
	_, err := c.note(Event{Action: CredentialReleased, User: i.User, Device: i.Device, Credential: m.ID, Detail: why})
	return errors.Join(err, c.queue(m.ID, i.User, i.Device))
}

// HasRoom reports whether the device may have a credential, which it may have
// already.
func (u User) HasRoom(device directory.Device, now time.Time, l Limits) bool {
	_, ok := u.tooMany(device, now, l)
	return ok
}

// tooMany returns which of the user's credentials would have to go for the device
// to have one, the longest unused, and whether they may.
func (u User) tooMany(device directory.Device, now time.Time, l Limits) (some []Credential, ok bool) {
	if l.MaxDevices <= 0 {
		return nil, true
	}
	others := slices.DeleteFunc(slices.Clone(u.Credentials), func(c Credential) bool { return c.Device == device || !c.Live(now) })
	slices.SortStableFunc(others, func(a, b Credential) int {
		return cmp.Compare(a.usedAt(), b.usedAt())
	})
	some = others[:max(0, len(others)+1-l.MaxDevices)]
	inUse := func(c Credential) bool { // by the clock of whoever wrote it down, which may be ahead
		return l.ReplaceUnusedFor > 0 && c.usedAt() > millis(now.Add(-l.ReplaceUnusedFor))
	}
	return some, len(some) == 0 || l.Replace && !slices.ContainsFunc(some, inUse)
}

func (c Credential) usedAt() int64 { return max(millis(c.VendedAt), millis(c.CreatedAt)) }
