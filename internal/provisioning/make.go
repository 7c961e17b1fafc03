package provisioning

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// make makes the credential that is ours to make. If it cannot, it lets others try
// at once.
func (f *Finder) make(ctx context.Context, by store.By, i store.Intent) (c store.Credential, adopted bool, err error) {
	finished := false
	defer func() {
		if !finished || err != nil && !decided(err) { // not finished: a panic
			_ = f.cfg.Store.Abandon(ctx, i, mayBeThere(err)) // or the hold ends by itself
		}
	}()
	c, adopted, err = f.adoptOrCreate(ctx, by, i)
	finished = true
	return c, adopted, err
}

// adoptOrCreate takes what an earlier try has left at Telnyx, or creates it, and
// writes it down.
func (f *Finder) adoptOrCreate(ctx context.Context, by store.By, i store.Intent) (c store.Credential, adopted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.telnyxTime()+bookTime)
	defer cancel()
	calls, cancel := context.WithTimeout(ctx, f.telnyxTime())
	defer cancel()
	there, err := f.look(calls, i.Name)
	if err != nil {
		return c, false, f.refusal(err)
	}
	if c, err = f.adopt(ctx, by, i, there); err != nil || !c.ID.IsZero() {
		return c, true, err
	}
	created, err := f.cfg.Telnyx.CreateCredential(calls, f.wish(i.Name))
	if err != nil {
		return c, false, f.refusal(err)
	}
	c, err = f.cfg.Store.Record(ctx, by, i, made(created, f.cfg.Now().Add(f.cfg.ReadyAfter)), f.limits)
	return c, false, err
}

// mayBeThere reports whether there may be a credential at Telnyx that is not in the
// books: not if Telnyx says no, or was not asked to make one.
func mayBeThere(err error) bool {
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return refused.cause.Uncertain
	}
	if failed, ok := errors.AsType[*telnyx.Error](err); ok {
		return failed.Op != "list" && failed.Uncertain
	}
	return true
}

// decided reports whether the books have taken note of the credential, and say by
// the error that it is not for this user: it is on the list of deletions.
func decided(err error) bool {
	return errors.Is(err, directory.ErrDisabled) || errors.Is(err, directory.ErrNoCredential)
}

// wish is the credential to be made.
func (f *Finder) wish(name string) telnyx.NewCredential {
	n := telnyx.NewCredential{ConnectionID: f.cfg.ConnectionID, Name: name}
	if f.cfg.ExpiresAfter > 0 {
		n.ExpiresAt = f.cfg.Now().Add(f.cfg.ExpiresAfter)
	}
	return n
}

func made(c telnyx.Credential, usable time.Time) store.Made {
	return store.Made{ID: c.ID, SIPUsername: c.SIPUsername, ExpiresAt: c.ExpiresAt, UsableAt: usable}
}

// look finds what is at Telnyx under the name, the oldest first. It believes no
// filter of Telnyx's.
func (f *Finder) look(ctx context.Context, name string) ([]telnyx.Credential, error) {
	resource := "connection:" + f.cfg.ConnectionID
	page, err := f.cfg.Telnyx.Credentials(ctx, telnyx.Query{
		Name: name, ResourceID: resource, Status: telnyx.StatusActive, Size: telnyx.MaxPageSize,
	})
	if err != nil {
		return nil, err
	}
	there := slices.DeleteFunc(page.Credentials, func(c telnyx.Credential) bool {
		return c.Name != name || c.ResourceID != resource || c.Expired
	})
	slices.SortFunc(there, func(a, b telnyx.Credential) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return there, nil
}

// adopt writes down the oldest credential that can be the user's, and has the
// others deleted. The books refuse one that is somebody else's, or is about to be
// deleted. It returns none if there is none.
func (f *Finder) adopt(ctx context.Context, by store.By, i store.Intent, there []telnyx.Credential) (c store.Credential, err error) {
	for _, one := range there {
		if !c.ID.IsZero() {
			err = f.cfg.Store.QueueDeletion(ctx, by, one.ID, "made twice")
		} else {
			c, err = f.take(ctx, by, i, one)
		}
		if err != nil && !errors.Is(err, store.ErrTaken) && !errors.Is(err, store.ErrDeleting) {
			return c, err
		}
	}
	return c, nil
}

// take writes down that a credential is the user's that was found at Telnyx. One that
// was being deleted may have gone since, and with it from the list of deletions, so
// that the books do not refuse it: whoever is given that comes back for another.
func (f *Finder) take(ctx context.Context, by store.By, i store.Intent, one telnyx.Credential) (store.Credential, error) {
	adopted := made(one, f.usable(one))
	adopted.Adopted = true
	c, err := f.cfg.Store.Record(ctx, by, i, adopted, f.limits)
	if err != nil || c.ID != one.ID {
		return c, err
	}
	if _, err := f.cfg.Telnyx.Credential(ctx, c.ID); !isGone(err) { // any other error is no news of it
		return c, nil
	}
	if err := ifThere(f.cfg.Store.Retire(ctx, by, c.ID, detailGone, true)); err != nil {
		return store.Credential{}, err
	}
	return store.Credential{}, f.soon()
}

// usable is from when a credential can be used that was found at Telnyx, where
// times are whole seconds.
func (f *Finder) usable(c telnyx.Credential) time.Time {
	now := f.cfg.Now()
	at := c.CreatedAt.Add(time.Second + f.cfg.ReadyAfter)
	if !at.After(now) {
		return time.Time{}
	}
	if latest := now.Add(f.cfg.ReadyAfter); at.After(latest) {
		return latest
	}
	return at
}

// A refusedError says that Telnyx does not accept what we ask for. That is the
// operator's to mend and about no credential, so it is telnyx.ErrBadAnswer, and not
// ErrCredentialRejected.
type refusedError struct {
	connection string
	cause      *telnyx.Error
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("telnyx refuses to %s credentials of the connection %s (status %d, code %s): is there such a connection, for credentials?",
		e.cause.Op, e.connection, e.cause.Status, cmp.Or(e.cause.Code, "none"))
}

func (*refusedError) Unwrap() error { return telnyx.ErrBadAnswer }

// refusal is an error of Telnyx's, as a caller may know it.
func (f *Finder) refusal(err error) error {
	failed, ok := errors.AsType[*telnyx.Error](err)
	if ok && errors.Is(failed.Kind, telnyx.ErrCredentialRejected) {
		return &refusedError{f.cfg.ConnectionID, failed}
	}
	return err
}
