package pacing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// upstream is a Telnyx of the bubble's clock: what it makes of an attempt, without
// the wire. Its windows are fixed, and begin at offset.
type upstream struct {
	limit   int // 0: none
	window  time.Duration
	offset  time.Duration
	latency time.Duration
	jitter  time.Duration // as much again, at most, before it counts
	stall   bool          // whatever comes in the last 240 ms of 1.3 s is held up until these are over
	silent  bool          // it does not tell of its limit
	down    error         // the kind of every answer, if not nil
	bad     map[telnyx.CredentialID]error
	retry   time.Duration // Retry-After of a 429, if not zero

	mu      sync.Mutex
	begun   time.Time
	number  int64 // of the window that runs
	used    int
	most    int // calls in one window, ever
	calls   int
	limited int
	seconds map[int64]int
}

func newUpstream(u *upstream) *upstream {
	u.begun, u.number, u.seconds = time.Now(), -1, map[int64]int{}
	return u
}

// attempt is what one shows, after the time that it takes.
func (u *upstream) attempt(about telnyx.CredentialID) telnyx.Attempt {
	if u.jitter > 0 {
		sleep(rand.N(u.jitter))
	}
	const stalls = 1300 * time.Millisecond
	if within := time.Since(u.begun) % stalls; u.stall && within > stalls-240*time.Millisecond {
		sleep(stalls - within)
	}
	a, takes := u.count(about)
	sleep(takes)
	return a
}

func (u *upstream) count(about telnyx.CredentialID) (a telnyx.Attempt, takes time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a = telnyx.Attempt{About: about, Kind: u.down}
	since := time.Since(u.begun)
	u.calls++
	u.seconds[int64(since/time.Second)]++
	if a.Kind == nil {
		a.Kind = u.bad[about]
	}
	if u.limit == 0 || u.down != nil {
		return a, u.latency
	}
	if number := int64((since + u.offset) / u.window); number != u.number {
		u.number, u.used = number, 0
	}
	u.used++
	u.most = max(u.most, u.used)
	left := u.window - (since+u.offset)%u.window
	reset := (left + time.Second - 1).Truncate(time.Second)
	if !u.silent {
		a.Limit, a.Remaining, a.Reset = u.limit, max(0, u.limit-u.used), reset
	}
	if u.used > u.limit {
		u.limited++
		a.Kind = telnyx.ErrLimited
		if !u.silent {
			a.RetryAfter = reset
		}
		if u.retry > 0 {
			a.RetryAfter = u.retry
		}
	}
	return a, u.latency
}

func (u *upstream) String() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return fmt.Sprintf("%d calls, %d limited, at most %d in a window", u.calls, u.limited, u.most)
}

// eat is another user of the account.
func (u *upstream) eat(calls int) {
	u.mu.Lock()
	made, limited, seconds := u.calls, u.limited, maps.Clone(u.seconds)
	u.mu.Unlock()
	for range calls {
		u.count(telnyx.CredentialID{})
	}
	u.mu.Lock()
	u.calls, u.limited, u.seconds = made, limited, seconds
	u.mu.Unlock()
}

// set has every call fail from now on, or none, and take so long. It returns how
// many there were until now.
func (u *upstream) set(down error, latency time.Duration) (calls int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.down, u.latency = down, latency
	return u.calls
}

func newPacer(t testing.TB, cfg pacing.Config) *pacing.Pacer {
	t.Helper()
	p, err := pacing.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func id(n int) telnyx.CredentialID {
	id, err := telnyx.ParseCredentialID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n))
	if err != nil {
		panic(err)
	}
	return id
}

// gate is what telnyx.Client has before it.
type gate interface {
	Enter(ctx context.Context, about telnyx.CredentialID) error
	Leave(telnyx.Attempt)
}

// once makes a call as telnyx.Client does, with its time-out, and no retry.
func once(ctx context.Context, g gate, u *upstream, about telnyx.CredentialID) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := g.Enter(ctx, about); err != nil {
		return err
	}
	a := u.attempt(about)
	g.Leave(a)
	if a.Kind == nil {
		return nil
	}
	return &telnyx.Error{Kind: a.Kind, RetryAfter: a.RetryAfter, Attempts: 1}
}

// sleep passes time in a bubble.
func sleep(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // it is the bubble's clock, and waits for nothing

// wholeSeconds is what a client is told to wait.
func wholeSeconds(err error) time.Duration {
	e, ok := errors.AsType[*telnyx.Error](err)
	if !ok {
		return time.Second
	}
	return max(time.Second, (e.RetryAfter + time.Second - 1).Truncate(time.Second))
}
