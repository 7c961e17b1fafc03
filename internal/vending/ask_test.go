package vending_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

func TestWhoAsksForAFreshTokenGetsOneThatTelnyxMakesNow(t *testing.T) {
	s := open(t, telnyxtest.Options{})
	id := s.credential(t)
	first := s.vend(t, id, vending.Minted)
	second, err := s.Vend(t.Context(), id, vending.Ask{Fresh: true})
	if err != nil || second.Source != vending.Minted || second.JWT.Reveal() == first.JWT.Reveal() {
		t.Errorf("from %q, %v; want another token", second.Source, err)
	}
	if kept := s.vend(t, id, vending.Cached); kept.JWT.Reveal() != second.JWT.Reveal() {
		t.Error("the next caller gets the token before")
	}
}

// Whoever asks so may hold the kept token already, and have been refused with it.
func TestNoOldTokenStandsInForAFreshOne(t *testing.T) {
	s := open(t, telnyxtest.Options{})
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	s.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: 503})
	if got, err := s.Vend(t.Context(), id, vending.Ask{Fresh: true}); !errors.Is(err, telnyx.ErrUnavailable) {
		t.Errorf("from %q, %v; want Telnyx's error", got.Source, err)
	}
	s.vend(t, id, vending.Cached)
}

func TestWhoAsksForFreshTokensAtOnceSharesOne(t *testing.T) {
	s := open(t, telnyxtest.Options{Latency: 300 * time.Millisecond})
	id := s.credential(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := s.Vend(t.Context(), id, vending.Ask{Fresh: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.mints.Load(); n != 1 {
		t.Errorf("%d mints, want 1", n)
	}
}

func TestWithoutACacheEveryTokenIsMintedForWhoAsks(t *testing.T) {
	s := openWith(t, telnyxtest.Options{}, vending.Config{KeepNothing: true})
	id := s.credential(t)
	first, second := s.vend(t, id, vending.Minted), s.vend(t, id, vending.Minted)
	if first.JWT.Reveal() == second.JWT.Reveal() {
		t.Error("two callers got one token")
	}
	s.Forget(t.Context(), id) // there is nothing to forget
	s.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: 503})
	if _, err := s.Vend(t.Context(), id, vending.Ask{}); !errors.Is(err, telnyx.ErrUnavailable) {
		t.Errorf("%v, want Telnyx's error", err)
	}
}
