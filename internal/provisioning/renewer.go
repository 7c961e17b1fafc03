package provisioning

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// A credential is renewed when one renewAhead-th of its life is left.
	renewAhead = 5
	// renewEvery is how often to look for credentials to renew. There are at least
	// MinExpiresAfter/renewAhead for each.
	renewEvery = time.Minute
	// renewBatch is how many are renewed in one go.
	renewBatch = 250
)

// expiries is what a Renewer needs of the books.
type expiries interface {
	leases
	recorded
	Expiring(ctx context.Context, before time.Time, limit int) ([]store.Credential, error)
	Renewed(ctx context.Context, by store.By, id telnyx.CredentialID, expires time.Time) error
	Retire(ctx context.Context, by store.By, id telnyx.CredentialID, detail string, gone bool) error
}

type updater interface {
	getter
	UpdateCredential(ctx context.Context, id telnyx.CredentialID, expires time.Time) (telnyx.Credential, error)
}

// RenewerConfig is what a Renewer needs.
type RenewerConfig struct {
	Store  expiries // required
	Telnyx updater  // required
	// ExpiresAfter is the life of credentials, at least MinExpiresAfter. Required.
	ExpiresAfter time.Duration
	// Holder names this process among all that share the books. Required.
	Holder string
	// Rate is how many calls of Telnyx are made a second. Default DefaultRate.
	Rate float64
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnRenew is told how each renewal went, and OnError what keeps the Renewer from
	// its work. They must neither block nor panic. Default none.
	OnRenew func(took time.Duration, err error)
	OnError func(err error)
}

// A Renewer makes the credentials that we created expire later while they are
// somebody's. One replica at a time does.
type Renewer struct {
	cfg     RenewerConfig
	pace    pace
	witness witness
}

// NewRenewer says what is wrong with the configuration, or returns a Renewer.
func NewRenewer(cfg RenewerConfig) (*Renewer, error) {
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnRenew == nil {
		cfg.OnRenew = func(time.Duration, error) {}
	}
	if cfg.OnError == nil {
		cfg.OnError = func(error) {}
	}
	switch {
	case cfg.Store == nil:
		return nil, errors.New("provisioning: a Renewer's Store is required")
	case cfg.Telnyx == nil:
		return nil, errors.New("provisioning: a Renewer's Telnyx is required")
	case cfg.ExpiresAfter < MinExpiresAfter:
		return nil, fmt.Errorf("provisioning: a Renewer's ExpiresAfter must be at least %v", MinExpiresAfter)
	case cfg.Holder == "":
		return nil, errors.New("provisioning: a Renewer's Holder is required")
	case cfg.Rate < 0:
		return nil, errors.New("provisioning: a Renewer's Rate must be positive")
	}
	return &Renewer{
		cfg: cfg, pace: newPace(cfg.Rate), witness: witness{books: cfg.Store, telnyx: cfg.Telnyx, now: cfg.Now},
	}, nil
}

// Run renews what is due until ctx is done.
func (r *Renewer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.Work(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrHeld) {
			r.cfg.OnError(err)
		}
		await(ctx, max(jittered(renewEvery), asked(err)), nil)
	}
}

// Work renews what is due. The error is store.ErrHeld if another replica is at it,
// ErrOtherAccount if Telnyx knows nothing of the books, or says why it could not go on,
// such as ErrKeyChanged.
func (r *Renewer) Work(ctx context.Context) (err error) {
	defer crash.Into(&err)
	return alone(ctx, r.cfg.Store, "renew", r.cfg.Holder, func(ctx context.Context) error {
		for {
			due, err := r.cfg.Store.Expiring(ctx, r.cfg.Now().Add(r.cfg.ExpiresAfter/renewAhead), renewBatch)
			if err != nil {
				return err
			}
			done, err := r.renewAll(ctx, due)
			if err != nil || done == 0 || len(due) < renewBatch {
				return err
			}
		}
	})
}

// renewAll returns how many are not due any more. One that fails for itself is left
// for the next time; ErrOtherAccount is told when all have had their turn.
func (r *Renewer) renewAll(ctx context.Context, due []store.Credential) (done int, doubt error) {
	for _, c := range due {
		began := r.cfg.Now()
		err := r.renew(ctx, c)
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
		r.cfg.OnRenew(r.cfg.Now().Sub(began), err)
		switch {
		case err == nil:
			done++
		case errors.Is(err, ErrOtherAccount):
			doubt = err
		case !errors.Is(err, telnyx.ErrCredentialRejected) && !errors.Is(err, telnyx.ErrBadAnswer):
			return done, err // it would be no better with the others
		}
	}
	return done, doubt
}

var byRenewer = store.By{Actor: "renewer"}

// renew makes one expire later, or takes it out of the books if that is too late.
func (r *Renewer) renew(ctx context.Context, c store.Credential) error {
	until := r.cfg.Now().Add(r.cfg.ExpiresAfter)
	var got telnyx.Credential
	err := r.pace.call(ctx, func(ctx context.Context) (err error) {
		got, err = r.cfg.Telnyx.UpdateCredential(ctx, c.ID, until)
		return err
	})
	switch {
	case errors.Is(err, telnyx.ErrCredentialRejected):
		return r.rejected(ctx, c, err)
	case err != nil:
		return err
	case !got.ExpiresAt.IsZero() && got.ExpiresAt.Before(until.Add(-r.cfg.ExpiresAfter/renewAhead)):
		return fmt.Errorf("%w: it expires at another time than was asked for", telnyx.ErrBadAnswer)
	case !got.ExpiresAt.IsZero():
		until = got.ExpiresAt
	}
	return ifThere(r.cfg.Store.Renewed(ctx, byRenewer, c.ID, until))
}

// rejected finds out why Telnyx does not renew one: it does not know it, it has
// expired, or neither.
func (r *Renewer) rejected(ctx context.Context, c store.Credential, why error) error {
	epoch := r.cfg.Telnyx.Epoch()
	var got telnyx.Credential
	err := r.pace.call(ctx, func(ctx context.Context) (err error) {
		got, err = r.cfg.Telnyx.Credential(ctx, c.ID)
		return err
	})
	switch {
	case isGone(err):
		if err := r.witness.believe(ctx, epoch); err != nil {
			return err
		}
		return ifThere(r.cfg.Store.Retire(ctx, byRenewer, c.ID, detailGone, true))
	case err != nil:
		return err
	case got.Expired:
		return ifThere(r.cfg.Store.Retire(ctx, byRenewer, c.ID, detailExpired, false))
	}
	return why
}

const (
	detailGone    = "is not at Telnyx any more"
	detailExpired = "has expired at Telnyx"
)

// ifThere is an error of the books, unless somebody has taken the credential out of
// them meanwhile.
func ifThere(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
