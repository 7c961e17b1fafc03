package provisioning

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// DefaultRate is how many calls a second what is not urgent makes of Telnyx, so
	// that logins have the rest of what Telnyx allows.
	DefaultRate = 5.0
	// patience is how often a call is tried while Telnyx is away. One that is only
	// limited is tried for ever.
	patience = 5
)

// A pace makes calls of Telnyx that are not urgent.
type pace struct{ limiter *rate.Limiter }

func newPace(perSecond float64) pace { return pace{rate.NewLimiter(rate.Limit(perSecond), 1)} }

// call makes a call when it is its turn, and again where that may help. The error is
// the call's, or the context's.
func (p pace) call(ctx context.Context, do func(ctx context.Context) error) error {
	for try := 1; ; {
		if err := p.limiter.Wait(ctx); err != nil {
			return err
		}
		err := do(ctx)
		limited := errors.Is(err, telnyx.ErrLimited)
		away := errors.Is(err, telnyx.ErrUnavailable) || errors.Is(err, telnyx.ErrTimeout)
		if !limited && (!away || try >= patience) {
			return err
		}
		if away {
			try++
		}
		if err := sleep(ctx, max(asked(err), jittered(leastBackoff<<(try-1)))); err != nil {
			return err
		}
	}
}

// asked is how long Telnyx asks to wait, by an error of its.
func asked(err error) time.Duration {
	if failed, ok := errors.AsType[*telnyx.Error](err); ok {
		return failed.RetryAfter
	}
	return 0
}

// sleep returns nil after d, or the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits for d, a nudge or the end.
func await(ctx context.Context, d time.Duration, nudge <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-nudge:
	case <-ctx.Done():
	}
}

// jittered is d or up to a quarter less, so that those that failed together do not
// come again together.
func jittered(d time.Duration) time.Duration {
	return d - rand.N(d/4+1) //nolint:gosec // spreads load, guards nothing
}
