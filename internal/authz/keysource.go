package authz

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// How keys are kept fresh.
const (
	minKeyLife     = 5 * time.Minute
	defaultKeyLife = 15 * time.Minute // when the issuer does not say
	maxKeyLife     = 24 * time.Hour

	// A key that we have not seen makes us ask again, but whoever invents key
	// names must not make us flood the issuer.
	refetchCooldown = 30 * time.Second

	fetchTimeout  = 10 * time.Second
	firstRetry    = time.Second
	maxFetchRetry = time.Minute
)

// errNotFetched says that no fetch has succeeded and none is under way.
var errNotFetched = errors.New("not fetched yet")

// keySource holds one issuer's keys. Verification reads the current set without
// a lock; a fetch replaces it whole, and a failed fetch leaves the last good one
// in place. Fetches never overlap, and a bad signature never causes one.
type keySource struct {
	issuer  Issuer
	client  *http.Client
	now     func() time.Time
	onFetch func(issuer string, err error)

	current atomic.Pointer[keySet]

	mu          sync.Mutex
	flight      *flight   // the fetch under way, if any
	lastErr     error     // how the last fetch ended
	lastRefetch time.Time // when an unknown key last caused one
}

// flight is a fetch that any number of callers wait for.
type flight struct {
	done chan struct{} // closed when life and err are set
	life time.Duration
	err  error
}

func newKeySource(i Issuer, cfg Config) *keySource {
	s := &keySource{
		issuer:  i,
		client:  &http.Client{Transport: cfg.Transport, CheckRedirect: sameHostOnly},
		now:     cfg.Now,
		onFetch: cfg.OnFetch,
		lastErr: errNotFetched,
	}
	if s.onFetch == nil {
		s.onFetch = func(string, error) {}
	}
	return s
}

// run fetches the keys, and fetches them again before they are too old, until
// ctx is done. While the issuer does not answer it tries ever more slowly.
func (s *keySource) run(ctx context.Context) {
	retry := firstRetry
	for {
		f := s.begin(ctx)
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

// await waits for the fetch under way, and returns how it or the last one ended.
func (s *keySource) await(ctx context.Context) error {
	s.mu.Lock()
	f, last := s.flight, s.lastErr
	s.mu.Unlock()
	if f == nil {
		return last
	}
	_, err := f.wait(ctx)
	return err
}

// refetch asks the issuer for keys again, unless that was done a moment ago, and
// returns how the last fetch ended.
func (s *keySource) refetch(ctx context.Context) error {
	s.mu.Lock()
	now := s.now()
	if s.flight == nil && now.Sub(s.lastRefetch) < refetchCooldown {
		defer s.mu.Unlock()
		return s.lastErr
	}
	if s.flight == nil {
		s.lastRefetch = now
	}
	f := s.beginLocked(ctx)
	s.mu.Unlock()
	_, err := f.wait(ctx)
	return err
}

func (s *keySource) begin(ctx context.Context) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beginLocked(ctx)
}

// beginLocked returns the fetch under way, or starts one. It does not end with
// the caller that started it: others wait for it too.
func (s *keySource) beginLocked(ctx context.Context) *flight {
	if s.flight != nil {
		return s.flight
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	go func() {
		defer cancel()
		var set *keySet
		set, f.life, f.err = s.fetch(ctx)
		s.land(f, set)
	}()
	return f
}

func (s *keySource) land(f *flight, set *keySet) {
	if f.err == nil {
		s.current.Store(set)
	} else {
		f.err = fmt.Errorf("fetching keys of issuer %q: %w", s.issuer.Name, f.err)
	}
	s.mu.Lock()
	s.flight, s.lastErr = nil, f.err
	s.mu.Unlock()
	s.onFetch(s.issuer.Name, f.err)
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
