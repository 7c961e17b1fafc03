package pacing_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Telnyx is gone for ten minutes in mid-day, and everybody who wants a token goes
// on asking as he is told: they are all there when it comes back.
func TestAnOutageOfTenMinutes(t *testing.T) {
	for name, row := range map[string]struct {
		kind  error
		takes time.Duration // until a call fails
	}{
		"refused": {telnyx.ErrUnavailable, time.Millisecond},
		"hanging": {telnyx.ErrTimeout, hangs},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { outage(t, row.kind, row.takes) })
		})
	}
}

// hangs is how long a call takes that Telnyx does not answer.
const hangs = 5 * time.Second

func outage(t *testing.T, kind error, takes time.Duration) {
	t.Helper()
	const callers, lasts, normal = 500, 10 * time.Minute, 50 * time.Millisecond
	u := newUpstream(&upstream{limit: 300, window: time.Second, latency: normal})
	p := newPacer(t, pacing.Config{})
	gate := p.Logins()
	for n := range 2000 { // a usual morning, so that it is known what Telnyx allows
		if err := once(t.Context(), gate, u, id(n)); err != nil {
			t.Fatal(err)
		}
	}
	u.set(kind, takes)
	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	kinds, servedAt := map[error]int{}, []time.Duration{}
	for n := range callers {
		comes := rand.N(lasts - time.Minute)
		all.Go(func() {
			sleep(comes)
			for {
				err := once(t.Context(), gate, u, id(n))
				since := time.Since(began)
				mu.Lock()
				if err == nil {
					servedAt = append(servedAt, since)
					mu.Unlock()
					return
				}
				if e, ok := errors.AsType[*telnyx.Error](err); ok && since < lasts {
					kinds[e.Kind]++
				}
				mu.Unlock()
				sleep(wholeSeconds(err))
			}
		})
	}
	sleep(lasts - time.Since(began))
	inOutage := u.set(nil, normal) - 2000
	all.Wait()
	slices.Sort(servedAt)
	nearlyAll, last := servedAt[callers-10]-lasts, servedAt[callers-1]-lasts
	t.Logf("%d calls in the outage; told: %v; the first served %v after it, nearly all %v, the last %v; at most %d in a window",
		inOutage, kinds, servedAt[0]-lasts, nearlyAll, last, u.most)
	if len(kinds) != 1 || kinds[kind] == 0 {
		t.Errorf("callers were told %v, want one thing", kinds)
	}
	if inOutage > int(lasts/time.Second)+50 {
		t.Errorf("%d calls in an outage of %v", inOutage, lasts)
	}
	// Whose call hung when Telnyx came back has to wait for its end.
	if nearlyAll > 5*time.Second || last > takes+5*time.Second || u.limited > 0 {
		t.Errorf("nearly all were served after %v, the last after %v; %d calls were limited", nearlyAll, last, u.limited)
	}
	if s := p.State(); s.Breaker != pacing.Closed || s.Why != nil {
		t.Errorf("%+v", s)
	}
}

// fail makes calls fail, of those credentials in turn.
func fail(t *testing.T, gate *pacing.Gate, kind error, about ...telnyx.CredentialID) {
	t.Helper()
	for _, about := range about {
		if err := gate.Enter(t.Context(), about); err != nil {
			return
		}
		gate.Leave(telnyx.Attempt{About: about, Kind: kind})
	}
}

func TestWhatOpensTheBreaker(t *testing.T) {
	down, slow := telnyx.ErrUnavailable, telnyx.ErrTimeout
	none := telnyx.CredentialID{}
	many := func(n int, ids ...telnyx.CredentialID) []telnyx.CredentialID { return slices.Repeat(ids, n) }
	for name, row := range map[string]struct {
		act   func(t *testing.T, gate *pacing.Gate)
		opens bool
	}{
		"three in a row":                     {func(t *testing.T, g *pacing.Gate) { fail(t, g, down, id(1), id(2), id(3)) }, true},
		"three time-outs in a row":           {func(t *testing.T, g *pacing.Gate) { fail(t, g, slow, id(1), id(2), id(3)) }, true},
		"one about no credential among them": {func(t *testing.T, g *pacing.Gate) { fail(t, g, down, id(1), id(2), none) }, true},
		"two":                                {func(t *testing.T, g *pacing.Gate) { fail(t, g, down, many(50, id(1), id(2))...) }, false},
		"one bad credential alone":           {func(t *testing.T, g *pacing.Gate) { fail(t, g, down, many(100, id(1))...) }, false},
		"lists and creates":                  {func(t *testing.T, g *pacing.Gate) { fail(t, g, down, many(3, none)...) }, true},
		"three with an answer among them": {func(t *testing.T, g *pacing.Gate) {
			fail(t, g, down, id(1), id(2))
			fail(t, g, nil, id(4))
			fail(t, g, down, id(3))
		}, false},
		"a refusal is an answer": {func(t *testing.T, g *pacing.Gate) {
			fail(t, g, down, id(1), id(2))
			fail(t, g, telnyx.ErrCredentialRejected, id(4))
			fail(t, g, down, id(3))
		}, false},
		"who leaves says nothing": {func(t *testing.T, g *pacing.Gate) {
			fail(t, g, down, id(1), id(2))
			fail(t, g, context.Canceled, id(4))
			fail(t, g, down, id(3))
		}, true},
		"no answers but those of no use": {func(t *testing.T, g *pacing.Gate) { fail(t, g, telnyx.ErrBadAnswer, id(1), id(2), id(3), id(4)) }, false},
		"a rejected key":                 {func(t *testing.T, g *pacing.Gate) { fail(t, g, telnyx.ErrKeyRejected, id(1), id(2), id(3), id(4)) }, false},
		"every other one of many": {func(t *testing.T, g *pacing.Gate) {
			for n := range 10 {
				fail(t, g, nil, id(100+n))
				fail(t, g, down, id(n))
			}
		}, true},
		"every other one, of few": {func(t *testing.T, g *pacing.Gate) {
			for n := range 9 {
				fail(t, g, nil, id(100+n))
				fail(t, g, down, id(n))
			}
		}, false},
		"every third": {func(t *testing.T, g *pacing.Gate) {
			for n := range 50 {
				fail(t, g, nil, id(100+n), id(200+n))
				fail(t, g, down, id(n))
			}
		}, false},
		"every other one, in a long time": {func(t *testing.T, g *pacing.Gate) {
			for n := range 50 {
				fail(t, g, nil, id(100+n))
				fail(t, g, down, id(n))
				sleep(time.Second)
			}
		}, false},
		"one bad credential, asked for as often as all others": {func(t *testing.T, g *pacing.Gate) {
			for n := range 50 {
				fail(t, g, nil, id(100+n))
				fail(t, g, down, id(1))
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPacer(t, pacing.Config{})
				row.act(t, p.Logins())
				if s := p.State(); (s.Breaker != pacing.Closed) != row.opens {
					t.Errorf("the breaker is %s", s.Breaker)
				}
			})
		})
	}
}

func refused(t *testing.T, gate *pacing.Gate, about telnyx.CredentialID, kind error, least, most time.Duration) {
	t.Helper()
	err := gate.Enter(t.Context(), about)
	e, ok := errors.AsType[*telnyx.Error](err)
	if !ok || !e.WasWithheld() || !errors.Is(e.Kind, kind) || e.RetryAfter < least || e.RetryAfter > most {
		t.Errorf("got %v, want %v in %v to %v", err, kind, least, most)
	}
}

func enters(t *testing.T, gate *pacing.Gate, about telnyx.CredentialID) {
	t.Helper()
	began := time.Now()
	if err := gate.Enter(t.Context(), about); err != nil || time.Since(began) > 0 {
		t.Errorf("got %v after %v, want to enter at once", err, time.Since(began))
	}
}

func TestProbes(t *testing.T) {
	const second = time.Second
	down := telnyx.ErrUnavailable
	for name, act := range map[string]func(t *testing.T, p *pacing.Pacer, logins, background *pacing.Gate){
		"none in the first second": func(t *testing.T, _ *pacing.Pacer, logins, background *pacing.Gate) {
			refused(t, logins, id(4), down, second, 3*second)
			sleep(second - time.Millisecond)
			refused(t, background, id(4), down, time.Millisecond, 2*second)
		},
		"one at a time": func(t *testing.T, p *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			refused(t, logins, id(5), down, second, 2*second)
			if s := p.State(); s.Breaker != pacing.HalfOpen || !errors.Is(s.Why, down) {
				t.Errorf("%+v", s)
			}
		},
		"one that succeeds closes it": func(t *testing.T, p *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			logins.Leave(telnyx.Attempt{About: id(4)})
			if s := p.State(); s.Breaker != pacing.Closed || s.Why != nil || time.Since(s.Since) != 0 {
				t.Errorf("%+v", s)
			}
			enters(t, logins, id(5))
		},
		"one that fails opens it, and nothing else is told": func(t *testing.T, p *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			logins.Leave(telnyx.Attempt{About: id(4), Kind: telnyx.ErrTimeout})
			if s := p.State(); s.Breaker != pacing.Open {
				t.Errorf("%+v", s)
			}
			refused(t, logins, id(5), down, second, 3*second)
		},
		"one that is called off makes room": func(t *testing.T, _ *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			logins.Leave(telnyx.Attempt{About: id(4), Kind: context.Canceled})
			enters(t, logins, id(5))
		},
		"one that hangs is followed by another": func(t *testing.T, p *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			sleep(second)
			enters(t, logins, id(5))
			refused(t, logins, id(6), down, second, 2*second)
			logins.Leave(telnyx.Attempt{About: id(4), Kind: telnyx.ErrTimeout}) // of a while ago
			if s := p.State(); s.Breaker != pacing.HalfOpen {
				t.Errorf("%+v", s)
			}
			logins.Leave(telnyx.Attempt{About: id(5)})
			if s := p.State(); s.Breaker != pacing.Closed {
				t.Errorf("%+v", s)
			}
		},
		"one that takes its time closes it all the same": func(t *testing.T, p *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			sleep(4 * second)
			logins.Leave(telnyx.Attempt{About: id(4)})
			if s := p.State(); s.Breaker != pacing.Closed {
				t.Errorf("%+v", s)
			}
		},
		"no more than eight that hang": func(t *testing.T, _ *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			for n := range 8 {
				enters(t, logins, id(10+n))
				sleep(second)
			}
			refused(t, logins, id(4), down, second, 2*second)
		},
		"a call of before says nothing": func(t *testing.T, p *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			logins.Leave(telnyx.Attempt{About: id(99), Kind: down})
			logins.Leave(telnyx.Attempt{About: id(99)})
			if s := p.State(); s.Breaker != pacing.HalfOpen {
				t.Errorf("%+v", s)
			}
		},
		"a login does not wait for one in the background": func(t *testing.T, _ *pacing.Pacer, logins, background *pacing.Gate) {
			sleep(2 * second)
			enters(t, background, id(4))
			refused(t, background, id(5), down, second, 2*second)
			enters(t, logins, id(6))
			refused(t, logins, id(7), down, second, 2*second)
		},
		"one in the background does for a login": func(t *testing.T, _ *pacing.Pacer, logins, background *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			refused(t, background, id(5), down, second, 2*second)
		},
		"after a probe only few go at once": func(t *testing.T, p *pacing.Pacer, logins, _ *pacing.Gate) {
			sleep(2 * second)
			enters(t, logins, id(4))
			logins.Leave(telnyx.Attempt{About: id(4)})
			few := p.State().InFlight + 17
			for n := range few {
				enters(t, logins, id(10+n))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*second)
			defer cancel()
			if err := logins.Enter(ctx, id(9)); !errors.Is(err, telnyx.ErrTimeout) {
				t.Errorf("got %v, want to be told that Telnyx does not answer", err)
			}
			logins.Leave(telnyx.Attempt{About: id(10)})
			enters(t, logins, id(50)) // for that which has left, and another one
			enters(t, logins, id(51))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPacer(t, pacing.Config{})
				fail(t, p.Logins(), down, id(1), id(2), id(3))
				if s := p.State(); s.Breaker != pacing.Open || !errors.Is(s.Why, down) || time.Since(s.Since) != 0 {
					t.Fatalf("%+v", s)
				}
				act(t, p, p.Logins(), p.Background())
			})
		})
	}
}

// Whoever waits in line when Telnyx goes down is told so, and does not wait.
func TestTheLineIsSentAwayWhenTheBreakerOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(t, pacing.Config{})
		gate := p.Logins()
		for n := range 16 { // no more may go until one is answered
			enters(t, gate, id(n))
		}
		began := time.Now()
		var all sync.WaitGroup
		var in atomic.Int64
		for n := range 10 {
			all.Go(func() {
				if err := gate.Enter(t.Context(), id(20+n)); err == nil {
					in.Add(1)
				} else if !errors.Is(err, telnyx.ErrTimeout) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		sleep(300 * time.Millisecond)
		for n := range 3 {
			gate.Leave(telnyx.Attempt{About: id(n), Kind: telnyx.ErrTimeout})
		}
		all.Wait()
		// The first two that failed made room for one each.
		if took := time.Since(began); took != 300*time.Millisecond || in.Load() != 2 || p.State().Waiting != 0 {
			t.Errorf("after %v, %d in", took, in.Load())
		}
	})
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []pacing.Breaker
		var limits []int
		p := newPacer(t, pacing.Config{OnChange: func(s pacing.State) {
			told, limits = append(told, s.Breaker), append(limits, s.Limit)
		}})
		gate := p.Logins()
		enters(t, gate, id(1))
		gate.Leave(telnyx.Attempt{About: id(1), Limit: 300, Remaining: 299, Reset: time.Second})
		fail(t, gate, telnyx.ErrUnavailable, id(1), id(2), id(3))
		sleep(2 * time.Second)
		fail(t, gate, nil, id(1))
		if !slices.Equal(told, []pacing.Breaker{pacing.Closed, pacing.Open, pacing.HalfOpen, pacing.Closed}) || !slices.Equal(limits, []int{300, 300, 300, 300}) {
			t.Errorf("told of %v, %v", told, limits)
		}
	})
}
