package handler

import (
	"context"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// maxShares bounds how many users' rates are remembered.
const maxShares = 100_000

// sharedRate takes one of what a key may have of a kind of rate, for all replicas,
// or says how long to wait for it. ok is false when that cannot be told now.
type sharedRate = func(ctx context.Context, kind, key string, perMinute, burst int) (wait time.Duration, ok bool)

// shares keeps each user to a rate, so that one runaway phone does not use up
// what Telnyx allows all of us.
type shares struct {
	perMinute, burst int
	users            *otter.Cache[string, *rate.Limiter]
	shared           sharedRate // or nil
}

func newShares(cfg Config) (*shares, error) {
	perMinute, burst := cfg.UserPerMinute, cfg.UserBurst
	if perMinute < 1 || burst < 1 {
		return nil, fmt.Errorf("handler: a user's rate and burst must be positive")
	}
	// Whoever has not come for as long as a burst takes to fill up again is the
	// same as new.
	refill := time.Duration(float64(burst)/float64(perMinute)*60) * time.Second
	users, err := otter.New(&otter.Options[string, *rate.Limiter]{
		MaximumSize:      maxShares,
		ExpiryCalculator: otter.ExpiryAccessing[string, *rate.Limiter](refill + time.Minute),
	})
	if err != nil {
		return nil, fmt.Errorf("handler: users' rates: %w", err)
	}
	return &shares{perMinute, burst, users, cfg.SharedRate}, nil
}

// take takes one of the user's share, or says when there will be one again. What
// is taken of the share of all replicas is taken of this one's too, which is what counts
// when the former cannot be told.
func (s *shares) take(ctx context.Context, user string, now time.Time) error {
	wait, told := time.Duration(0), false
	if s.shared != nil {
		wait, told = s.shared(ctx, "user", user, s.perMinute, s.burst)
	}
	if wait <= 0 {
		own := s.takeOwn(user, now)
		if !told {
			wait = own
		}
	}
	if wait > 0 {
		return &requestError{outcome: RateLimited, retry: wait}
	}
	return nil
}

// takeOwn takes one of what this replica gives the user, or returns how long to wait
// for it.
func (s *shares) takeOwn(user string, now time.Time) (wait time.Duration) {
	limiter, ok := s.users.GetIfPresent(user)
	if !ok {
		limiter, _ = s.users.SetIfAbsent(user, rate.NewLimiter(rate.Limit(float64(s.perMinute)/60), s.burst))
	}
	share := limiter.ReserveN(now, 1)
	wait = share.DelayFrom(now)
	if wait > 0 {
		share.CancelAt(now)
	}
	return wait
}
