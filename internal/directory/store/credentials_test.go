package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func TestASIPIdentityIsOnePersons(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		hers, gone, free := newID(), newID(), newID()
		for _, name := range []string{"alice", "bob", "carol"} {
			put(t, s, "main:"+name, "")
		}
		assign(t, s, "main:alice", "default", hers)
		assign(t, s, "main:alice", "old", gone)
		if err := s.Unassign(t.Context(), by, "main:alice", "old", false, anyone); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Disable(t.Context(), by, "main:carol", anyone); err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct {
			says    string
			user    string
			device  directory.Device
			id      telnyx.CredentialID
			want    string
			created bool
		}{
			{"what is hers is hers", "main:alice", "default", hers, "ok", false},
			{"but not her other device's", "main:alice", "mobile", hers, "taken", false},
			{"nor anybody else's", "main:bob", "default", hers, "taken", false},
			{"what is being deleted is nobody's", "main:bob", "default", gone, "deleting", false},
			{"nor again hers whose it was", "main:alice", "old", gone, "deleting", false},
			{"a disabled user gets none", "main:carol", "default", free, "disabled", false},
			{"not even one that is somebody's", "main:carol", "default", hers, "disabled", false},
			{"a stranger gets none", "main:mallory", "default", free, "not found", false},
			{"what is nobody's may be anybody's", "main:bob", "default", free, "ok", true},
			{"and then is nobody else's", "main:alice", "default", free, "taken", false},
			{"nothing is no credential", "main:bob", "default", telnyx.CredentialID{}, "invalid", false},
			{"nobody's device", "main:bob", "", newID(), "invalid", false},
			{"what is no device", "main:bob", "A/B", newID(), "invalid", false},
		} {
			_, created, err := s.Assign(t.Context(), by, row.user, row.device, store.Assignment{ID: row.id}, anyone)
			if got := word(err); got != row.want || created != row.created {
				t.Errorf("%s: %v, created: %v, want %s, %v", row.says, err, created, row.want, row.created)
			}
		}
		if got := has(t, s, "main:alice", "default"); got != hers.String() {
			t.Errorf("after all that alice has %s, want %s", got, hers)
		}
	})
}

func TestWhatADeviceHadBefore(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		put(t, s, "main:alice", "")
		known, ours, new := newID(), newID(), newID()
		assign(t, s, "main:alice", "default", known)
		assign(t, s, "main:alice", "default", ours)
		if n := counts(t, s).Deletions; n != 0 {
			t.Errorf("what somebody knew of is forgotten, but %d are to be deleted", n)
		}
		b.exec(t, `UPDATE credentials SET provisioned = 1`)
		assign(t, s, "main:alice", "default", new)
		if n := b.number(t, `SELECT count(*) FROM deletions WHERE credential_id = $1 AND user_key = 'main:alice' AND device = 'default' AND since > 0`,
			ours.String()); n != 1 {
			t.Error("what we created is not to be deleted")
		}
		want := "user_created, credential_assigned default, credential_released default (kept at Telnyx), credential_assigned default, " +
			"credential_released default, credential_assigned default"
		if got := story(t, s, "main:alice"); got != want {
			t.Errorf("the story is\n%s, want\n%s", got, want)
		}
		b.consistent(t)
	})
}

func TestAnAssignmentThatKnowsMore(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		id := newID()
		put(t, s, "main:alice", "")
		assign(t, s, "main:alice", "default", id)
		expires := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, row := range []struct {
			says        string
			sipUsername string
			expires     time.Time
			event       bool
			want        store.Assignment
		}{
			{"a user name", "gencred1", time.Time{}, true, store.Assignment{ID: id, SIPUsername: "gencred1"}},
			{"nothing more", "gencred1", time.Time{}, false, store.Assignment{ID: id, SIPUsername: "gencred1"}},
			{"nothing at all leaves what is known", "", time.Time{}, false, store.Assignment{ID: id, SIPUsername: "gencred1"}},
			{"an end", "", expires, true, store.Assignment{ID: id, SIPUsername: "gencred1", ExpiresAt: expires}},
			{"another user name", "gencred2", expires, true, store.Assignment{ID: id, SIPUsername: "gencred2", ExpiresAt: expires}},
		} {
			before := must[store.User](t)(s.User(t.Context(), "main:alice")).Version
			got, created, err := s.Assign(t.Context(), by, "main:alice", "default", store.Assignment{ID: id, SIPUsername: row.sipUsername, ExpiresAt: row.expires}, anyone)
			if err != nil || created {
				t.Errorf("%s: created: %v, %v", row.says, created, err)
			}
			u := must[store.User](t)(s.User(t.Context(), "main:alice"))
			is := u.Credentials[0]
			if is != got || (store.Assignment{ID: is.ID, SIPUsername: is.SIPUsername, ExpiresAt: is.ExpiresAt}) != row.want {
				t.Errorf("%s: it is %+v, said to be %+v, want %+v", row.says, is, got, row.want)
			}
			if (u.Version > before) != row.event {
				t.Errorf("%s: version %d, was %d", row.says, u.Version, before)
			}
		}
		_, _, err := s.Assign(t.Context(), by, "main:alice", "default", store.Assignment{ID: id, SIPUsername: strings.Repeat("x", 257)}, anyone)
		if word(err) != "invalid" {
			t.Errorf("an endless user name: %v", err)
		}
	})
}

func TestUnassigning(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		put(t, s, "main:alice", "")
		kept, deleted := newID(), newID()
		assign(t, s, "main:alice", "kept", kept)
		assign(t, s, "main:alice", "deleted", deleted)
		before := must[store.User](t)(s.User(t.Context(), "main:alice")).Version
		for _, row := range []struct {
			device directory.Device
			keep   bool
			want   string
		}{{"kept", true, "ok"}, {"kept", true, "not found"}, {"deleted", false, "ok"}, {"deleted", false, "not found"}, {"", false, "not found"}} {
			if got := word(s.Unassign(t.Context(), by, "main:alice", row.device, row.keep, anyone)); got != row.want {
				t.Errorf("%+v: %s", row, got)
			}
		}
		if c := counts(t, s); c.Deletions != 1 || c.Credentials != 0 || c.OldestDeletion.IsZero() {
			t.Errorf("there are %+v", c)
		}
		if u := must[store.User](t)(s.User(t.Context(), "main:alice")); u.Version != before+2 {
			t.Errorf("her version is %d, was %d", u.Version, before)
		}
	})
}
