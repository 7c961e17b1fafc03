// Package provisioning sees to it that each user's device has one telephony
// credential at Telnyx, and that nobody else's is left there: it makes a credential
// at the first login, deletes those that are nobody's any more, renews those that
// expire, and compares the books with the account.
//
// Telnyx has no idempotency key and the network no memory, so between any two steps
// the process may die, or not learn what became of a call. Everything is therefore
// written down before it is done, and can be done again: an intent before a
// credential is made, under a name that can be looked for; a deletion until Telnyx
// says that it is done. It trusts the books for whose a credential is, and Telnyx
// for whether there is one.
package provisioning

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// mintTime is what a caller still needs, when the credential can be used, to get a
// token.
const mintTime = time.Second

// A Finder finds the credential of a user's device, and makes it if there is none.
type Finder struct {
	cfg      Config
	limits   store.Limits
	cache    *cache
	young    young
	flights  singleflight.Group
	users    crowd // that credentials are being made for
	waiting  atomic.Int64
	inFlight atomic.Int64
}

// NewFinder says what is wrong with the configuration, or returns a Finder.
func NewFinder(cfg Config) (*Finder, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("provisioning: %w", err)
	}
	kept, err := newCache(cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("provisioning: cache: %w", err)
	}
	young, err := newYoung(cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("provisioning: cache of what is new: %w", err)
	}
	return &Finder{
		cfg: cfg, cache: kept, young: young, users: crowd{of: make(map[string]int)},
		limits: store.Limits{CreateUsers: cfg.Everyone, MaxDevices: cfg.MaxDevices, Replace: cfg.Replace, ReplaceUnusedFor: cfg.ReplaceUnusedFor},
	}, nil
}

// Close ends the Finder's background work. Credentials that are being made are not
// waited for: what is left of them is found again.
func (f *Finder) Close() {
	f.cache.close()
	f.young.kept.StopAllGoroutines()
}

// Changed drops what was read of the books before the change. It is to be called
// for every change, of whichever replica.
func (f *Finder) Changed(c store.Change) { f.cache.changed(c) }

// Find returns the credential of a verified user's device.
//
// Errors are directory.ErrNoCredential, ErrNotCreated, ErrTooManyDevices, ErrDisabled and
// ErrUnavailable, a *directory.NotReadyError if the credential is being made and
// the caller's time or patience does not suffice; where one has to be made, also
// the errors of Telnyx, of which none is telnyx.ErrCredentialRejected, and a
// *crash.Error; and the context's error for a caller that has gone.
//
// The making of a credential goes on when the caller that caused it leaves.
func (f *Finder) Find(ctx context.Context, q directory.Query) (telnyx.CredentialID, error) {
	p := place{q.User, q.Device}
	if f.cfg.Shared {
		p.device = directory.DefaultDevice
	}
	if id, ok := f.cache.get(p); ok {
		return id, nil
	}
	generation := f.cache.generation(p.user)
	found, err := f.cfg.Store.Lookup(ctx, p.user, p.device)
	if err != nil {
		return telnyx.CredentialID{}, err
	}
	now := f.cfg.Now()
	switch c := found.Credential; {
	case found.Disabled:
		return telnyx.CredentialID{}, directory.ErrDisabled
	case !c.Live(now):
		return f.provisioned(ctx, q, p, found.Known)
	case !c.UsableAt.After(now):
		f.young.note(c)
		f.cache.keep(p, c, generation)
		return c.ID, nil
	default:
		return f.ready(ctx, c)
	}
}

// DeviceOf returns which of a verified user's own devices has a credential that has not
// expired. The books are asked about the user, and never about the credential: it is
// the same question whoever has it, and has nothing to tell of anybody else.
//
// Errors are directory.ErrNoCredential, ErrDisabled and ErrUnavailable.
func (f *Finder) DeviceOf(ctx context.Context, q directory.Query, id telnyx.CredentialID) (directory.Device, error) {
	u, err := f.cfg.Store.User(ctx, q.User)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", directory.ErrNoCredential
	case err != nil:
		return "", err
	case !u.DisabledAt.IsZero():
		return "", directory.ErrDisabled
	}
	now := f.cfg.Now()
	for _, c := range u.Credentials {
		if c.ID == id && c.Live(now) {
			return c.Device, nil
		}
	}
	return "", directory.ErrNoCredential
}

// provisioned has a credential made for somebody who has none.
func (f *Finder) provisioned(ctx context.Context, q directory.Query, p place, known bool) (telnyx.CredentialID, error) {
	switch {
	case f.cfg.Telnyx == nil || !known && !f.cfg.Everyone:
		return telnyx.CredentialID{}, directory.ErrNoCredential
	case !q.Create:
		return telnyx.CredentialID{}, f.wouldCreate(ctx, p)
	}
	c, err := f.makeOnce(ctx, store.By{Actor: "login", RequestID: q.RequestID}, p)
	if err != nil {
		return telnyx.CredentialID{}, err
	}
	return f.ready(ctx, c)
}

// wouldCreate is what becomes of somebody who has none and does not ask for one.
func (f *Finder) wouldCreate(ctx context.Context, p place) error {
	u, err := f.cfg.Store.User(ctx, p.user)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return directory.ErrNotCreated
	case err != nil:
		return err
	case !u.HasRoom(p.device, f.cfg.Now(), f.limits):
		return directory.ErrTooManyDevices
	}
	return directory.ErrNotCreated
}

// ready returns the credential when it can be used.
func (f *Finder) ready(ctx context.Context, c store.Credential) (telnyx.CredentialID, error) {
	f.young.note(c)
	// The time it was written down at may be that of another replica's clock. It
	// is never more than ReadyAfter away.
	wait := min(c.UsableAt.Sub(f.cfg.Now()), f.cfg.ReadyAfter)
	if wait <= 0 {
		return c.ID, nil
	}
	soon := &directory.NotReadyError{RetryAfter: wait}
	if deadline, ok := ctx.Deadline(); !f.cfg.Wait || ok && time.Until(deadline) <= wait+mintTime {
		return telnyx.CredentialID{}, soon
	}
	leave, ok := f.enter()
	if !ok {
		return telnyx.CredentialID{}, soon
	}
	defer leave()
	if err := sleep(ctx, wait); err != nil {
		return telnyx.CredentialID{}, err
	}
	return f.still(ctx, c)
}

// still returns a credential that was waited for, unless it has been taken away
// meanwhile.
func (f *Finder) still(ctx context.Context, c store.Credential) (telnyx.CredentialID, error) {
	found, err := f.cfg.Store.Lookup(ctx, c.User, c.Device)
	switch {
	case err != nil:
		return telnyx.CredentialID{}, err
	case found.Disabled:
		return telnyx.CredentialID{}, directory.ErrDisabled
	case found.Credential.ID != c.ID:
		return telnyx.CredentialID{}, directory.ErrNoCredential
	}
	return c.ID, nil
}

// enter takes one of the places for those who wait, if there is one.
func (f *Finder) enter() (leave func(), ok bool) {
	leave = func() { f.waiting.Add(-1) }
	if f.waiting.Add(1) > int64(f.cfg.MaxWaiting) {
		leave()
		return nil, false
	}
	return leave, true
}
