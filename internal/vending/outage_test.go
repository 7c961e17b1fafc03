package vending_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

const day = 24 * time.Hour

// hanging is a Telnyx that takes requests and answers none.
var hanging = telnyxtest.Fault{Shape: telnyxtest.Hang}

// atOnce fails the test if f takes as long as somebody waits who waits for Telnyx.
func atOnce(t *testing.T, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > 700*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

// until waits until done says so.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestATokenIsRenewedBeforeItIsNeeded(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: day})
	id := s.credential(t)
	first := s.vend(t, id, vending.Minted)
	s.clock.Advance(day * 39 / 100)
	s.vend(t, id, vending.Cached)
	if n := s.telnyx.Requests("token"); n != 1 {
		t.Errorf("%d mints with 61 %% of the life left, want 1", n)
	}
	s.clock.Advance(day * 9 / 100)
	s.vend(t, id, vending.Cached)
	until(t, "a new token", func() bool { return s.vend(t, id, vending.Cached).JWT.Reveal() != first.JWT.Reveal() })
	s.clock.Advance(day * 9 / 100)
	s.vend(t, id, vending.Cached)
	if n := s.telnyx.Requests("token"); n != 2 {
		t.Errorf("%d mints, want 2", n)
	}
}

func TestNobodyWaitsForARenewal(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: day})
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	s.clock.Advance(day * 48 / 100)
	s.telnyx.Inject(hanging)
	atOnce(t, func() {
		for range 100 {
			s.vend(t, id, vending.Cached)
		}
	})
	until(t, "the renewal", func() bool { return s.telnyx.Requests("token") == 2 })
	s.vend(t, id, vending.Cached)
	if n := s.telnyx.Requests("token"); n != 2 {
		t.Errorf("%d mints, want one renewal at a time", n-1)
	}
}

func TestARenewalThatFailsIsNotTriedAtEveryRequest(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: day})
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	s.clock.Advance(day * 48 / 100)
	s.telnyx.Inject(telnyxtest.Fault{Status: 401})
	for try := range int64(3) {
		until(t, "the renewal", func() bool { s.vend(t, id, vending.Cached); return s.mints.Load() == 2+try })
		for range 100 {
			s.vend(t, id, vending.Cached)
		}
		if n := s.telnyx.Requests("token"); n != 2+int(try) {
			t.Errorf("%d renewals, want %d", n-1, 1+try)
		}
		s.clock.Advance(31 * time.Second)
	}
}

func TestAnOutageIsWaitedForOnceAndNotForLong(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: day})
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	s.clock.Advance(day - 10*time.Minute)
	s.telnyx.Inject(hanging)
	began := time.Now()
	if got := s.vend(t, id, vending.Stale); !errors.Is(got.StaleBecause, telnyx.ErrTimeout) {
		t.Errorf("stale because of %v, want telnyx.ErrTimeout", got.StaleBecause)
	}
	if took := time.Since(began); took > 1700*time.Millisecond { // the mint's time-out is 2 s
		t.Errorf("it took %v", took)
	}
	atOnce(t, func() {
		for range 20 {
			s.vend(t, id, vending.Stale)
		}
	})
	if n := s.telnyx.Requests("token"); n != 2 {
		t.Errorf("%d mints in the outage, want 1", n-1)
	}
}

func TestAFailedMintIsTriedAgainSoon(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: day})
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	s.clock.Advance(day - 10*time.Minute)
	s.telnyx.Inject(telnyxtest.Fault{Status: 401})
	s.vend(t, id, vending.Stale)
	s.telnyx.ClearFaults()
	if got := s.vend(t, id, vending.Stale); !errors.Is(got.StaleBecause, telnyx.ErrKeyRejected) {
		t.Errorf("stale because of %v, want what went wrong a moment ago", got.StaleBecause)
	}
	s.clock.Advance(6 * time.Second)
	s.vend(t, id, vending.Minted)
}

func TestAFailureIsNotRememberedAgainstWhoHasNoToken(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: day})
	id := s.credential(t)
	s.telnyx.Inject(telnyxtest.Fault{Status: 401, Times: 1})
	if _, err := s.Vend(t.Context(), id, vending.Ask{}); !errors.Is(err, telnyx.ErrKeyRejected) {
		t.Fatalf("got %v", err)
	}
	s.vend(t, id, vending.Minted)
	s.clock.Advance(day - 4*time.Minute) // too little to fall back on
	s.telnyx.Inject(telnyxtest.Fault{Status: 401, Times: 1})
	if _, err := s.Vend(t.Context(), id, vending.Ask{}); !errors.Is(err, telnyx.ErrKeyRejected) {
		t.Fatalf("got %v", err)
	}
	s.vend(t, id, vending.Minted)
}

func TestNoMoreMayWaitThanThereIsRoomFor(t *testing.T) {
	const room = 4
	s := openWith(t, telnyxtest.Options{TokenLife: day}, vending.Config{MaxWaiting: room})
	fresh, old := s.credential(t), s.credential(t)
	s.vend(t, old, vending.Minted)
	s.clock.Advance(day - 10*time.Minute)
	s.vend(t, fresh, vending.Minted)
	s.telnyx.Inject(hanging)

	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range room {
		id := s.credential(t)
		waiting.Go(func() {
			if _, err := s.Vend(ctx, id, vending.Ask{}); !errors.Is(err, context.Canceled) {
				t.Errorf("who waits got %v, want to have left", err)
			}
		})
	}
	until(t, "all to wait", func() bool { return s.telnyx.Requests("token") == 2+room })
	atOnce(t, func() {
		for range 3 * room {
			if _, err := s.Vend(t.Context(), s.credential(t), vending.Ask{}); !errors.Is(err, vending.ErrBusy) {
				t.Errorf("got %v, want vending.ErrBusy", err)
			}
		}
		s.vend(t, fresh, vending.Cached)
		if got := s.vend(t, old, vending.Stale); !errors.Is(got.StaleBecause, vending.ErrBusy) {
			t.Errorf("stale because of %v, want vending.ErrBusy", got.StaleBecause)
		}
	})
	leave()
	waiting.Wait()
	// Their mints go on without them, and no more are begun.
	if _, err := s.Vend(t.Context(), s.credential(t), vending.Ask{}); !errors.Is(err, vending.ErrBusy) {
		t.Errorf("got %v, want vending.ErrBusy", err)
	}
	if n := s.telnyx.Requests("token"); n != 2+room {
		t.Errorf("%d mints at once, want %d", n-2, room)
	}
	s.telnyx.ClearFaults()
	until(t, "room", func() bool { _, err := s.Vend(t.Context(), s.credential(t), vending.Ask{}); return err == nil })
}

func TestNorMayMoreWaitForOneCredential(t *testing.T) {
	const room = 4
	s := openWith(t, telnyxtest.Options{Latency: 400 * time.Millisecond}, vending.Config{MaxWaiting: room})
	id := s.credential(t)
	var waiting sync.WaitGroup
	var served, busy atomic.Int64
	for range 4 * room {
		waiting.Go(func() {
			switch _, err := s.Vend(t.Context(), id, vending.Ask{}); {
			case err == nil:
				served.Add(1)
			case errors.Is(err, vending.ErrBusy):
				busy.Add(1)
			}
		})
	}
	waiting.Wait()
	if served.Load() != room || busy.Load() != 3*room {
		t.Errorf("%d served, %d sent away; want %d and %d", served.Load(), busy.Load(), room, 3*room)
	}
}

// Nobody waits for a renewal, so what it meets is nobody's trouble: the token is as
// good as before until somebody needs another.
func TestARenewalThatIsRefusedTakesNoGoodTokenAway(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: 24 * time.Hour})
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	s.clock.Advance(11*time.Hour + 30*time.Minute) // due, and good
	s.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: 404})
	s.vend(t, id, vending.Cached)
	until(t, "a renewal refused", func() bool { return s.mints.Load() == 2 })
	s.vend(t, id, vending.Cached)
	s.clock.Advance(time.Hour) // short of life
	if _, err := s.Vend(t.Context(), id, vending.Ask{}); !errors.Is(err, telnyx.ErrCredentialRejected) {
		t.Errorf("got %v, want Telnyx's refusal of the credential", err)
	}
}
