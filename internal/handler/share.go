package handler

import (
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// maxShares bounds how many users' rates are remembered.
const maxShares = 100_000

// shares keeps each user to a rate, so that one runaway phone does not use up
// what Telnyx allows all of us.
type shares struct {
	limit rate.Limit
	burst int
	users *otter.Cache[string, *rate.Limiter]
}

func newShares(perMinute, burst int) (*shares, error) {
	if perMinute < 1 || burst < 1 {
		return nil, fmt.Errorf("handler: a user's rate and burst must be positive")
	}
	limit := rate.Limit(float64(perMinute) / 60)
	// Whoever has not come for as long as a burst takes to fill up again is the
	// same as new.
	refill := time.Duration(float64(burst)/float64(limit)) * time.Second
	users, err := otter.New(&otter.Options[string, *rate.Limiter]{
		MaximumSize:      maxShares,
		ExpiryCalculator: otter.ExpiryAccessing[string, *rate.Limiter](refill + time.Minute),
	})
	if err != nil {
		return nil, fmt.Errorf("handler: users' rates: %w", err)
	}
	return &shares{limit, burst, users}, nil
}

// take takes one of the user's share, or says when there will be one again.
func (s *shares) take(user string, now time.Time) error {
	limiter, ok := s.users.GetIfPresent(user)
	if !ok {
		limiter, _ = s.users.SetIfAbsent(user, rate.NewLimiter(s.limit, s.burst))
	}
	share := limiter.ReserveN(now, 1)
	wait := share.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	share.CancelAt(now)
	return &requestError{outcome: RateLimited, retry: wait}
}
