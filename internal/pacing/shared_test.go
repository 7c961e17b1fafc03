package pacing_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// sharedWindow is what replicas count in together: every call of the last span,
// exactly. It may be away.
type sharedWindow struct {
	mu    sync.Mutex
	away  bool
	taken []time.Time
	asked int
}

func (s *sharedWindow) Take(_ context.Context, most int, span time.Duration) (wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	now := time.Now()
	for len(s.taken) > 0 && now.Sub(s.taken[0]) >= span {
		s.taken = s.taken[1:]
	}
	switch {
	case s.away:
		return 0, false
	case len(s.taken) >= most:
		return s.taken[len(s.taken)-most].Add(span).Sub(now), true
	}
	s.taken = append(s.taken, now)
	return 0, true
}

func TestReplicasKeepToTheLimitTogether(t *testing.T) {
	for name, row := range map[string]struct {
		replicas int
		away     bool
	}{
		"two":                            {2, false},
		"four":                           {4, false},
		"two whose window is away":       {2, true},
		"one alone whose window is away": {1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUpstream(&upstream{limit: 300, window: time.Second, offset: 300 * time.Millisecond, latency: 50 * time.Millisecond})
				window := &sharedWindow{away: row.away}
				var all sync.WaitGroup
				for range row.replicas {
					p := newPacer(t, pacing.Config{Window: window})
					all.Go(func() { crowd(t, u, p.Logins(), 400/row.replicas, 15*time.Second) })
				}
				all.Wait()
				if u.limited > u.calls/100 {
					t.Errorf("%d of %d calls were limited", u.limited, u.calls)
				}
				if u.calls < 15*200 {
					t.Errorf("%d calls in 15 s", u.calls)
				}
			})
		})
	}
}

// The storm comes to four replicas, to each a part of it, and nobody comes back to
// the one that knows him but by chance.
func TestAStormOnReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 300, window: time.Second, latency: 50 * time.Millisecond})
		window := &sharedWindow{}
		var gates []gate
		for range 4 {
			gates = append(gates, newPacer(t, pacing.Config{Window: window}).Logins())
		}
		out := storm{10_000, 10 * time.Second, exactly}.run(t, u, &spread{gates: gates})
		if out.served != 10_000 || out.took > 45*time.Second || u.limited > u.calls/100 {
			t.Errorf("%d served within %v, %d of %d limited", out.served, out.took, u.limited, u.calls)
		}
		if window.asked > 2*u.calls {
			t.Errorf("asked %d times for %d calls", window.asked, u.calls)
		}
	})
}

// The machine is so busy that the window of all replicas often cannot be asked in
// time.
func TestAStormOnReplicasWhoseWindowComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpstream(&upstream{limit: 300, window: time.Second, latency: 50 * time.Millisecond})
		window := &flickering{began: time.Now()}
		var gates []gate
		for range 2 {
			gates = append(gates, newPacer(t, pacing.Config{Window: window}).Logins())
		}
		out := storm{10_000, 10 * time.Second, exactly}.run(t, u, &spread{gates: gates})
		if out.served != 10_000 || out.took > 60*time.Second || u.limited > u.calls/50 {
			t.Errorf("%d served within %v, %d of %d limited", out.served, out.took, u.limited, u.calls)
		}
	})
}

// flickering is a window that does not answer in time for one second of three.
type flickering struct {
	sharedWindow
	began time.Time
}

func (f *flickering) Take(ctx context.Context, most int, span time.Duration) (time.Duration, bool) {
	if time.Since(f.began)%(3*time.Second) > 2*time.Second {
		<-time.After(100 * time.Millisecond)
		return 0, false
	}
	return f.sharedWindow.Take(ctx, most, span)
}

// spread sends each caller to the next gate, and each attempt's end to its own.
type spread struct {
	mu    sync.Mutex
	gates []gate
	next  int
	in    map[telnyx.CredentialID]gate
}

func (s *spread) Enter(ctx context.Context, about telnyx.CredentialID) error {
	s.mu.Lock()
	s.next++
	g := s.gates[s.next%len(s.gates)]
	s.mu.Unlock()
	err := g.Enter(ctx, about)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == nil {
		s.in = map[telnyx.CredentialID]gate{}
	}
	s.in[about] = g
	return err
}

func (s *spread) Leave(a telnyx.Attempt) {
	s.mu.Lock()
	g := s.in[a.About]
	s.mu.Unlock()
	g.Leave(a)
}

func TestNoRoomForTheBackgroundHoldsUpNoLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		window := &sharedWindow{}
		p := newPacer(t, pacing.Config{Window: window})
		gate := p.Logins()
		enters(t, gate, id(1))
		gate.Leave(telnyx.Attempt{About: id(1), Limit: 100, Remaining: 99, Reset: time.Second})
		for range 60 { // of other replicas
			window.Take(t.Context(), 100, time.Second)
		}
		background := queue(t, p.Background(), id(2))
		enters(t, gate, id(3))
		if in := background(); len(in) != 1 {
			t.Error("the background did not wait for room")
		}
	})
}

// Whoever finds no room among the replicas waits no longer than he would here.
func TestAWindowThatHasNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(t, pacing.Config{Window: full{}})
		gate := p.Logins()
		enters(t, gate, id(1)) // no limit is known yet
		gate.Leave(telnyx.Attempt{About: id(1), Limit: 100, Remaining: 99, Reset: time.Second})
		began := time.Now()
		if err := gate.Enter(t.Context(), id(2)); !errors.Is(err, telnyx.ErrLimited) || time.Since(began) > 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if s := p.State(); s.InFlight != 0 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
	})
}

type full struct{}

func (full) Take(_ context.Context, most int, _ time.Duration) (time.Duration, bool) {
	if most > 1000 { // before a limit is known
		return 0, true
	}
	return 700 * time.Millisecond, true
}
