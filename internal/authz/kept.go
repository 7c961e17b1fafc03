package authz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
)

// What callers are told, who cannot be served by waiting.
var (
	errNotFetched  = errors.New("not fetched yet") // no fetch has succeeded and none is under way
	errAskedLately = errors.New("asked a moment ago")
	errCrowded     = errors.New("too many callers wait already")
)

// How what an issuer publishes is kept fresh.
const (
	// What we have not seen makes us ask again, but whoever invents things to
	// see must not make us flood the issuer.
	refetchCooldown = 30 * time.Second

	fetchTimeout  = 10 * time.Second
	firstRetry    = time.Second
	maxFetchRetry = time.Minute
)

// kept is the last good version of something that an issuer publishes. Whoever
// needs it reads the current one without a lock; a fetch replaces it whole, and
// a failed fetch leaves the last good one in place. Fetches never overlap.
type kept[T any] struct {
	what    string // what is fetched, for errors
	fetch   func(ctx context.Context) (next *T, life time.Duration, err error)
	now     func() time.Time
	onFetch func(err error)

	current atomic.Pointer[T]
	callers crowd // who wait for a fetch

	mu          sync.Mutex
	flight      *flight   // the fetch under way, if any
	lastErr     error     // how the last fetch ended
	lastGood    time.Time // when the last one began that succeeded
	lastRefetch time.Time // when one was last made on demand
}

// flight is a fetch that any number of callers wait for.
type flight struct {
	began time.Time
	done  chan struct{} // closed when life and err are set
	life  time.Duration
	err   error
}

// newKept returns what an issuer's things of a kind are kept in, empty.
func newKept[T any](cfg Config, issuer, what string, fetch func(context.Context) (*T, time.Duration, error)) *kept[T] {
	k := &kept[T]{
		what:    fmt.Sprintf("%s of issuer %q", what, issuer),
		fetch:   fetch,
		now:     cfg.Now,
		onFetch: func(error) {},
		callers: crowd{limit: int64(cfg.Waiting)},
		lastErr: errNotFetched,
	}
	if cfg.OnFetch != nil {
		k.onFetch = func(err error) { cfg.OnFetch(issuer, err) }
	}
	return k
}

// run fetches, and fetches again before what there is is too old, until ctx is
// done. While the issuer does not answer it tries ever more slowly.
func (k *kept[T]) run(ctx context.Context) {
	retry := firstRetry
	for {
		f := k.begin(ctx)
		wait := jitter(retry)
		if life, err := f.wait(ctx); err == nil {
			wait, retry = jitter(life), firstRetry
		} else {
			retry = min(2*retry, maxFetchRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// jitter returns between 80 and 100 % of d, so that replicas that started
// together do not ask together.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(int64(d)/5+1)) //nolint:gosec // spreads load, guards nothing
}

// get returns the current version, waiting for the fetch under way if there is
// none yet.
func (k *kept[T]) get(ctx context.Context) (*T, error) {
	if current := k.current.Load(); current != nil {
		return current, nil
	}
	if err := k.await(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, err)
	}
	return k.current.Load(), nil
}

// await waits for the fetch under way, and returns how it or the last one ended.
func (k *kept[T]) await(ctx context.Context) error {
	k.mu.Lock()
	f, last := k.flight, k.lastErr
	k.mu.Unlock()
	if f == nil {
		return last
	}
	return k.queue(ctx, f)
}

// queue waits for a fetch on behalf of a caller.
func (k *kept[T]) queue(ctx context.Context, f *flight) error {
	if !k.callers.enter() {
		return errCrowded
	}
	defer k.callers.leave()
	_, err := f.wait(ctx)
	return err
}

// fetched is when the last fetch began that succeeded; zero if none did.
func (k *kept[T]) fetched() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lastGood
}

// fetchedSince reports whether what there is was fetched after that moment.
func (k *kept[T]) fetchedSince(moment time.Time) bool { return k.fetched().After(moment) }

// refetch asks the issuer again and returns how that ended. If it was asked a
// moment ago it is left alone: the error is errAskedLately then, or why there was
// no answer.
func (k *kept[T]) refetch(ctx context.Context) error {
	k.mu.Lock()
	now := k.now()
	if k.flight == nil && now.Sub(k.lastRefetch) < refetchCooldown {
		defer k.mu.Unlock()
		return cmp.Or(k.lastErr, errAskedLately)
	}
	if k.flight == nil {
		k.lastRefetch = now
	}
	f := k.beginLocked(ctx)
	k.mu.Unlock()
	return k.queue(ctx, f)
}

func (k *kept[T]) begin(ctx context.Context) *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.beginLocked(ctx)
}

// beginLocked returns the fetch under way, or starts one. It does not end with
// the caller that started it: others wait for it too.
func (k *kept[T]) beginLocked(ctx context.Context) *flight {
	if k.flight != nil {
		return k.flight
	}
	f := &flight{began: k.now(), done: make(chan struct{})}
	k.flight = f
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	go func() {
		defer cancel()
		k.land(f, k.fetchInto(ctx, f))
	}()
	return f
}

func (k *kept[T]) fetchInto(ctx context.Context, f *flight) (next *T) {
	defer crash.Into(&f.err)
	next, f.life, f.err = k.fetch(ctx)
	return next
}

func (k *kept[T]) land(f *flight, next *T) {
	if f.err == nil {
		k.current.Store(next)
	} else {
		f.err = fmt.Errorf("fetching %s: %w", k.what, f.err)
	}
	k.mu.Lock()
	k.flight, k.lastErr = nil, f.err
	if f.err == nil {
		k.lastGood = f.began
	}
	k.mu.Unlock()
	k.onFetch(f.err)
	close(f.done)
}

func (f *flight) wait(ctx context.Context) (time.Duration, error) {
	select {
	case <-f.done:
		return f.life, f.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
