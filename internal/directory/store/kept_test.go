package store_test

import (
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// What we created bears our name, and a reconciliation would take it for an orphan.
func TestWhatWasKeptByOrderIsNoOrphan(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		kept, deleted := provision(t, s, "main:alice", "a", everyone), provision(t, s, "main:alice", "b", everyone)
		if err := s.Unassign(t.Context(), by, "main:alice", "a", true, anyone); err != nil {
			t.Fatal(err)
		}
		if err := s.Unassign(t.Context(), by, "main:alice", "b", false, anyone); err != nil {
			t.Fatal(err)
		}
		known := must[map[telnyx.CredentialID]store.Known](t)(s.See(t.Context(), 1, []telnyx.CredentialID{kept, deleted}))
		if known[kept] != store.KnownKept || known[deleted] != store.KnownDeleting {
			t.Errorf("known is %v, want the first kept and the second being deleted", known)
		}
		assign(t, s, "main:alice", "a", kept)
		known = must[map[telnyx.CredentialID]store.Known](t)(s.See(t.Context(), 2, []telnyx.CredentialID{kept}))
		if known[kept] != store.KnownRecorded {
			t.Errorf("it is %s, want recorded again", known[kept])
		}
		b.consistent(t)
	})
}
