package vending_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// A caller counts once, however often what is kept is looked at for them.
func TestTheStockCountsCallers(t *testing.T) {
	s := open(t, telnyxtest.Options{})
	alice, bob := s.credential(t), s.credential(t)
	for _, ask := range []struct {
		id    telnyx.CredentialID
		fresh bool
	}{{alice, false}, {bob, false}, {alice, false}, {alice, false}, {alice, true}} {
		if _, err := s.Vend(t.Context(), ask.id, vending.Ask{Fresh: ask.fresh}); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Stock()
	if got.Bytes < 1000 {
		t.Errorf("%d bytes are kept, want two tokens' worth", got.Bytes)
	}
	want := vending.Stock{Tokens: 2, Hits: 2, Misses: 2} // who wants a fresh one does not look
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(vending.Stock{}, "Bytes")); diff != "" {
		t.Errorf("wanted (-), counted (+):\n%s", diff)
	}
}
