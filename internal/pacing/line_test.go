package pacing_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// used is a Pacer that has learnt a limit a second, and has used up its share of it
// in this moment.
func used(t *testing.T, cfg pacing.Config, limit int) (*pacing.Pacer, *pacing.Gate) {
	t.Helper()
	p := newPacer(t, cfg)
	gate := p.Logins()
	sleep(time.Minute)
	for n := 0; n == 0 || n < p.State().Share; n++ {
		enters(t, gate, id(1_000_000+n))
		gate.Leave(telnyx.Attempt{About: id(1_000_000 + n), Limit: limit, Remaining: limit - n - 1, Reset: time.Second})
	}
	return p, gate
}

// queue has callers come one after the other, at once, and returns a function that
// waits for all to have an answer, and says who got in, in that order.
func queue(t *testing.T, gate *pacing.Gate, about ...telnyx.CredentialID) func() []telnyx.CredentialID {
	t.Helper()
	var mu sync.Mutex
	var in []telnyx.CredentialID
	var all sync.WaitGroup
	for _, about := range about {
		all.Go(func() {
			if gate.Enter(t.Context(), about) == nil {
				mu.Lock()
				in = append(in, about)
				mu.Unlock()
				gate.Leave(telnyx.Attempt{About: about})
			}
		})
		synctest.Wait()
	}
	return func() []telnyx.CredentialID { all.Wait(); return in }
}

func ids(first, count int) (ids []telnyx.CredentialID) {
	for n := range count {
		ids = append(ids, id(first+n))
	}
	return ids
}

func TestTheLineIsServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, gate := used(t, pacing.Config{}, 100)
		began := time.Now()
		waiting := queue(t, gate, ids(1, 50)...)
		if s := p.State(); s.Waiting != 50 {
			t.Errorf("%+v", s)
		}
		if in := waiting(); !slices.Equal(in, ids(1, 50)) {
			t.Errorf("in the order %v", in)
		}
		if took := time.Since(began); took < 1400*time.Millisecond || took > 1700*time.Millisecond {
			t.Errorf("it took %v, want a second until there is room, and half of one for them", took)
		}
	})
}

func TestWhoComesBackGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gate := used(t, pacing.Config{MaxWaiting: 20}, 10)
		first := queue(t, gate, ids(1, 9)...) // as many as go within the 2 s
		for _, about := range ids(40, 10) {
			refused(t, gate, about, telnyx.ErrLimited, time.Second, 3*time.Second)
		}
		err := gate.Enter(t.Context(), id(50))
		e, ok := errors.AsType[*telnyx.Error](err)
		if !ok || !errors.Is(err, telnyx.ErrLimited) {
			t.Fatalf("got %v", err)
		}
		sleep(100 * time.Millisecond)
		// Too early: he is told the same, less what has passed.
		again, _ := errors.AsType[*telnyx.Error](gate.Enter(t.Context(), id(50)))
		if again == nil || (e.RetryAfter-again.RetryAfter-100*time.Millisecond).Abs() > 20*time.Millisecond {
			t.Errorf("told %v, and then %v", e, again)
		}
		sleep(again.RetryAfter)
		later := queue(t, gate, ids(60, 3)...)
		back := queue(t, gate, id(50))
		if first := first(); !slices.Equal(first, ids(1, 9)) {
			t.Errorf("first %v", first)
		}
		sleep(0)
		done := time.Now()
		if in := back(); !slices.Equal(in, ids(50, 1)) {
			t.Errorf("who came back as told was sent away: %v", in)
		}
		if waited := time.Since(done); waited > 300*time.Millisecond {
			t.Errorf("he waited %v after those before him", waited)
		}
		if in := later(); !slices.Equal(in, ids(60, 3)) {
			t.Errorf("later ones: %v", in)
		}
	})
}

func TestTheLineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, gate := used(t, pacing.Config{MaxWaiting: 5}, 100)
		waiting := queue(t, gate, ids(1, 5)...)
		refused(t, gate, id(6), telnyx.ErrLimited, 500*time.Millisecond, 2*time.Second)
		if s := p.State(); s.Waiting != 5 || s.Owed != 1 {
			t.Errorf("%+v", s)
		}
		if in := waiting(); !slices.Equal(in, ids(1, 5)) {
			t.Errorf("in: %v", in)
		}
		enters(t, gate, id(6)) // nobody is before him any more
	})
}

// Who was told to come back finds room in a full line: who came last makes it.
func TestAFullLineMakesRoomForWhoComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gate := used(t, pacing.Config{MaxWaiting: 5}, 10)
		first := queue(t, gate, ids(1, 5)...)
		refused(t, gate, id(50), telnyx.ErrLimited, 100*time.Millisecond, 2*time.Second)
		first()
		newcomers := queue(t, gate, ids(60, 6)...) // some go at once, the others fill the line
		back := queue(t, gate, id(50))
		if in := back(); !slices.Equal(in, ids(50, 1)) {
			t.Errorf("back: %v", in)
		}
		newcomers()
	})
}

func TestACallerWithLittleTimeIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, gate := used(t, pacing.Config{}, 100)
		for _, left := range []time.Duration{time.Millisecond, time.Second, 1900 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			began := time.Now()
			if err := gate.Enter(ctx, id(1)); !errors.Is(err, telnyx.ErrLimited) || time.Since(began) > 0 {
				t.Errorf("with %v left: %v after %v", left, err, time.Since(began))
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := gate.Enter(ctx, id(1)); err != nil {
			t.Errorf("with 3 s left: %v", err)
		}
	})
}

func TestWhoLeavesTheLineLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, gate := used(t, pacing.Config{}, 10)
		before := p.State()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for n := range 9 {
			all.Go(func() {
				if err := gate.Enter(ctx, id(n)); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if s := p.State(); s.Waiting != 9 {
			t.Errorf("%+v", s)
		}
		cancel()
		all.Wait()
		if s := p.State(); s != before {
			t.Errorf("before %+v, after %+v", before, s)
		}
		if err := gate.Enter(ctx, id(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		began := time.Now()
		if err := gate.Enter(t.Context(), id(100)); err != nil || time.Since(began) > 1100*time.Millisecond {
			t.Errorf("the next: %v after %v", err, time.Since(began))
		}
	})
}

func TestCloseFreesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, gate := used(t, pacing.Config{}, 100)
		var all sync.WaitGroup
		for n := range 20 {
			for _, gate := range []*pacing.Gate{gate, p.Background()} {
				all.Go(func() {
					err := gate.Enter(t.Context(), id(n))
					if e, ok := errors.AsType[*telnyx.Error](err); !ok || !errors.Is(e.Kind, telnyx.ErrUnavailable) || !e.WasWithheld() {
						t.Errorf("got %v", err)
					}
				})
			}
		}
		synctest.Wait()
		began := time.Now()
		p.Close()
		all.Wait()
		if time.Since(began) > 0 {
			t.Errorf("after %v", time.Since(began))
		}
		gate.Leave(telnyx.Attempt{}) // of one that is still under way
		if err := gate.Enter(t.Context(), id(1)); !errors.Is(err, telnyx.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		p.Close()
	})
}

func TestLoginsGoBeforeTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, gate := used(t, pacing.Config{}, 100)
		background := queue(t, p.Background(), ids(1, 3)...)
		logins := queue(t, gate, ids(10, 40)...)
		logins()
		if s := p.State(); s.Waiting != 3 {
			t.Errorf("%d wait in the background when the logins are through", s.Waiting)
		}
		if in := background(); !slices.Equal(in, ids(1, 3)) {
			t.Errorf("in the background, when nobody else waits: %v", in)
		}
	})
}

func TestTheBackgroundUsesHalfOfTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 100, window: time.Second, latency: 50 * time.Millisecond})
		p := newPacer(t, pacing.Config{})
		crowd(t, u, p.Background(), 200, 20*time.Second)
		if u.most > 48 || u.most < 40 {
			t.Errorf("%d in a window of 100", u.most)
		}
	})
}

// It starves, and is told so politely, while logins take all there is; and takes
// nothing from them.
func TestTheBackgroundStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 100, window: time.Second, latency: 50 * time.Millisecond})
		p := newPacer(t, pacing.Config{})
		logins := make(chan int)
		go func() { logins <- crowd(t, u, p.Logins(), 150, 20*time.Second) }()
		sleep(3 * time.Second)
		background, in := p.Background(), 0
		for n := range 100 {
			began := time.Now()
			err := once(t.Context(), background, u, id(500_000+n))
			if err == nil {
				in++
			} else if e, ok := errors.AsType[*telnyx.Error](err); !ok || !errors.Is(err, telnyx.ErrLimited) || e.RetryAfter <= 0 || time.Since(began) > 2*time.Second {
				t.Errorf("got %v after %v", err, time.Since(began))
			}
			sleep(100 * time.Millisecond)
		}
		if n := <-logins; n < 1700 || in > 0 {
			t.Errorf("%d logins, %d in the background", n, in)
		}
	})
}

// Nobody's room is kept empty for those who do not come back.
func TestRoomGoesToWhoIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 300, window: time.Second, latency: 50 * time.Millisecond})
		p := newPacer(t, pacing.Config{})
		s := storm{20_000, 40 * time.Second, func(n int, told time.Duration) (time.Duration, bool) { return told, n%2 == 0 }}
		out := s.run(t, u, p.Logins())
		busy := 0
		for second := range int64(40) {
			busy += u.seconds[second]
		}
		if busy < 40*270 || out.served < 10_000 {
			t.Errorf("%d calls in 40 s, want about 11,300; %d served", busy, out.served)
		}
	})
}

// Promises are bounded, and end.
func TestPromisesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, gate := used(t, pacing.Config{MaxWaiting: 1}, 1000)
		waiting := queue(t, gate, id(0))
		for n := range 70_000 {
			if err := gate.Enter(t.Context(), id(1+n)); !errors.Is(err, telnyx.ErrLimited) {
				t.Fatal(err)
			}
		}
		if s := p.State(); s.Owed > 1<<16 || s.Owed < 1<<16-1000 {
			t.Errorf("%d are remembered", s.Owed)
		}
		waiting()
		sleep(5 * time.Minute)
		if s := p.State(); s.Owed != 0 {
			t.Errorf("%d are reckoned with for ever", s.Owed)
		}
	})
}
