package provisioning

import (
	"context"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// leaseHold is for how long a lease is ours, and another does our work at the
// latest after we died.
const leaseHold = 2 * time.Minute

// leases is what the books say about who does what for all replicas.
type leases interface {
	TryLease(ctx context.Context, name, holder string, hold time.Duration) (bool, error)
	ReleaseLease(ctx context.Context, name, holder string) error
}

// alone does the work if nobody else is at it, and no longer than that is certain.
// The error is store.ErrHeld if somebody is, what the books say if they do not
// answer, or the work's.
func alone(ctx context.Context, l leases, name, holder string, work func(ctx context.Context) error) error {
	if err := try(ctx, l, name, holder); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { cancel(keep(ctx, l, name, holder)) })
	err := work(ctx)
	if lost := context.Cause(ctx); lost != nil && err != nil {
		err = lost
	}
	cancel(nil)
	keeping.Wait()
	_ = l.ReleaseLease(context.WithoutCancel(ctx), name, holder) // or it ends by itself
	return err
}

func try(ctx context.Context, l leases, name, holder string) error {
	got, err := l.TryLease(ctx, name, holder, leaseHold)
	if err == nil && !got {
		err = store.ErrHeld
	}
	return err
}

// keep keeps the lease until ctx is done, or returns why it is lost.
func keep(ctx context.Context, l leases, name, holder string) (err error) {
	defer crash.Into(&err)
	tick := time.NewTicker(leaseHold / 4)
	defer tick.Stop()
	for failures := 0; failures < 2; { // about half of the hold is left then
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		switch got, failed := l.TryLease(ctx, name, holder, leaseHold); {
		case failed != nil:
			failures, err = failures+1, failed
		case !got:
			return store.ErrHeld
		default:
			failures = 0
		}
	}
	return err
}
