package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const hold = time.Minute

var everyone = store.Limits{CreateUsers: true, MaxDevices: 5}

func intent(user string, device directory.Device, holder string) store.Intent {
	return store.Intent{Name: "tokensvc:" + user + "/" + string(device), User: user, Device: device, Holder: holder}
}

// provision gives a user's device a credential, as a login does.
func provision(t *testing.T, s *store.Store, user string, device directory.Device, l store.Limits) telnyx.CredentialID {
	t.Helper()
	i, id := intent(user, device, "provision"), newID()
	if has := must[store.Credential](t)(s.Begin(t.Context(), i, l, hold)); !has.ID.IsZero() {
		t.Fatalf("%s has one already", i.Name)
	}
	must[store.Credential](t)(s.Record(t.Context(), by, i, store.Made{ID: id}, l))
	return id
}

// story tells what was done to a user, in words.
func story(t *testing.T, s *store.Store, user string) string {
	t.Helper()
	var told []string
	for _, e := range must[[]store.Event](t)(s.Events(t.Context(), store.EventList{User: user, Limit: store.MaxPage})) {
		words := string(e.Action)
		if e.Device != "" {
			words += " " + string(e.Device)
		}
		if e.Detail != "" {
			words += " (" + e.Detail + ")"
		}
		told = append(told, words)
	}
	slices.Reverse(told)
	return strings.Join(told, ", ")
}

func TestOfManyWhoBeginOneGetsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		replicas := []*store.Store{b.open(t), b.open(t)}
		answers := make(chan error, 50)
		var callers sync.WaitGroup
		for n := range cap(answers) {
			callers.Go(func() {
				has, err := replicas[n%2].Begin(t.Context(), intent("main:alice", "default", fmt.Sprint(n)), everyone, hold)
				if err == nil && !has.ID.IsZero() {
					err = errors.New("she has one")
				}
				answers <- err
			})
		}
		callers.Wait()
		close(answers)
		got := 0
		for err := range answers {
			switch {
			case err == nil:
				got++
			case !errors.Is(err, store.ErrHeld):
				t.Errorf("somebody is told %v", err)
			}
		}
		if got != 1 {
			t.Errorf("%d got it, want 1", got)
		}
	})
}

func TestWhoMayBegin(t *testing.T) {
	listed := store.Limits{MaxDevices: 2}
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		for _, user := range []string{"main:alice", "main:bob", "main:carol"} {
			must2[store.User, bool](t)(s.PutUser(t.Context(), by, user, "", store.Match{}))
		}
		has := provision(t, s, "main:bob", "default", listed)
		provision(t, s, "main:bob", "desk", listed)
		must[store.User](t)(s.Disable(t.Context(), by, "main:carol", store.Match{}))
		must[store.Credential](t)(s.Begin(t.Context(), intent("main:alice", "busy", "another"), listed, hold))
		replace := store.Limits{MaxDevices: 2, Replace: true}
		unused := store.Limits{MaxDevices: 2, Replace: true, ReplaceUnusedFor: time.Minute}
		for _, row := range []struct {
			says   string
			user   string
			device directory.Device
			limits store.Limits
			want   any
		}{
			{"a user of the books", "main:alice", "default", listed, telnyx.CredentialID{}},
			{"a stranger, where only those who are listed get one", "main:mallory", "default", listed, directory.ErrNoCredential},
			{"a stranger, where everyone does", "main:zoe", "default", everyone, telnyx.CredentialID{}},
			{"a disabled user", "main:carol", "default", everyone, directory.ErrDisabled},
			{"a device that has one", "main:bob", "default", listed, has},
			{"a device too many", "main:bob", "mobile", listed, directory.ErrTooManyDevices},
			{"a device too many, where one makes room", "main:bob", "mobile", replace, telnyx.CredentialID{}},
			{"a device too many, where only what is long unused makes room", "main:bob", "mobile", unused, directory.ErrTooManyDevices},
			{"any number of devices", "main:bob", "tablet", store.Limits{}, telnyx.CredentialID{}},
			{"what another has begun", "main:alice", "busy", listed, store.ErrHeld},
			{"a key that can be nobody's", "main:\x00", "default", everyone, directory.ErrNoCredential},
			{"no key", "", "default", everyone, directory.ErrNoCredential},
			{"no device", "main:alice", "A/B", everyone, directory.ErrNoCredential},
		} {
			got, err := s.Begin(t.Context(), intent(row.user, row.device, "me"), row.limits, hold)
			if want, isErr := row.want.(error); isErr && !errors.Is(err, want) || !isErr && (err != nil || got.ID != row.want) {
				t.Errorf("%s: %v, %v, want %v", row.says, got.ID, err, row.want)
			}
		}
		b.consistent(t)
	})
}

func TestAHolderWhoDiedIsFollowedAfterItsHold(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s, other := b.open(t), b.open(t)
		dead, next := intent("main:alice", "default", "dead"), intent("main:alice", "default", "next")
		must[store.Credential](t)(s.Begin(t.Context(), dead, everyone, hold))
		b.elapse(t, hold-time.Second*10)
		if _, err := other.Begin(t.Context(), next, everyone, hold); !errors.Is(err, store.ErrHeld) {
			t.Fatalf("while it is held: %v", err)
		}
		b.elapse(t, 11*time.Second)
		must[store.Credential](t)(other.Begin(t.Context(), next, everyone, hold))

		// The dead one was only slow. What it says changes nothing for the other.
		if err := s.Abandon(t.Context(), dead, false); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(t.Context(), dead, everyone, hold); !errors.Is(err, store.ErrHeld) {
			t.Fatalf("held by the next: %v", err)
		}
		first := must[store.Credential](t)(s.Record(t.Context(), by, dead, store.Made{ID: newID(), SIPUsername: "gencred1"}, everyone))
		second := must[store.Credential](t)(other.Record(t.Context(), by, next, store.Made{ID: newID()}, everyone))
		if second != first {
			t.Errorf("the second is given %+v, want %+v", second, first)
		}
		if want := "user_created, credential_created default, credential_released default (the device has one already)"; story(t, s, "main:alice") != want {
			t.Errorf("it reads %s, want %s", story(t, s, "main:alice"), want)
		}
		if n := must[store.Counts](t)(s.Counts(t.Context())).Deletions; n != 1 {
			t.Errorf("%d deletions, want 1", n)
		}
		b.consistent(t)
	})
}

func TestWhatAnAbandonedIntentLeaves(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		certain, uncertain, held := intent("main:alice", "a", "me"), intent("main:alice", "b", "me"), intent("main:alice", "c", "me")
		for _, i := range []store.Intent{certain, uncertain, held} {
			must[store.Credential](t)(s.Begin(t.Context(), i, everyone, hold))
		}
		if err := errors.Join(s.Abandon(t.Context(), certain, false), s.Abandon(t.Context(), uncertain, true)); err != nil {
			t.Fatal(err)
		}
		left := must[map[string]store.Intent](t)(s.Intents(t.Context(), []string{certain.Name, uncertain.Name, held.Name, "'", ""}))
		if _, there := left[certain.Name]; there || len(left) != 2 || left[uncertain.Name].Held || !left[held.Name].Held {
			t.Errorf("left are %+v", left)
		}
		if began := left[held.Name].BeganAt; time.Since(began).Abs() > time.Minute {
			t.Errorf("it began at %v", began)
		}
		for _, i := range []store.Intent{certain, uncertain} {
			must[store.Credential](t)(s.Begin(t.Context(), i, everyone, hold))
		}
		if none, err := s.Intents(t.Context(), nil); err != nil || len(none) != 0 {
			t.Errorf("of no names: %v, %v", none, err)
		}
		if _, err := s.Intents(t.Context(), make([]string, store.MaxPage+1)); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("of too many names: %v", err)
		}
	})
}

func must2[T, U any](t *testing.T) func(T, U, error) T {
	t.Helper()
	return func(value T, _ U, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestTwoDevicesAtOnceAreNotOneTooMany(t *testing.T) {
	limits := store.Limits{CreateUsers: true, MaxDevices: 3}
	onBoth(t, func(t *testing.T, b *books) {
		replicas := []*store.Store{b.open(t), b.open(t)}
		var logins sync.WaitGroup
		var mu sync.Mutex
		refused := 0
		for n := range 10 {
			logins.Go(func() {
				s, i := replicas[n%2], intent("main:alice", directory.Device(fmt.Sprintf("d%d", n)), fmt.Sprint(n))
				_, err := s.Begin(t.Context(), i, limits, hold)
				if err == nil {
					_, err = s.Record(t.Context(), by, i, store.Made{ID: newID()}, limits)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, directory.ErrTooManyDevices):
					refused++
				case err != nil:
					t.Error(err)
				}
			})
		}
		logins.Wait()
		u := must[store.User](t)(replicas[0].User(t.Context(), "main:alice"))
		if len(u.Credentials) != 3 || refused != 7 {
			t.Errorf("she has %d, and %d were refused, want 3 and 7", len(u.Credentials), refused)
		}
		b.consistent(t)
	})
}

// recording is a user with an intent, about to be recorded.
func recording(t *testing.T, s *store.Store, l store.Limits) store.Intent {
	t.Helper()
	i := intent("main:alice", "desk", "me")
	must[store.Credential](t)(s.Begin(t.Context(), i, l, hold))
	return i
}

func TestWhatBecomesOfWhatWasMade(t *testing.T) {
	two, replace := store.Limits{CreateUsers: true, MaxDevices: 2}, store.Limits{CreateUsers: true, MaxDevices: 2, Replace: true}
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	made := store.Made{ID: idOf(900), SIPUsername: "gencred900", UsableAt: future, ExpiresAt: future.Add(time.Hour)}
	assign := func(t *testing.T, s *store.Store, user string, device directory.Device, a store.Assignment) {
		must2[store.User, bool](t)(s.PutUser(t.Context(), by, user, "", store.Match{}))
		must2[store.Credential, bool](t)(s.Assign(t.Context(), by, user, device, a, store.Match{}))
	}
	disable := func(t *testing.T, s *store.Store) {
		must2[store.User, bool](t)(s.PutUser(t.Context(), by, "main:alice", "", store.Match{}))
		must[store.User](t)(s.Disable(t.Context(), by, "main:alice", store.Match{}))
	}
	for _, row := range []struct {
		says      string
		meanwhile func(t *testing.T, s *store.Store)
		limits    store.Limits
		has       telnyx.CredentialID // what the device has then, as the caller is told
		err       error
		deletes   []telnyx.CredentialID
		story     string // the end of it
	}{
		{"it is the device's", nil, two, made.ID, nil, nil, "user_created, credential_created desk"},
		{
			"the user was disabled meanwhile", disable, two, telnyx.CredentialID{}, directory.ErrDisabled,
			[]telnyx.CredentialID{made.ID}, "user_disabled, credential_released desk (the user is disabled)",
		},
		{
			"the user is not in the books, and may not be", nil, store.Limits{MaxDevices: 2}, telnyx.CredentialID{}, directory.ErrNoCredential,
			[]telnyx.CredentialID{made.ID}, "credential_released desk (no telephony credential)",
		},
		{"the device was given one meanwhile", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:alice", "desk", store.Assignment{ID: idOf(901)})
		}, two, idOf(901), nil, []telnyx.CredentialID{made.ID}, "credential_released desk (the device has one already)"},
		{"the one it had has expired", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:alice", "desk", store.Assignment{ID: idOf(902), ExpiresAt: past})
		}, two, made.ID, nil, []telnyx.CredentialID{idOf(902)}, "credential_released desk (has expired), credential_created desk"},
		{"the one it had was renewed and nobody said so", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:alice", "desk", store.Assignment{ID: made.ID, ExpiresAt: past})
		}, two, made.ID, nil, nil, "credential_assigned desk, credential_renewed desk"},
		{"it is another user's", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:bob", "desk", store.Assignment{ID: made.ID})
		}, two, telnyx.CredentialID{}, store.ErrTaken, nil, ""},
		{"it is another device's", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:alice", "mobile", store.Assignment{ID: made.ID})
		}, two, telnyx.CredentialID{}, store.ErrTaken, nil, "credential_assigned mobile"},
		{"it is about to be deleted", func(t *testing.T, s *store.Store) {
			if err := s.QueueDeletion(t.Context(), by, made.ID, "an orphan"); err != nil {
				t.Fatal(err)
			}
		}, two, telnyx.CredentialID{}, store.ErrDeleting, []telnyx.CredentialID{made.ID}, ""},
		{"other devices came first", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:alice", "a", store.Assignment{ID: idOf(903)})
			assign(t, s, "main:alice", "b", store.Assignment{ID: idOf(904)})
		}, two, telnyx.CredentialID{}, directory.ErrTooManyDevices, []telnyx.CredentialID{made.ID}, "credential_released desk (no telephony credential: too many devices)"},
		{"an expired device is none too many", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:alice", "a", store.Assignment{ID: idOf(903)})
			assign(t, s, "main:alice", "b", store.Assignment{ID: idOf(904), ExpiresAt: past})
		}, two, made.ID, nil, nil, "credential_created desk"},
		{"one that we did not create makes room", func(t *testing.T, s *store.Store) {
			assign(t, s, "main:alice", "a", store.Assignment{ID: idOf(903)})
			provision(t, s, "main:alice", "b", replace)
		}, replace, made.ID, nil, nil, "credential_released a (makes room for another device, kept at Telnyx), credential_created desk"},
	} {
		t.Run(row.says, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *books) {
				s := b.open(t)
				i := recording(t, s, store.Limits{CreateUsers: true})
				if row.meanwhile != nil {
					row.meanwhile(t, s)
				}
				got, err := s.Record(t.Context(), by, i, made, row.limits)
				if got.ID != row.has || !errors.Is(err, row.err) {
					t.Errorf("it is %v, %v, want %v, %v", got.ID, err, row.has, row.err)
				}
				if again, err := s.Record(t.Context(), by, i, made, row.limits); row.err == nil && (again != got || err != nil) {
					t.Errorf("recorded twice it is %+v, %v, want %+v", again, err, got)
				}
				if found := must[store.Found](t)(s.Lookup(t.Context(), i.User, i.Device)); found.Credential != got {
					t.Errorf("the books have %+v, want %+v", found.Credential, got)
				}
				if got := listed(t, s); !slices.Equal(got, row.deletes) {
					t.Errorf("to be deleted are %v, want %v", got, row.deletes)
				}
				if got := story(t, s, i.User); !strings.HasSuffix(got, row.story) {
					t.Errorf("it reads %s, want %s", got, row.story)
				}
				_, goesOn := must[map[string]store.Intent](t)(s.Intents(t.Context(), []string{i.Name}))[i.Name]
				if nothing := errors.Is(row.err, store.ErrTaken) || errors.Is(row.err, store.ErrDeleting); goesOn != nothing {
					t.Errorf("the intent goes on: %v", goesOn)
				}
				b.consistent(t)
			})
		})
	}
}

// listed is what is to be deleted, in order.
func listed(t *testing.T, s *store.Store) (ids []telnyx.CredentialID) {
	t.Helper()
	for _, d := range must[[]store.Deletion](t)(s.ClaimDeletions(t.Context(), store.MaxPage, 0)) {
		ids = append(ids, d.ID)
	}
	slices.SortFunc(ids, func(a, b telnyx.CredentialID) int { return strings.Compare(a.String(), b.String()) })
	return ids
}

func TestTheLongestUnusedMakesRoom(t *testing.T) {
	limits := store.Limits{CreateUsers: true, MaxDevices: 3, Replace: true}
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		oldest, unused, middle := provision(t, s, "main:alice", "a", limits), provision(t, s, "main:alice", "b", limits), provision(t, s, "main:alice", "c", limits)
		for n, id := range []telnyx.CredentialID{oldest, unused, middle} {
			b.exec(t, `UPDATE credentials SET created_at = $1 WHERE credential_id = $2`, 1000*(n+1), id.String())
		}
		s.Vended(oldest, time.UnixMilli(10_000))
		s.Vended(oldest, time.UnixMilli(9_000)) // was slow to tell
		if err := s.Close(); err != nil {       // which writes it down
			t.Fatal(err)
		}
		s = b.open(t)
		newest := provision(t, s, "main:alice", "d", limits)
		u := must[store.User](t)(s.User(t.Context(), "main:alice"))
		var has []telnyx.CredentialID
		for _, c := range u.Credentials {
			has = append(has, c.ID)
		}
		if want := []telnyx.CredentialID{oldest, middle, newest}; !slices.Equal(has, want) {
			t.Errorf("she has %v, want %v", has, want)
		}
		if got := u.Credentials[0].VendedAt.UnixMilli(); got != 10_000 {
			t.Errorf("vended at %d, want 10000", got)
		}
		if got := listed(t, s); !slices.Equal(got, []telnyx.CredentialID{unused}) {
			t.Errorf("to be deleted are %v, want %v", got, unused)
		}

		// With fewer devices than she has, several make room.
		last := provision(t, s, "main:alice", "e", store.Limits{MaxDevices: 1, Replace: true})
		if u := must[store.User](t)(s.User(t.Context(), "main:alice")); len(u.Credentials) != 1 || u.Credentials[0].ID != last {
			t.Errorf("she has %+v, want %v", u.Credentials, last)
		}
		b.consistent(t)
	})
}

func TestTwoLoginsAndADisabling(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		for round := range 20 {
			user := fmt.Sprintf("main:u%d", round)
			s, other := b.open(t), b.open(t)
			must2[store.User, bool](t)(s.PutUser(t.Context(), by, user, "", store.Match{}))
			var all sync.WaitGroup
			all.Go(func() {
				i := intent(user, "default", "login")
				if _, err := s.Begin(t.Context(), i, everyone, hold); err != nil {
					return
				}
				_, _ = s.Record(t.Context(), by, i, store.Made{ID: newID()}, everyone)
			})
			all.Go(func() {
				if _, err := other.Disable(context.WithoutCancel(t.Context()), by, user, store.Match{}); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			if u := must[store.User](t)(s.User(t.Context(), user)); len(u.Credentials) != 0 {
				t.Errorf("disabled, and has %+v", u.Credentials)
			}
			_, _ = s.Close(), other.Close()
		}
		b.exec(t, `DELETE FROM intents`) // of those who were disabled in between
		b.consistent(t)
	})
}
