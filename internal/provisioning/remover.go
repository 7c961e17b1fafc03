package provisioning

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// removers is how many deletions are under way at once.
	removers = 2
	// removeEvery is how often to look for deletions that are due.
	removeEvery = time.Second
	// The wait before a deletion is tried again doubles from the least to the most.
	leastBackoff = time.Second
	mostBackoff  = 10 * time.Minute
	// trouble is how many deletions in a row must fail until it is Telnyx, and not
	// they, that something is wrong with.
	trouble = 5
	// mostPause bounds the pause after trouble with Telnyx or the books.
	mostPause = time.Minute
)

// outbox is what a Remover needs of the books.
type outbox interface {
	recorded
	ClaimDeletions(ctx context.Context, n int, hold time.Duration) ([]store.Deletion, error)
	Deleted(ctx context.Context, by store.By, id telnyx.CredentialID, detail string) error
	Postpone(ctx context.Context, id telnyx.CredentialID, until time.Time) error
	Pending(ctx context.Context) (n int64, oldest time.Time, err error)
}

type deleter interface {
	getter
	DeleteCredential(ctx context.Context, id telnyx.CredentialID) error
}

// RemoverConfig is what a Remover needs.
type RemoverConfig struct {
	Store  outbox  // required
	Telnyx deleter // required
	// CallTimeout is how long a call of Telnyx takes at most. Default
	// telnyx.DefaultTimeout.
	CallTimeout time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnDelete is told how each deletion at Telnyx went, and OnError what keeps the
	// Remover from its work. They are called from several goroutines and must neither
	// block nor panic. Default none.
	OnDelete func(took time.Duration, err error)
	OnError  func(err error)
}

// A Remover deletes at Telnyx the credentials that are nobody's any more. It never
// gives one up. Any number of them may work on the same books.
type Remover struct {
	cfg     RemoverConfig
	witness witness
	nudge   chan struct{}
}

// NewRemover says what is wrong with the configuration, or returns a Remover.
func NewRemover(cfg RemoverConfig) (*Remover, error) {
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = telnyx.DefaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnDelete == nil {
		cfg.OnDelete = func(time.Duration, error) {}
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	switch {
	case cfg.Store == nil:
		return nil, errors.New("provisioning: a Remover's Store is required")
	case cfg.Telnyx == nil:
		return nil, errors.New("provisioning: a Remover's Telnyx is required")
	case cfg.CallTimeout < 0 || cfg.CallTimeout > telnyx.MaxTimeout:
		return nil, fmt.Errorf("provisioning: a Remover's CallTimeout must be positive and at most %v", telnyx.MaxTimeout)
	}
	return &Remover{
		cfg: cfg, witness: witness{books: cfg.Store, telnyx: cfg.Telnyx, now: cfg.Now}, nudge: make(chan struct{}, 1),
	}, nil
}

// hold is for how long a deletion is ours to make. It is more than that takes, with
// the witnesses asked twice: by another deletion before this one, and by this one.
// If we die, another makes it then.
func (r *Remover) hold() time.Duration { return 3*r.cfg.CallTimeout + bookTime }

// Nudge makes Run look for deletions at once. It does not wait.
func (r *Remover) Nudge() {
	select {
	case r.nudge <- struct{}{}:
	default: // it is about to look
	}
}

// Run makes what deletions are due until ctx is done.
func (r *Remover) Run(ctx context.Context) {
	pause := removeEvery
	for ctx.Err() == nil {
		err := r.round(ctx)
		nudge := r.nudge
		if err == nil {
			pause = removeEvery
		} else if ctx.Err() == nil {
			r.cfg.OnError(err)
			pause = min(max(2*pause, asked(err)), mostPause)
			nudge = nil // whoever nudges does not know of the trouble
		}
		await(ctx, jittered(pause), nudge)
	}
}

// Work makes what deletions are due, and returns how many are left: those that
// failed, are not due yet, or are another's at the moment. The error says why it
// could not go on, and is ErrOtherAccount if Telnyx does not know what is to be
// deleted, and nothing else of the books, or ErrKeyChanged if it cannot be told.
func (r *Remover) Work(ctx context.Context) (left int, err error) {
	err = r.round(ctx)
	pending, _, failed := r.cfg.Store.Pending(ctx)
	return int(pending), errors.Join(err, failed)
}

// round makes what is due until nothing is, or until there is trouble. One looks
// first, for all: mostly there is nothing, and every replica looks every second.
func (r *Remover) round(ctx context.Context) (err error) {
	defer crash.Into(&err)
	first, err := r.claim(ctx)
	if err != nil || len(first) == 0 {
		return err
	}
	var failures atomic.Int32 // in a row
	var all errgroup.Group    // one that stops leaves the others to what they are at
	for n := range removers {
		due := first
		if n > 0 {
			due = nil
		}
		all.Go(func() (err error) {
			defer crash.Into(&err)
			return r.work(ctx, due, &failures)
		})
	}
	return all.Wait()
}

// claim makes one that is due ours to make, if there is one.
func (r *Remover) claim(ctx context.Context) ([]store.Deletion, error) {
	return r.cfg.Store.ClaimDeletions(ctx, 1, r.hold())
}

// work makes one after the other, first what is ours already.
func (r *Remover) work(ctx context.Context, due []store.Deletion, failures *atomic.Int32) (err error) {
	for ; ctx.Err() == nil; due = nil {
		if due == nil {
			due, err = r.claim(ctx)
		}
		if err != nil || len(due) == 0 {
			return err
		}
		err = r.remove(ctx, due[0])
		failed, ok := errors.AsType[*telnyx.Error](err)
		switch {
		case !ok && err != nil:
			return err
		case !ok:
			failures.Store(0)
		case isAboutOne(failed): // and says nothing of the others
		case failures.Add(1) >= trouble || failed.RetryAfter > 0:
			return err
		}
	}
	return ctx.Err()
}

// remove deletes one at Telnyx and writes down what came of it. The error is
// Telnyx's, or one of the books.
func (r *Remover) remove(ctx context.Context, d store.Deletion) error {
	began, epoch := r.cfg.Now(), r.cfg.Telnyx.Epoch()
	err := r.call(ctx, func(ctx context.Context) error { return r.cfg.Telnyx.DeleteCredential(ctx, d.ID) })
	failed, detail := err, ""
	if isGone(err) {
		failed = r.call(ctx, func(ctx context.Context) error { return r.witness.believe(ctx, epoch) })
		detail = "was gone already"
	}
	if ctx.Err() != nil && failed != nil {
		return ctx.Err() // we stop; it is made when our hold ends
	}
	if failed == nil {
		r.cfg.OnDelete(r.cfg.Now().Sub(began), nil)
		return r.cfg.Store.Deleted(ctx, store.By{Actor: "remover"}, d.ID, detail)
	}
	r.cfg.OnDelete(r.cfg.Now().Sub(began), err)
	if err := r.cfg.Store.Postpone(ctx, d.ID, r.cfg.Now().Add(r.backoff(d.Attempts, failed))); err != nil {
		return err
	}
	return failed
}

// call bounds what is asked of Telnyx.
func (r *Remover) call(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	return do(ctx)
}

// backoff is how long to wait after so many attempts at a deletion.
func (r *Remover) backoff(attempts int, err error) time.Duration {
	wait := mostBackoff
	if doublings := max(attempts-1, 0); doublings < 16 {
		wait = min(leastBackoff<<doublings, mostBackoff)
	}
	return max(jittered(wait), asked(err))
}

// isAboutOne reports whether Telnyx refuses this one deletion, for reasons of its
// own.
func isAboutOne(failed *telnyx.Error) bool {
	return errors.Is(failed.Kind, telnyx.ErrCredentialRejected) && failed.Code != ""
}
