package pacing_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A storm is many who want one token each, and do as they are told.
type storm struct {
	users   int
	within  time.Duration // when they come, at random
	patient func(n int, told time.Duration) (waits time.Duration, stays bool)
}

// outcome is what came of it.
type outcome struct {
	took   time.Duration // until the last was served
	served int
	told   []int // how many were told to come back n times, and then served
}

func (s storm) run(t *testing.T, u *upstream, gate gate) outcome {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	out := outcome{told: make([]int, 50)}
	for n := range s.users {
		arrives := time.Duration(random.Int64N(int64(s.within)))
		all.Go(func() {
			sleep(arrives)
			for told := 0; ; told++ {
				err := once(t.Context(), gate, u, id(n))
				if err == nil {
					mu.Lock()
					out.took, out.served = max(out.took, time.Since(began)), out.served+1
					out.told[min(told, len(out.told)-1)]++
					mu.Unlock()
					return
				}
				if !errors.Is(err, telnyx.ErrLimited) {
					t.Errorf("got %v", err)
				}
				waits, stays := s.patient(n, wholeSeconds(err))
				if !stays {
					return
				}
				sleep(waits)
			}
		})
	}
	all.Wait()
	for len(out.told) > 1 && out.told[len(out.told)-1] == 0 {
		out.told = out.told[:len(out.told)-1]
	}
	t.Logf("%d of %d served within %v; %s; told to come back: %v", out.served, s.users, out.took, u, out.told)
	return out
}

func exactly(_ int, told time.Duration) (time.Duration, bool) { return told, true }

// Nine in the morning: 10,000 people within 10 s, and a Telnyx that allows 300
// mints a second, wherever its windows begin. 33 s is the least that it can take.
func TestAStorm(t *testing.T) {
	const ms = time.Millisecond
	for name, row := range map[string]struct {
		offset, jitter time.Duration
		latency        time.Duration // 50 ms if none
		stall          bool
		patient        func(int, time.Duration) (time.Duration, bool)
		most           time.Duration
	}{
		"windows that begin with us":           {0, 0, 0, false, exactly, 37 * time.Second},
		"windows that begin a little earlier":  {10 * ms, 0, 0, false, exactly, 37 * time.Second},
		"windows that begin a little later":    {990 * ms, 0, 0, false, exactly, 37 * time.Second},
		"windows that begin in our middle":     {500 * ms, 0, 0, false, exactly, 37 * time.Second},
		"calls of different speed":             {700 * ms, 30 * ms, 0, false, exactly, 37 * time.Second},
		"calls that are held up, many at once": {0, 10 * ms, 0, true, exactly, 44 * time.Second},
		"a first answer that takes a second":   {0, 0, time.Second, false, exactly, 43 * time.Second},
		"clients who come up to a second late": {300 * ms, 10 * ms, 0, false, func(_ int, told time.Duration) (time.Duration, bool) {
			return told + rand.N(time.Second), true
		}, 38 * time.Second},
		"clients who wait a fifth longer than they are told": {300 * ms, 10 * ms, 0, false, func(_ int, told time.Duration) (time.Duration, bool) {
			return told + rand.N(told/5), true
		}, 45 * time.Second},
		"clients who come back twice as early": {300 * ms, 10 * ms, 0, false, func(_ int, told time.Duration) (time.Duration, bool) {
			return max(told/2, time.Second), true
		}, 38 * time.Second},
		"clients who wait five seconds at least": {300 * ms, 10 * ms, 0, false, func(_ int, told time.Duration) (time.Duration, bool) {
			return max(told, 5*time.Second), true
		}, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				latency := max(row.latency, 50*ms)
				u := newUpstream(&upstream{limit: 300, window: time.Second, offset: row.offset, jitter: row.jitter, latency: latency, stall: row.stall})
				p := newPacer(t, pacing.Config{})
				out := storm{10_000, 10 * time.Second, row.patient}.run(t, u, p.Logins())
				if out.served != 10_000 || out.took > row.most {
					t.Errorf("%d served within %v, want all within %v", out.served, out.took, row.most)
				}
				if u.limited > 0 {
					t.Errorf("%d of %d calls were limited", u.limited, u.calls)
				}
				if s := p.State(); s.Waiting != 0 || s.InFlight != 0 || s.Owed != 0 {
					t.Errorf("left behind: %+v", s)
				}
			})
		})
	}
}
