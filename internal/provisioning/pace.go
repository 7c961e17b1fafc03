package provisioning

import (
	"context"
	"errors"
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
