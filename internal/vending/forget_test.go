package vending_test

import (
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

func TestAForgottenTokenIsNotHandedOutAgain(t *testing.T) {
	s := open(t, telnyxtest.Options{TokenLife: day})
	gone, other := s.credential(t), s.credential(t)
	s.vend(t, gone, vending.Minted)
	s.vend(t, other, vending.Minted)
	s.Forget(t.Context(), gone)
	s.vend(t, gone, vending.Minted)
	s.vend(t, other, vending.Cached)
}

func TestATokenThatIsForgottenWhileItIsMintedIsNotKept(t *testing.T) {
	s := open(t, telnyxtest.Options{Latency: 300 * time.Millisecond})
	id := s.credential(t)
	minted := make(chan error)
	go func() { _, err := s.Vend(t.Context(), id, vending.Ask{}); minted <- err }()
	until(t, "the mint", func() bool { return s.telnyx.Requests("token") == 1 })
	s.Forget(t.Context(), id)
	if err := <-minted; err != nil { // who was there before is served
		t.Fatal(err)
	}
	s.clock.Advance(time.Millisecond)
	s.vend(t, id, vending.Minted)
	s.vend(t, id, vending.Cached) // somebody has it again
}
