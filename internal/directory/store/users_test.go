package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// each runs a test with empty books in SQLite, and in PostgreSQL.
func each(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	onBoth(t, func(t *testing.T, b *books) {
		test(t, b.open(t))
		b.consistent(t)
	})
}

// word is an error in a word.
func word(err error) string {
	for says, is := range map[string]error{
		"invalid": store.ErrInvalid, "not found": store.ErrNotFound, "taken": store.ErrTaken, "deleting": store.ErrDeleting,
		"changed": store.ErrChanged, "disabled": directory.ErrDisabled, "unavailable": directory.ErrUnavailable,
	} {
		if errors.Is(err, is) {
			return says
		}
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

var anyone store.Match

func put(t *testing.T, s *store.Store, key, name string) store.User {
	t.Helper()
	u, _, err := s.PutUser(t.Context(), by, key, name, anyone)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func assign(t *testing.T, s *store.Store, key string, device directory.Device, id telnyx.CredentialID) {
	t.Helper()
	if _, _, err := s.Assign(t.Context(), by, key, device, store.Assignment{ID: id}, anyone); err != nil {
		t.Fatal(err)
	}
}

// has tells what a user's device has, as a login sees it.
func has(t *testing.T, s *store.Store, key string, device directory.Device) string {
	t.Helper()
	found := must[store.Found](t)(s.Lookup(t.Context(), key, device))
	switch {
	case !found.Known:
		return "unknown"
	case found.Disabled && !found.Credential.ID.IsZero():
		return "disabled, with a credential"
	case found.Disabled:
		return "disabled"
	case found.Credential.ID.IsZero():
		return "nothing"
	}
	return found.Credential.ID.String()
}

func counts(t *testing.T, s *store.Store) store.Counts {
	t.Helper()
	return must[store.Counts](t)(s.Counts(t.Context()))
}

func TestWhatADisabledUserHas(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		one, two := newID(), newID()
		put(t, s, "main:alice", "Alice")
		assign(t, s, "main:alice", "default", one)
		assign(t, s, "main:alice", "mobile", two)
		steps := []struct {
			says    string
			do      func() error
			has     string
			deleted int64 // or about to be
		}{
			{"she has one", func() error { return nil }, one.String(), 0},
			{"disabled, she has none, and all hers are deleted", func() error {
				_, err := s.Disable(t.Context(), by, "main:alice", anyone)
				return err
			}, "disabled", 2},
			{"another name does not enable her", func() error {
				_, _, err := s.PutUser(t.Context(), by, "main:alice", "Al", anyone)
				return err
			}, "disabled", 2},
			{"enabled, she has none, still", func() error {
				_, err := s.Enable(t.Context(), by, "main:alice", anyone)
				return err
			}, "nothing", 2},
			{"nor does she get the old one", func() error {
				_, _, err := s.Assign(t.Context(), by, "main:alice", "default", store.Assignment{ID: one}, anyone)
				if !errors.Is(err, store.ErrDeleting) {
					return fmt.Errorf("she may have it: %w", err)
				}
				return nil
			}, "nothing", 2},
		}
		for _, step := range steps {
			if err := step.do(); err != nil {
				t.Errorf("%s: %v", step.says, err)
			}
			if got := has(t, s, "main:alice", "default"); got != step.has {
				t.Errorf("%s: she has %s, want %s", step.says, got, step.has)
			}
			if got := counts(t, s).Deletions; got != step.deleted {
				t.Errorf("%s: %d are to be deleted, want %d", step.says, got, step.deleted)
			}
		}
		want := "user_created, credential_assigned default, credential_assigned mobile, credential_released default, credential_released mobile, " +
			"user_disabled, user_changed (name), user_enabled"
		if got := story(t, s, "main:alice"); got != want {
			t.Errorf("the story is\n%s, want\n%s", got, want)
		}
	})
}

func TestRemovingAUser(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for _, row := range []struct {
			says    string
			keep    bool
			deleted int64
			story   string
		}{
			{"deletes what is theirs at Telnyx", false, 1, "user_created, credential_assigned default, credential_released default, user_removed"},
			{"or keeps it there", true, 0, "user_created, credential_assigned default, credential_released default (kept at Telnyx), user_removed"},
		} {
			key, id, before := "main:"+fmt.Sprint(row.keep), newID(), counts(t, s).Deletions
			old := put(t, s, key, "")
			assign(t, s, key, "default", id)
			if err := s.Remove(t.Context(), by, key, row.keep, anyone); err != nil {
				t.Fatal(err)
			}
			if got := has(t, s, key, "default"); got != "unknown" {
				t.Errorf("%s: the user has %s", row.says, got)
			}
			if got := counts(t, s).Deletions - before; got != row.deleted {
				t.Errorf("%s: %d are to be deleted, want %d", row.says, got, row.deleted)
			}
			if got := story(t, s, key); got != row.story {
				t.Errorf("%s: the story is %s, want %s", row.says, got, row.story)
			}
			if got := word(s.Remove(t.Context(), by, key, row.keep, anyone)); got != "not found" {
				t.Errorf("%s: removed again: %s", row.says, got)
			}
			if again := put(t, s, key, ""); again.Version <= old.Version || again.Credentials != nil {
				t.Errorf("%s: who comes back is %+v, and was %+v", row.says, again, old)
			}
			_, _, err := s.Assign(t.Context(), by, key, "default", store.Assignment{ID: id}, anyone)
			if kept := err == nil; kept != row.keep {
				t.Errorf("%s: assigned again: %v", row.says, err)
			}
		}
	})
}

func TestWhatChangesNothingIsNoEvent(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		id := newID()
		put(t, s, "main:alice", "Alice")
		assign(t, s, "main:alice", "default", id)
		put(t, s, "main:bob", "Bob")
		if _, err := s.Disable(t.Context(), by, "main:bob", anyone); err != nil {
			t.Fatal(err)
		}
		before := must[[]store.Event](t)(s.Events(t.Context(), store.EventList{}))
		for says, do := range map[string]func(key string) (store.User, error){
			"the same name": func(key string) (store.User, error) {
				u, _, err := s.PutUser(t.Context(), by, key, map[string]string{"main:alice": "Alice", "main:bob": "Bob"}[key], anyone)
				return u, err
			},
			"enabled twice":  func(string) (store.User, error) { return s.Enable(t.Context(), by, "main:alice", anyone) },
			"disabled twice": func(string) (store.User, error) { return s.Disable(t.Context(), by, "main:bob", anyone) },
			"the same id again": func(string) (store.User, error) {
				assign(t, s, "main:alice", "default", id)
				return s.User(t.Context(), "main:alice")
			},
		} {
			for _, key := range []string{"main:alice", "main:bob"} {
				u, err := do(key)
				if err != nil {
					t.Fatalf("%s: %v", says, err)
				}
				if is := must[store.User](t)(s.User(t.Context(), u.Key)); u.Version != is.Version {
					t.Errorf("%s: it says version %d, it is %d", says, u.Version, is.Version)
				}
			}
			if after := must[[]store.Event](t)(s.Events(t.Context(), store.EventList{})); len(after) != len(before) {
				t.Errorf("%s: %+v", says, after[0])
			}
		}
	})
}

func TestOnWhichConditionAUserIsChanged(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for n, row := range []struct {
			says          string
			match         func(version int64) store.Match
			here, missing string // what a change says of a user who is there, and PutUser of one who is not
		}{
			{"on none", func(int64) store.Match { return store.Match{} }, "ok", "ok"},
			{"that it is as it was", func(v int64) store.Match { return store.Match{Version: v} }, "ok", "changed"},
			{"that it is as it was before that", func(v int64) store.Match { return store.Match{Version: v - 1} }, "changed", "changed"},
			{"that it is as it never was", func(v int64) store.Match { return store.Match{Version: v + 1} }, "changed", "changed"},
			{"that it is there", func(int64) store.Match { return store.Match{Exists: true} }, "ok", "changed"},
			{"that it is not there", func(int64) store.Match { return store.Match{Absent: true} }, "changed", "ok"},
		} {
			key := func(of string) string { return fmt.Sprintf("main:%d-%s", n, of) }
			id := newID()
			for change, do := range map[string]func(key string, m store.Match) error{
				"put": func(key string, m store.Match) error {
					_, _, err := s.PutUser(t.Context(), by, key, "new", m)
					return err
				},
				"disable": func(key string, m store.Match) error { _, err := s.Disable(t.Context(), by, key, m); return err },
				"enable":  func(key string, m store.Match) error { _, err := s.Enable(t.Context(), by, key, m); return err },
				"assign": func(key string, m store.Match) error {
					_, _, err := s.Assign(t.Context(), by, key, "mobile", store.Assignment{ID: id}, m)
					return err
				},
				"unassign": func(key string, m store.Match) error { return s.Unassign(t.Context(), by, key, "default", true, m) },
				"remove":   func(key string, m store.Match) error { return s.Remove(t.Context(), by, key, true, m) },
			} {
				put(t, s, key(change), "")
				assign(t, s, key(change), "default", newID())
				version := must[store.User](t)(s.User(t.Context(), key(change))).Version
				if got := word(do(key(change), row.match(version))); got != row.here {
					t.Errorf("%s %s: %s, want %s", change, row.says, got, row.here)
				}
				missing := "not found" // whatever the condition
				if change == "put" {
					missing = row.missing
				}
				if got := word(do(key("nobody-"+change), row.match(7))); got != missing {
					t.Errorf("%s nobody %s: %s, want %s", change, row.says, got, missing)
				}
			}
		}
	})
}

func TestOfManyWhoSawTheSameVersionOneChangesIt(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		replicas := []*store.Store{b.open(t), b.open(t)}
		seen := put(t, replicas[0], "main:alice", "").Version
		words := make(chan string, 16)
		var writers sync.WaitGroup
		for n := range cap(words) {
			writers.Go(func() {
				_, _, err := replicas[n%2].PutUser(t.Context(), by, "main:alice", fmt.Sprint(n), store.Match{Version: seen})
				words <- word(err)
			})
		}
		writers.Wait()
		close(words)
		got := map[string]int{}
		for w := range words {
			got[w]++
		}
		if got["ok"] != 1 || got["changed"] != cap(words)-1 {
			t.Errorf("got %v", got)
		}
	})
}

func TestEventsOfManyWritersHaveNumbersWithoutGaps(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		replicas := []*store.Store{b.open(t), b.open(t)}
		const writers, changes = 16, 12
		var all sync.WaitGroup
		for n := range writers {
			all.Go(func() {
				s := replicas[n%2]
				for i := range changes {
					key := fmt.Sprintf("main:%d", (n+i)%5) // many about the same
					var err error
					switch i % 4 {
					case 0:
						_, _, err = s.PutUser(t.Context(), by, key, fmt.Sprint(n, i), anyone)
					case 1:
						_, _, err = s.Assign(t.Context(), by, key, "default", store.Assignment{ID: newID()}, anyone)
					case 2:
						_, err = s.Disable(t.Context(), by, key, anyone)
					case 3:
						_, err = s.Enable(t.Context(), by, key, anyone)
					}
					if w := word(err); w != "ok" && w != "not found" && w != "disabled" {
						t.Errorf("a writer is told %v", err)
					}
				}
			})
		}
		all.Wait()
		b.consistent(t)
		if n := b.number(t, `SELECT count(*) FROM events`); n < writers*changes/4 {
			t.Errorf("only %d events", n)
		}
	})
}

func TestWhatCanBeInNoBooks(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		put(t, s, "main:alice", "")
		long := strings.Repeat("a", store.MaxKeyBytes)
		for says, row := range map[string]struct {
			key, name, want string
		}{
			"the longest key":              {long, "", "ok"},
			"a byte more":                  {long + "a", "", "invalid"},
			"no key":                       {"", "", "invalid"},
			"a key with a NUL":             {"main:\x00", "", "invalid"},
			"with a line break":            {"main:a\nb", "", "invalid"},
			"with half a character":        {"main:\xff", "", "invalid"},
			"with what is not seen":        {"main:a\u202eb", "", "invalid"},
			"letters of any script":        {"main:zoë 象", "Zoë 象 😀", "ok"},
			"the longest name":             {"main:long", strings.Repeat("a", store.MaxNameBytes), "ok"},
			"a name with a byte more":      {"main:alice", strings.Repeat("a", store.MaxNameBytes+1), "invalid"},
			"a name with a NUL":            {"main:alice", "\x00", "invalid"},
			"a name with an escape":        {"main:alice", "\x1b[31m", "invalid"},
			"a name with half a character": {"main:alice", "\xc3", "invalid"},
			"what would be SQL":            {`main:'; DROP TABLE users; --`, `"'); --`, "ok"},
			"what would be JSON":           {`main:"]`, `\u0041"`, "ok"},
		} {
			_, _, err := s.PutUser(t.Context(), by, row.key, row.name, anyone)
			if got := word(err); got != row.want {
				t.Errorf("%s: %v, want %s", says, err, row.want)
			}
			if err != nil && row.key != "" && strings.Contains(err.Error(), row.key) {
				t.Errorf("%s: the error repeats it", says)
			}
			u, err := s.User(t.Context(), row.key)
			if row.want == "ok" && (err != nil || u.Key != row.key || u.Name != row.name) {
				t.Errorf("%s: read back it is %q %q, %v", says, u.Key, u.Name, err)
			}
		}
		// Nor is anything there that could not be; the database is not asked.
		for _, key := range []string{"", "main:\x00", long + "a", "\xff"} {
			if got := has(t, s, key, "default"); got != "unknown" {
				t.Errorf("%.10q… has %s", key, got)
			}
			_, err := s.User(t.Context(), key)
			for what, err := range map[string]error{
				"reading": err, "removing": s.Remove(t.Context(), by, key, false, anyone),
				"unassigning": s.Unassign(t.Context(), by, key, "default", false, anyone),
			} {
				if word(err) != "not found" {
					t.Errorf("%s %.10q…: %v", what, key, err)
				}
			}
		}
	})
}

func TestTimesComeBackAsTheyWere(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		now := time.Date(2031, 2, 3, 4, 5, 6, 789e6, time.FixedZone("", 3600))
		b.cfg.Now = func() time.Time { return now }
		s := b.open(t)
		put(t, s, "main:alice", "")
		expires := now.Add(time.Hour)
		given, created, err := s.Assign(t.Context(), store.By{Actor: "admin main:root", RequestID: "r-1"}, "main:alice", "default",
			store.Assignment{ID: newID(), SIPUsername: "gencred1", ExpiresAt: expires}, anyone)
		if err != nil || !created {
			t.Fatal(created, err)
		}
		is := must[store.Credential](t)(s.Credential(t.Context(), given.ID))
		if is != given {
			t.Errorf("it is %+v, and was said to be %+v", is, given)
		}
		if !is.CreatedAt.Equal(now) || !is.ExpiresAt.Equal(expires) || !is.UsableAt.IsZero() || !is.VendedAt.IsZero() || is.Provisioned {
			t.Errorf("it is %+v", is)
		}
		e := must[[]store.Event](t)(s.Events(t.Context(), store.EventList{}))[0]
		want := store.Event{
			Number: 2, At: now.UTC(), By: store.By{Actor: "admin main:root", RequestID: "r-1"}, Action: store.CredentialAssigned,
			User: "main:alice", Device: "default", Credential: given.ID,
		}
		if e != want {
			t.Errorf("the event is %+v, want %+v", e, want)
		}
		found := must[store.Found](t)(s.Lookup(t.Context(), "main:alice", "default"))
		if found != (store.Found{Known: true, Credential: is}) {
			t.Errorf("a login sees %+v", found)
		}
	})
}
