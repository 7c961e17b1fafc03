package pacing_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// crowd has new callers come evenly, so many a second, each of whom does as he is
// told and stays for 20 s at most. It returns how many were served.
func crowd(t *testing.T, u *upstream, gate *pacing.Gate, perSecond int, lasts time.Duration) int {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	served := 0
	began := time.Now()
	for n := 0; time.Since(began) < lasts; n++ {
		all.Go(func() {
			for came := time.Now(); time.Since(came) < 20*time.Second && time.Since(began) < lasts; {
				err := once(t.Context(), gate, u, id(n))
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					served++
					return
				}
				sleep(wholeSeconds(err))
			}
		})
		sleep(time.Second / time.Duration(perSecond))
	}
	all.Wait()
	t.Logf("%d served in %v; %s", served, lasts, u)
	return served
}

func TestALimitIsLearntAndKeptTo(t *testing.T) {
	const ms = time.Millisecond
	for name, row := range map[string]struct {
		upstream  *upstream
		perSecond int
		lasts     time.Duration
		least     float64 // of what Telnyx would allow
	}{
		"300 a second":                       {&upstream{limit: 300, window: time.Second, latency: 50 * ms}, 400, 30 * time.Second, 0.92},
		"60 a minute, met in mid-window":     {&upstream{limit: 60, window: time.Minute, offset: 43 * time.Second, latency: 50 * ms}, 5, 10 * time.Minute, 0.85},
		"60 a minute, met at its end":        {&upstream{limit: 60, window: time.Minute, offset: 59500 * ms, latency: 50 * ms}, 5, 10 * time.Minute, 0.85},
		"1000 in 10 seconds, a slow Telnyx":  {&upstream{limit: 1000, window: 10 * time.Second, latency: 3 * time.Second}, 150, time.Minute, 0.75},
		"3 a second":                         {&upstream{limit: 3, window: time.Second, latency: 50 * ms}, 10, time.Minute, 0.6},
		"one a second":                       {&upstream{limit: 1, window: time.Second, latency: 50 * ms}, 10, time.Minute, 0.9},
		"5000 a second, more than are asked": {&upstream{limit: 5000, window: time.Second, latency: 50 * ms}, 400, 10 * time.Second, 0.075},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpstream(row.upstream)
				p := newPacer(t, pacing.Config{})
				served := crowd(t, u, p.Logins(), row.perSecond, row.lasts)
				if allowed := float64(u.limit) * float64(row.lasts) / float64(u.window); float64(served) < row.least*allowed {
					t.Errorf("%d served of the %.0f that are allowed", served, allowed)
				}
				if u.limited > 0 {
					t.Errorf("%d of %d calls were limited", u.limited, u.calls)
				}
				if s := p.State(); s.Limit != u.limit || s.Window != u.window {
					t.Errorf("learnt %+v", s)
				}
			})
		})
	}
}

func TestAnotherUserOfTheAccount(t *testing.T) {
	for name, row := range map[string]struct {
		every   time.Duration
		eats    int
		least   int     // of ours that are served within 30 s
		limited float64 // of our calls, at most
		latency time.Duration
	}{
		"takes two thirds all the time":    {5 * time.Millisecond, 1, 2000, 0.02, 50 * time.Millisecond},
		"takes two thirds at a time":       {time.Second, 200, 2200, 0.01, 50 * time.Millisecond},
		"takes all, now and then":          {5 * time.Second, 300, 1700, 0.03, 50 * time.Millisecond},
		"takes nearly all, all the time":   {time.Second, 280, 500, 0.03, 50 * time.Millisecond},
		"takes nearly all, every third s.": {3 * time.Second, 290, 1500, 0.03, 50 * time.Millisecond},
		"takes a half, of a slow Telnyx":   {time.Second, 150, 2600, 0.08, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpstream(&upstream{limit: 300, window: time.Second, latency: row.latency})
				p := newPacer(t, pacing.Config{})
				go func() {
					for began := time.Now(); time.Since(began) < 30*time.Second; sleep(row.every) {
						u.eat(row.eats)
					}
				}()
				served := crowd(t, u, p.Logins(), 330, 30*time.Second)
				if served < row.least || float64(u.limited) > row.limited*float64(u.calls) {
					t.Errorf("%d served, %d of %d calls limited", served, u.limited, u.calls)
				}
			})
		})
	}
}

func TestALimitThatIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 100, window: time.Second, latency: 50 * time.Millisecond, silent: true})
		p := newPacer(t, pacing.Config{})
		served := crowd(t, u, p.Logins(), 200, 2*time.Minute)
		if served < 8000 || u.limited > u.calls/100 {
			t.Errorf("%d served of 12000, %d of %d calls limited", served, u.limited, u.calls)
		}
		sleep(10 * time.Minute)
		if s := p.State(); s.Limit != 0 {
			t.Errorf("a guess is not forgotten: %+v", s)
		}
	})
}

// One 429 out of the blue must not throttle a service that sends little, and of
// which no more can be learnt.
func TestAStray429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 1, window: time.Hour, latency: 50 * time.Millisecond, silent: true})
		p := newPacer(t, pacing.Config{})
		u.eat(1)
		if err := once(t.Context(), p.Logins(), u, id(1)); !errors.Is(err, telnyx.ErrLimited) {
			t.Fatal(err)
		}
		u.limit = 0
		sleep(time.Second)
		if s := p.State(); s.Share < 10 {
			t.Errorf("%d a second after a stray 429", s.Share)
		}
	})
}

func TestRetryAfterIsKeptTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 10, window: time.Second, latency: 50 * time.Millisecond, retry: 7 * time.Second})
		gate := newPacer(t, pacing.Config{}).Logins()
		u.eat(10)
		began := time.Now()
		limited := once(t.Context(), gate, u, id(0))
		if !errors.Is(limited, telnyx.ErrLimited) {
			t.Fatalf("got %v", limited)
		}
		var order []int
		var mu sync.Mutex
		var all sync.WaitGroup
		for n := range 21 {
			err := limited
			if n > 0 {
				err = once(t.Context(), gate, u, id(n))
			}
			if e, ok := errors.AsType[*telnyx.Error](err); !ok || !errors.Is(e.Kind, telnyx.ErrLimited) || n > 0 && e.Attempts != 0 {
				t.Fatalf("%d: got %v", n, err)
			}
			all.Go(func() {
				sleep(wholeSeconds(err))
				if err := once(t.Context(), gate, u, id(n)); err != nil {
					t.Errorf("%d came back as told, and got %v", n, err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, n)
			})
		}
		all.Wait()
		if u.calls != 22 || u.seconds[0] != 1 || len(u.seconds) < 2 {
			t.Errorf("%d calls: %v", u.calls, u.seconds)
		}
		for second := range u.seconds {
			if second != 0 && second < 7 {
				t.Errorf("calls before the wait was over: %v", u.seconds)
			}
		}
		if !slices.Contains(order[:6], 0) || time.Since(began) > 12*time.Second {
			t.Errorf("served in the order %v, after %v", order, time.Since(began))
		}
	})
}

// A window that is said to be long, once, is believed until answers enough have
// said otherwise.
func TestAWindowThatBecomesShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(t, pacing.Config{})
		gate := p.Logins()
		answer := func(limit int, reset time.Duration) {
			if err := gate.Enter(t.Context(), id(1)); err != nil {
				t.Fatal(err)
			}
			gate.Leave(telnyx.Attempt{Limit: limit, Remaining: limit - 1, Reset: reset})
		}
		answer(300, time.Minute)
		for range 600 {
			answer(300, time.Second)
			sleep(5 * time.Second)
		}
		if s := p.State(); s.Window != time.Second {
			t.Errorf("still %+v", s)
		}
		answer(200, 30*time.Second)
		if s := p.State(); s.Limit != 200 || s.Window != 30*time.Second {
			t.Errorf("another limit: %+v", s)
		}
	})
}

func TestA429CutsOurShareForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(t, pacing.Config{})
		gate := p.Logins()
		for range 14 { // those who are under way together are one 429
			if err := gate.Enter(t.Context(), id(1)); err != nil {
				t.Fatal(err)
			}
		}
		for range 14 {
			gate.Leave(telnyx.Attempt{Kind: telnyx.ErrLimited, Limit: 300, Reset: time.Second, RetryAfter: time.Second})
		}
		for _, row := range []struct {
			after time.Duration
			share int
		}{{0, 199}, {10 * time.Second, 227}, {20 * time.Second, 285}, {time.Minute, 285}} {
			sleep(row.after)
			if s := p.State(); s.Share != row.share {
				t.Errorf("the share is %d, want %d", s.Share, row.share)
			}
		}
		for range 1000 {
			if err := gate.Enter(t.Context(), id(1)); err != nil {
				t.Fatal(err)
			}
			gate.Leave(telnyx.Attempt{Kind: telnyx.ErrLimited, Limit: 300, Reset: time.Second, RetryAfter: time.Second})
			sleep(time.Second)
		}
		if s := p.State(); s.Share < 14 || s.Share > 30 {
			t.Errorf("the share is %d after many 429s, want the floor of about 14", s.Share)
		}
	})
}

func TestOne429CostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(t, pacing.Config{})
		gate := p.Logins()
		enters(t, gate, id(1))
		gate.Leave(telnyx.Attempt{Kind: telnyx.ErrLimited, Limit: 300, Reset: time.Second, RetryAfter: time.Second})
		if s := p.State(); s.Share != 275 {
			t.Errorf("the share is %d of 285, want 275", s.Share)
		}
	})
}
