package telnyx

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How a call is repeated.
const (
	maxAttempts = 3
	backoffBase = 100 * time.Millisecond
	backoffCap  = 2 * time.Second
	// MaxRetryAfter caps what Telnyx may ask us to wait, so that one header
	// cannot silence the service for hours.
	MaxRetryAfter = 5 * time.Minute

	budgetMax  = 10.0
	budgetEarn = 0.1
)

// again decides whether a call that has failed so many times is to be repeated, and
// if so waits. If not, or if the context is done during the wait, err is what the
// call returns.
func (c *Client) again(ctx context.Context, k call, attempt int, err *Error) bool {
	if err.withheld || attempt >= maxAttempts || !k.mayRepeat(err) {
		return false
	}
	wait := backoff(attempt) + err.RetryAfter
	deadline, _ := ctx.Deadline() // do always sets one
	if time.Until(deadline) <= wait || !c.budget.spend() {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		stopped := interrupted(ctx)
		err.Kind, err.cause = stopped.Kind, stopped.cause
		return false
	}
}

// mayRepeat reports whether repeating is safe and can help. A create, which
// Telnyx has no idempotency key for, is repeated only when it certainly was
// not done: refused by the rate limit, or never sent.
func (k call) mayRepeat(err *Error) bool {
	switch {
	case errors.Is(err, ErrLimited):
		return true
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrTimeout):
		return k.repeatable || !err.Uncertain
	}
	return false
}

// backoff is a random wait ("full jitter") below a bound that doubles with
// each attempt, so that callers who failed together do not return together.
func backoff(attempt int) time.Duration {
	return rand.N(min(backoffCap, backoffBase<<(attempt-1))) //nolint:gosec // spreads load, guards nothing
}

// retryAfter reads how long an answer asks to wait: Retry-After in seconds or
// as a date; for a 429 without it x-ratelimit-reset, in seconds, which is what
// Telnyx documents. Between 0, for none, and MaxRetryAfter.
func retryAfter(status int, h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" && status == http.StatusTooManyRequests {
		text = h.Get("X-Ratelimit-Reset")
	}
	return parseWait(text, now)
}

func parseWait(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(MaxRetryAfter/time.Second))) * time.Second
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), MaxRetryAfter)
}

// A budget bounds the retries of all calls together. Each costs one, each
// success earns a tenth back: in an outage, when nothing succeeds, we add
// ten requests to those that are asked of us, and then none.
type budget struct {
	mu   sync.Mutex
	left float64
}

func newBudget() *budget { return &budget{left: budgetMax} }

func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+budgetEarn, budgetMax)
}

// spend takes one retry from the budget and reports whether there was one.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
