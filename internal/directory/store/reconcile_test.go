package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func TestWhatIsKnownOfWhatIsAtTelnyx(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		seen, unseen, late := provision(t, s, "main:alice", "a", everyone), provision(t, s, "main:alice", "b", everyone), provision(t, s, "main:bob", "c", everyone)
		deleting, absent := orphans(t, s, 1)[0], newID()
		b.exec(t, `UPDATE credentials SET created_at = 1000`)
		b.exec(t, `UPDATE credentials SET created_at = 2000 WHERE credential_id = $1`, late.String())

		got := must[map[telnyx.CredentialID]store.Known](t)(s.See(t.Context(), 7, []telnyx.CredentialID{seen, deleting, absent}))
		want := map[telnyx.CredentialID]store.Known{seen: store.KnownRecorded, deleting: store.KnownDeleting, absent: store.KnownAbsent}
		if !maps.Equal(got, want) {
			t.Errorf("known is %v, want %v", got, want)
		}
		if none, err := s.See(t.Context(), 7, nil); err != nil || len(none) != 0 {
			t.Errorf("of none: %v, %v", none, err)
		}
		for _, row := range []struct {
			says  string
			run   int64
			until int64
			after telnyx.CredentialID
			limit int
			want  []telnyx.CredentialID
		}{
			{"what was not seen", 7, 2000, telnyx.CredentialID{}, 0, []telnyx.CredentialID{unseen}},
			{"and was there at that time", 7, 2001, telnyx.CredentialID{}, 0, []telnyx.CredentialID{unseen, late}},
			{"so many", 7, 2001, telnyx.CredentialID{}, 1, []telnyx.CredentialID{unseen}},
			{"and the rest", 7, 2001, unseen, 1, []telnyx.CredentialID{late}},
			{"by another", 8, 2000, telnyx.CredentialID{}, 0, []telnyx.CredentialID{seen, unseen}},
		} {
			all := must[[]store.Credential](t)(s.Unseen(t.Context(), row.run, time.UnixMilli(row.until), row.after, row.limit))
			if got := idsOf(all); !slices.Equal(got, row.want) {
				t.Errorf("%s: %v, want %v", row.says, got, row.want)
			}
		}
		if _, err := s.See(t.Context(), 7, make([]telnyx.CredentialID, store.MaxPage+1)); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("more than a page: %v", err)
		}
		b.consistent(t)
	})
}

func idsOf(all []store.Credential) (ids []telnyx.CredentialID) {
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestWhatExpires(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		record := func(user string, device directory.Device, expires time.Time) telnyx.CredentialID {
			i, id := intent(user, device, "me"), newID()
			must[store.Credential](t)(s.Begin(t.Context(), i, everyone, hold))
			must[store.Credential](t)(s.Record(t.Context(), by, i, store.Made{ID: id, ExpiresAt: expires}, everyone))
			return id
		}
		soon, past := record("main:alice", "a", now.Add(time.Hour)), record("main:alice", "b", now.Add(-time.Hour))
		record("main:alice", "c", now.Add(3*time.Hour))
		record("main:alice", "never", time.Time{})
		record("main:bob", "a", now.Add(time.Hour))
		must[store.User](t)(s.Disable(t.Context(), by, "main:bob", store.Match{}))
		must2[store.Credential, bool](t)(s.Assign(t.Context(), by, "main:alice", "d", store.Assignment{ID: newID(), ExpiresAt: now}, store.Match{}))

		expiring := func(limit int) []telnyx.CredentialID {
			return idsOf(must[[]store.Credential](t)(s.Expiring(t.Context(), now.Add(2*time.Hour), limit)))
		}
		if got, want := expiring(0), []telnyx.CredentialID{past, soon}; !slices.Equal(got, want) {
			t.Errorf("expiring are %v, want %v", got, want)
		}
		if got := expiring(1); !slices.Equal(got, []telnyx.CredentialID{past}) {
			t.Errorf("the soonest is %v, want %v", got, past)
		}
		before := must[store.User](t)(s.User(t.Context(), "main:alice")).Version
		for range 2 {
			if err := s.Renewed(t.Context(), by, soon, now.Add(24*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if got := must[store.User](t)(s.User(t.Context(), "main:alice")).Version; got != before+1 {
			t.Errorf("her version is %d, want %d", got, before+1)
		}
		if got := must[store.Credential](t)(s.Credential(t.Context(), soon)).ExpiresAt; !got.Equal(now.Add(24 * time.Hour)) {
			t.Errorf("it expires at %v", got)
		}
		if err := s.Renewed(t.Context(), by, newID(), now); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("nobody's is renewed: %v", err)
		}
		b.consistent(t)
	})
}

// Whoever locks several rows must not wait for somebody who waits for them. A
// deadlock would be an error of one of them.
func TestReplicasWriteAboutTheSameCredentialsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		replicas := []*store.Store{b.open(t), b.open(t)}
		var ids []telnyx.CredentialID
		for n := range 40 {
			ids = append(ids, provision(t, replicas[0], fmt.Sprintf("main:u%d", n%8), directory.Device(fmt.Sprint("d", n/8)), everyone))
		}
		var all sync.WaitGroup
		for n, s := range replicas {
			all.Go(func() {
				mine := slices.Clone(ids)
				if n == 1 {
					slices.Reverse(mine)
				}
				for round := range 30 {
					for _, id := range mine {
						s.Vended(id, time.UnixMilli(int64(1000*round)))
					}
					if err := store.FlushVended(t.Context(), s); err != nil {
						t.Error(err)
					}
					if _, err := s.See(t.Context(), int64(round), mine); err != nil {
						t.Error(err)
					}
				}
			})
			all.Go(func() {
				for user := range 8 {
					if user%2 == n {
						if _, err := s.Disable(t.Context(), by, fmt.Sprintf("main:u%d", user), store.Match{}); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		b.consistent(t)
	})
}

func TestManyVendingsAreWrittenDown(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		id := provision(t, s, "main:alice", "desk", everyone)
		s.Vended(id, time.UnixMilli(5000))
		for n := range int64(120_000) { // more than are kept
			s.Vended(idOf(1_000_000+n), time.UnixMilli(5000))
		}
		began := time.Now()
		if err := store.FlushVended(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		t.Logf("written down in %v", time.Since(began))
		if got := must[store.Credential](t)(s.Credential(t.Context(), id)).VendedAt; got.UnixMilli() != 5000 {
			t.Errorf("vended at %v", got)
		}
		// What was written down is not written again.
		b.exec(t, `UPDATE credentials SET vended_at = 0`)
		if err := store.FlushVended(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := must[store.Credential](t)(s.Credential(t.Context(), id)).VendedAt; !got.IsZero() {
			t.Errorf("vended at %v", got)
		}
		b.consistent(t)
	})
}
