package provisioning

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// What speaks against applying what a reconciliation has found. Whoever is certain
// may use Force.
var (
	// ErrTooManyGone says that more than 10, and more than a tenth, of the books'
	// credentials are not in the account. Nothing has been changed.
	ErrTooManyGone = errors.New("a large part of the directory is not in this account: is the API key that account's?")
	// ErrTooManyOrphans says that there are more than 10 orphans, and more than a
	// tenth of the number of credentials in the books. Nothing has been changed.
	ErrTooManyOrphans = errors.New("many credentials of this instance are not in the directory: is it the right directory, and does no other service have the same instance?")
)

const (
	// DefaultGrace is the age up to which a credential is left alone that is in no
	// books: it may be about to be written down.
	DefaultGrace = 15 * time.Minute
	// few is a number of credentials that does not count as many.
	few = 10
)

// ledger is what a Reconciler needs of the books.
type ledger interface {
	leases
	See(ctx context.Context, run int64, ids []telnyx.CredentialID) (map[telnyx.CredentialID]store.Known, error)
	Unseen(ctx context.Context, run int64, recordedBefore time.Time, after telnyx.CredentialID, limit int) ([]store.Credential, error)
	Counts(ctx context.Context) (store.Counts, error)
	Credential(ctx context.Context, id telnyx.CredentialID) (store.Credential, error)
	Intents(ctx context.Context, names []string) (map[string]store.Intent, error)
	Record(ctx context.Context, by store.By, i store.Intent, m store.Made, l store.Limits) (store.Credential, error)
	QueueDeletion(ctx context.Context, by store.By, id telnyx.CredentialID, detail string) error
	Retire(ctx context.Context, by store.By, id telnyx.CredentialID, detail string, gone bool) error
}

// account is what there is at Telnyx.
type account interface {
	epochs
	Credentials(ctx context.Context, q telnyx.Query) (telnyx.Page, error)
	Credential(ctx context.Context, id telnyx.CredentialID) (telnyx.Credential, error)
}

// worker makes deletions.
type worker interface {
	Work(ctx context.Context) (left int, err error)
}

// ReconcilerConfig is what a Reconciler needs.
type ReconcilerConfig struct {
	Store  ledger  // required
	Telnyx account // required
	// Remover makes the deletions that a reconciliation leads to. Required.
	Remover worker
	// Instance and ConnectionID are a Finder's. Without an Instance there are no
	// orphans, and without a ConnectionID none is adopted.
	Instance     string
	ConnectionID string
	// MaxDevices is a Finder's.
	MaxDevices int
	// Holder names this process among all that share the books. Required.
	Holder string
	// Rate is how many calls of Telnyx are made a second. Default DefaultRate.
	Rate float64
	// Grace is the age up to which an orphan is left alone. Default DefaultGrace.
	Grace time.Duration
	// By is who has things changed. Default the reconciler.
	By store.By
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A Reconciler compares the books with the account. Credentials in it that we have
// not made are none of its business unless they are in the books.
type Reconciler struct {
	cfg     ReconcilerConfig
	pace    pace
	running sync.Mutex
}

// NewReconciler says what is wrong with the configuration, or returns a
// Reconciler.
func NewReconciler(cfg ReconcilerConfig) (*Reconciler, error) {
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.By == (store.By{}) {
		cfg.By.Actor = "reconciler"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.Store == nil || cfg.Telnyx == nil || cfg.Remover == nil:
		return nil, errors.New("provisioning: a Reconciler's Store, Telnyx and Remover are required")
	case cfg.Instance != "" && CheckInstance(cfg.Instance) != nil:
		return nil, fmt.Errorf("provisioning: a Reconciler's Instance: %w", CheckInstance(cfg.Instance))
	case cfg.Holder == "":
		return nil, errors.New("provisioning: a Reconciler's Holder is required")
	case cfg.Rate < 0 || cfg.Grace < 0 || cfg.MaxDevices < 0:
		return nil, errors.New("provisioning: a Reconciler's Rate, Grace and MaxDevices must be positive")
	}
	return &Reconciler{cfg: cfg, pace: newPace(cfg.Rate)}, nil
}

// Options says what a reconciliation is to do. The zero value only looks.
type Options struct {
	// Apply mends what is found: orphans are given to whom they were made for, or
	// deleted; what has expired is deleted; what is gone is taken out of the books.
	Apply bool
	// Force applies it also when there is reason to think that the account and the
	// books do not belong together.
	Force bool
	// Progress is told, every now and then, of how many of the account's
	// credentials have been looked at. Default none.
	Progress func(done, total int)
}

// Run compares the books with the whole account, page by page: it never holds more
// than one. The Report is of use with an error, too. Errors: store.ErrHeld, if
// another is at it; ErrTooManyGone; ErrTooManyOrphans; ErrKeyChanged, before anything
// is concluded from what another API key sees; what the books, Telnyx or the context
// say.
func (r *Reconciler) Run(ctx context.Context, o Options) (report Report, err error) {
	defer crash.Into(&err)
	if !r.running.TryLock() { // the lease does not tell us from ourselves
		return report, store.ErrHeld
	}
	defer r.running.Unlock()
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	began := r.cfg.Now()
	pass := &pass{Reconciler: r, o: o, began: began, run: began.UnixMilli(), epoch: r.cfg.Telnyx.Epoch(), report: &report}
	err = alone(ctx, r.cfg.Store, "reconcile", r.cfg.Holder, pass.reconcile)
	return report, err
}

// Schedule runs a reconciliation every so often, until ctx is done: one for all
// replicas together. One that fails is tried again, by anyone, after a tenth of the
// time. done is told how each went, and of what keeps it from being begun.
func (r *Reconciler) Schedule(ctx context.Context, every time.Duration, o Options, done func(Report, error)) {
	for ctx.Err() == nil {
		wait := min(every/10, mostPause)
		ours, err := r.turn(ctx, every)
		switch {
		case err != nil && ctx.Err() == nil:
			done(Report{}, fmt.Errorf("finding out whose turn it is: %w", err))
		case ours:
			wait = r.scheduled(ctx, every, o, done)
		}
		await(ctx, max(wait, time.Second), nil)
	}
}

// scheduled runs the reconciliation whose turn it is, and returns when the next is
// due.
func (r *Reconciler) scheduled(ctx context.Context, every time.Duration, o Options, done func(Report, error)) time.Duration {
	report, err := r.Run(ctx, o)
	done(report, err)
	if err == nil {
		return every
	}
	_, _ = r.turn(context.WithoutCancel(ctx), every/10) // or it ends later
	return every / 10
}

// turn takes the lease for being the one who has reconciled, or is about to.
func (r *Reconciler) turn(ctx context.Context, hold time.Duration) (ours bool, err error) {
	return r.cfg.Store.TryLease(ctx, "reconcile turn", r.cfg.Holder, hold)
}
