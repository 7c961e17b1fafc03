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

// way is a way to Telnyx on which mints are counted.
type way struct {
	minter interface {
		Mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error)
	}
	mints atomic.Int64
}

func (w *way) Mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error) {
	w.mints.Add(1)
	return w.minter.Mint(ctx, id)
}

// What nobody waits for goes another way to Telnyx, on which it comes last.
func TestRenewalsGoTheBackgroundsWay(t *testing.T) {
	clock := &clock{start: time.Now()}
	server := telnyxtest.StartT(t, telnyxtest.Options{TokenLife: 24 * time.Hour, Now: clock.Now})
	background := &way{}
	s := openShop(t, clock, server, vending.Config{Background: background})
	background.minter = s.client
	id := s.credential(t)
	s.vend(t, id, vending.Minted)
	if _, err := s.Vend(t.Context(), id, vending.Ask{Fresh: true}); err != nil {
		t.Fatal(err)
	}
	if n := background.mints.Load(); n != 0 {
		t.Errorf("%d of the mints that somebody waited for went the background's way", n)
	}
	s.clock.Advance(11*time.Hour + 30*time.Minute)
	s.vend(t, id, vending.Cached)
	until(t, "a renewal", func() bool { return s.mints.Load() == 3 })
	if n := background.mints.Load(); n != 1 {
		t.Errorf("%d renewals went the background's way, want 1", n)
	}
}
