package store_test

import (
	"errors"
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

// Whoever gave it out last: it bears our name all the same.
func TestWhatWeMadeIsNoOrphanWhereverItIsTakenFrom(t *testing.T) {
	for says, take := range map[string]func(t *testing.T, s *store.Store){
		"taken away": func(t *testing.T, s *store.Store) {
			if err := s.Unassign(t.Context(), by, "main:bob", "b", true, anyone); err != nil {
				t.Fatal(err)
			}
		},
		"the user removed": func(t *testing.T, s *store.Store) {
			if err := s.Remove(t.Context(), by, "main:bob", true, anyone); err != nil {
				t.Fatal(err)
			}
		},
		"replaced": func(t *testing.T, s *store.Store) { assign(t, s, "main:bob", "b", newID()) },
		"replaced by an import": func(t *testing.T, s *store.Store) {
			words, err := importing(t, s, store.ImportEach, true, 1, []store.Row{{User: "main:bob", Device: "b", Credential: newID()}})
			if words[0] != "updated" || err != nil {
				t.Fatal(words, err)
			}
		},
		"makes room": func(t *testing.T, s *store.Store) {
			provision(t, s, "main:bob", "c", store.Limits{MaxDevices: 1, Replace: true})
		},
	} {
		t.Run(says, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *books) {
				s := b.open(t)
				id := provision(t, s, "main:alice", "a", everyone)
				if err := s.Unassign(t.Context(), by, "main:alice", "a", true, anyone); err != nil {
					t.Fatal(err)
				}
				put(t, s, "main:bob", "")
				assign(t, s, "main:bob", "b", id)
				take(t, s)
				if got := known(t, s, id); got != store.KnownKept {
					t.Errorf("it is %s, want kept", got)
				}
				words, err := importing(t, s, store.ImportEach, true, 1, []store.Row{{User: "main:dora", Device: "d", Credential: id}})
				if got := known(t, s, id); got != store.KnownRecorded || words[0] != "created" || err != nil {
					t.Errorf("imported it is %s, %v, %v", got, words, err)
				}
				if n := b.number(t, `SELECT count(*) FROM kept WHERE credential_id = $1`, id.String()); n != 0 {
					t.Error("what is somebody's again is still kept")
				}
				b.consistent(t)
			})
		})
	}
}

// It stays at Telnyx under the name that a login looks for. Somebody took it from
// whoever had it, and only somebody may give it to anybody.
func TestALoginNeitherTakesNorDeletesWhatWasKept(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		id := provision(t, s, "main:alice", "a", everyone)
		if err := s.Remove(t.Context(), by, "main:alice", true, anyone); err != nil {
			t.Fatal(err)
		}
		i := intent("main:alice", "a", "me")
		must[store.Credential](t)(s.Begin(t.Context(), i, everyone, hold))
		for _, adopted := range []bool{true, false} {
			if has, err := s.Record(t.Context(), by, i, store.Made{ID: id, Adopted: adopted}, everyone); !errors.Is(err, store.ErrTaken) {
				t.Errorf("a login records it, adopted is %v: %v, %v", adopted, has.ID, err)
			}
		}
		if err := s.QueueDeletion(t.Context(), by, id, "made twice"); !errors.Is(err, store.ErrTaken) {
			t.Errorf("a login has it deleted: %v", err)
		}
		if got := known(t, s, id); got != store.KnownKept {
			t.Errorf("it is %s, want kept", got)
		}
		another := newID()
		if has, err := s.Record(t.Context(), by, i, store.Made{ID: another}, everyone); err != nil || has.ID != another {
			t.Errorf("the login gets %v, %v, want another", has.ID, err)
		}
		assign(t, s, "main:alice", "b", id)
		b.consistent(t)
	})
}

// Nor when the login is not let in.
func TestWhatWasKeptIsNotDiscarded(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		id := provision(t, s, "main:alice", "a", everyone)
		if err := s.Unassign(t.Context(), by, "main:alice", "a", true, anyone); err != nil {
			t.Fatal(err)
		}
		i := intent("main:alice", "a", "me")
		must[store.Credential](t)(s.Begin(t.Context(), i, everyone, hold))
		if err := disable(t, s, "main:alice"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Record(t.Context(), by, i, store.Made{ID: id, Adopted: true}, everyone); !errors.Is(err, store.ErrTaken) {
			t.Error(err)
		}
		if got := known(t, s, id); got != store.KnownKept {
			t.Errorf("it is %s, want kept", got)
		}
		b.consistent(t)
	})
}

func TestWhatIsDeletedIsNotKept(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		id := provision(t, s, "main:alice", "a", everyone)
		if err := s.Unassign(t.Context(), by, "main:alice", "a", true, anyone); err != nil {
			t.Fatal(err)
		}
		if err := s.Deleted(t.Context(), by, id, ""); err != nil {
			t.Fatal(err)
		}
		if got := known(t, s, id); got != store.KnownAbsent {
			t.Errorf("it is %s, want absent", got)
		}
	})
}

func known(t *testing.T, s *store.Store, id telnyx.CredentialID) store.Known {
	t.Helper()
	return must[map[telnyx.CredentialID]store.Known](t)(s.See(t.Context(), 1, []telnyx.CredentialID{id}))[id]
}
