package telnyx

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// gate says when an attempt may be made, and is told how each ended: whoever
// implements it sees the whole traffic, and keeps to what Telnyx allows.
type gate interface {
	// Enter waits for leave to make one attempt of a call about that credential,
	// zero for list and create. Its error is one made by Withheld, or the context's.
	Enter(ctx context.Context, about CredentialID) error
	// Leave is told how an attempt ended that Enter let in: exactly once for each.
	Leave(Attempt)
}

// Attempt is what one attempt shows of how Telnyx is.
type Attempt struct {
	About CredentialID // zero for list and create
	// Kind is nil for a success, and else as Error.Kind. context.Canceled says
	// nothing of Telnyx.
	Kind       error
	RetryAfter time.Duration // as Error.RetryAfter
	Status     int           // of the answer; 0 if there was none

	// What the x-ratelimit headers say. Limit is how many requests a window
	// allows, and 0 when the answer does not say; without it the others are 0 too.
	// Remaining lies between 0 and Limit. Reset is until the window ends, in whole
	// seconds rounded up, at most MaxRetryAfter; 0 when the answer does not say.
	Limit, Remaining int
	Reset            time.Duration
}

// MaxLimit is the largest x-ratelimit-limit that is believed.
const MaxLimit = 10_000_000

// Withheld is the error of an attempt that was not made: kind is ErrLimited,
// ErrUnavailable or ErrTimeout, retryAfter is when it would be made, and why is a
// constant that holds nothing from the wire. Such an attempt is not repeated.
func Withheld(kind error, retryAfter time.Duration, why error) *Error {
	return &Error{Kind: kind, RetryAfter: min(max(retryAfter, 0), MaxRetryAfter), cause: why, withheld: true}
}

// open is the gate of a client that was given none.
type open struct{}

func (open) Enter(context.Context, CredentialID) error { return nil }
func (open) Leave(Attempt)                             {}

// gated makes one attempt once the gate lets it, and returns the key that it was
// made with: the one to try after those, as of now and not of before the wait. It is
// "" if none was made.
func (c *Client) gated(ctx context.Context, k call, tried []string) (key string, failed *Error) {
	if err := c.gate.Enter(ctx, k.credential); err != nil {
		return "", notMade(ctx, err)
	}
	// A panic in between says nothing of Telnyx, and must not cost the gate a place.
	shown := Attempt{About: k.credential, Kind: context.Canceled}
	defer func() { c.gate.Leave(shown) }()
	with, ok := c.keys.next(tried)
	if !ok {
		return "", &Error{Kind: ErrKeyRejected, cause: errNoKey}
	}
	ctx, ended := c.tracer.Attempt(ctx, k.op, k.made+len(tried)+1)
	defer func() { ended(shown) }()
	failed = c.attempt(ctx, k, with.key, &shown)
	c.keys.learn(with, failed)
	shown.Kind = nil
	if failed != nil {
		shown.Kind, shown.RetryAfter = failed.Kind, failed.RetryAfter
	}
	return with.key, failed
}

// notMade is the error of an attempt that the gate did not let in. It is the
// call's own copy, because the gate may hand one error to many.
func notMade(ctx context.Context, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		own := *e
		return &own
	}
	e := interrupted(ctx)
	if e == nil { // the gate's fault: it may only end by the context, or say why
		e = &Error{Kind: ErrUnavailable}
	}
	e.withheld = true
	return e
}

// readLimits takes down what an answer's headers say of the rate limit. What is no
// plain number of a sensible size was not said: an x-ratelimit-reset that is a
// date in seconds since 1970, say, must not become a window of five minutes.
func (a *Attempt) readLimits(h http.Header) {
	limit, ok := smallNumber(h.Get("X-Ratelimit-Limit"), MaxLimit)
	if !ok || limit == 0 {
		return
	}
	a.Limit, a.Remaining = limit, limit
	if remaining, ok := smallNumber(h.Get("X-Ratelimit-Remaining"), MaxLimit); ok {
		a.Remaining = min(remaining, limit)
	}
	if reset, ok := smallNumber(h.Get("X-Ratelimit-Reset"), int(MaxRetryAfter/time.Second)); ok {
		a.Reset = time.Duration(reset) * time.Second
	}
}

// smallNumber reads digits that are a number of at most most.
func smallNumber(text string, most int) (int, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil || n > uint64(most) { //nolint:gosec // most is a positive constant
		return 0, false
	}
	return int(n), true
}
