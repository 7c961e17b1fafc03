package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func keys(users []store.User) (all []string) {
	for _, u := range users {
		all = append(all, u.Key)
	}
	return all
}

func TestWhoIsFound(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for key, name := range map[string]string{
			"main:alice": "Alice Adams", "main:bob": "100%", "main:carol_x": "Carol", "main:carolyx": "", `main:d\e`: `back\slash`, "main:Zoë": "Zoë",
		} {
			put(t, s, key, name)
		}
		for search, want := range map[string][]string{
			"alice":  {"main:alice"},
			"ADAMS":  {"main:alice"},
			"zoë":    {"main:Zoë"},
			"%":      {"main:bob"},
			"_":      {"main:carol_x"},
			"l_X":    {"main:carol_x"},
			`\`:      {`main:d\e`},
			`\%`:     nil,
			`k\s`:    {`main:d\e`},
			"a%e":    nil,
			"'":      nil,
			"main:c": {"main:carol_x", "main:carolyx"},
			"nobody": nil,
		} {
			users, next, err := s.Users(t.Context(), store.List{Search: search})
			if err != nil || next != "" || !slices.Equal(keys(users), want) {
				t.Errorf("searching %q finds %q, next %q, %v, want %q", search, keys(users), next, err, want)
			}
		}
	})
}

func TestAListGoesOnWhereItWas(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for n := range 7 {
			put(t, s, fmt.Sprintf("main:%d", n), "")
		}
		assign(t, s, "main:1", "mobile", newID())
		assign(t, s, "main:1", "desk", newID())
		if users, next, err := s.Users(t.Context(), store.List{Limit: 7}); len(users) != 7 || next != "" || err != nil {
			t.Errorf("a page of all has %d, next %q, %v", len(users), next, err)
		}
		var seen []string
		next := ""
		for page := 0; page == 0 || next != ""; page++ {
			users, after, err := s.Users(t.Context(), store.List{After: next, Limit: 2})
			if err != nil || len(users) > 2 || page > 10 {
				t.Fatal(len(users), page, err)
			}
			for _, u := range users {
				if u.Key == "main:1" && (len(u.Credentials) != 2 || u.Credentials[0].Device != "desk" || u.Credentials[1].Device != "mobile") {
					t.Errorf("main:1 has %+v", u.Credentials)
				}
			}
			seen, next = append(seen, keys(users)...), after
			// Meanwhile one comes before and one after, and the one that was last goes.
			switch page {
			case 0:
				put(t, s, "main:00", "")
				put(t, s, "main:55", "")
				if err := s.Remove(t.Context(), by, users[len(users)-1].Key, false, anyone); err != nil {
					t.Fatal(err)
				}
			}
		}
		if want := []string{"main:0", "main:1", "main:2", "main:3", "main:4", "main:5", "main:55", "main:6"}; !slices.Equal(seen, want) {
			t.Errorf("seen are %q, want %q", seen, want)
		}
	})
}

func TestKeysHaveOneOrderInBothDatabases(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		want := []string{"A:a", "a:A", "a:a", "a:a b", "a:b", "b-a:a", "b:a", "z:~", "é:a"} // that of their bytes
		for _, key := range want {
			put(t, s, key, "")
		}
		users, _, err := s.Users(t.Context(), store.List{})
		if err != nil || !slices.Equal(keys(users), want) {
			t.Errorf("the order is %q, %v, want %q", keys(users), err, want)
		}
	})
}

func TestWhichListsThereAreNot(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		put(t, s, "main:alice", "")
		lists := map[string]func(limit int) (int, error){
			"users": func(limit int) (int, error) {
				all, _, err := s.Users(t.Context(), store.List{Limit: limit})
				return len(all), err
			},
			"credentials": func(limit int) (int, error) {
				_, _, err := s.Credentials(t.Context(), telnyx.CredentialID{}, limit)
				return 1, err
			},
			"events": func(limit int) (int, error) {
				all, err := s.Events(t.Context(), store.EventList{Limit: limit})
				return len(all), err
			},
		}
		for limit, want := range map[int]string{-1: "invalid", 0: "ok", 1: "ok", store.MaxPage: "ok", store.MaxPage + 1: "invalid"} {
			for what, list := range lists {
				if n, err := list(limit); word(err) != want || err == nil && n != 1 {
					t.Errorf("%s, %d: %d, %v, want %s", what, limit, n, err, want)
				}
			}
		}
		long := strings.Repeat("a", store.MaxKeyBytes+1)
		for says, l := range map[string]store.List{
			"a search with a NUL": {Search: "\x00"}, "half a character": {Search: "\xff"}, "an endless one": {Search: long},
			"a place with a NUL": {After: "\x00"}, "an endless place": {After: long},
		} {
			if _, _, err := s.Users(t.Context(), l); word(err) != "invalid" {
				t.Errorf("%s: %v", says, err)
			}
		}
		for says, l := range map[string]store.EventList{"before all": {Before: -1}, "a user with a NUL": {User: "\x00"}} {
			if _, err := s.Events(t.Context(), l); word(err) != "invalid" {
				t.Errorf("events, %s: %v", says, err)
			}
		}
	})
}

func TestCredentialsAreListedByID(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		var want []telnyx.CredentialID
		for n := range 5 {
			key := fmt.Sprintf("main:%d", n)
			put(t, s, key, "")
			want = append(want, newID())
			assign(t, s, key, "default", want[n])
		}
		var seen, after []telnyx.CredentialID
		for after = []telnyx.CredentialID{{}}; len(after) == 1 || !after[len(after)-1].IsZero(); {
			page, next, err := s.Credentials(t.Context(), after[len(after)-1], 2)
			if err != nil || len(after) > 5 {
				t.Fatal(err, after)
			}
			seen, after = append(seen, idsOf(page)...), append(after, next)
		}
		if !slices.Equal(seen, want) {
			t.Errorf("seen are %v, want %v", seen, want)
		}
		if _, err := s.Credential(t.Context(), newID()); word(err) != "not found" {
			t.Errorf("one that is not there: %v", err)
		}
	})
}

func TestEventsAreListedNewestFirst(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for n := range 3 {
			put(t, s, "main:alice", fmt.Sprint(n))
			put(t, s, "main:bob", fmt.Sprint(n))
		}
		for says, row := range map[string]struct {
			list store.EventList
			want []int64
		}{
			"all":                  {store.EventList{}, []int64{6, 5, 4, 3, 2, 1}},
			"the newest":           {store.EventList{Limit: 2}, []int64{6, 5}},
			"those before":         {store.EventList{Before: 5, Limit: 2}, []int64{4, 3}},
			"those before all":     {store.EventList{Before: 1}, nil},
			"a user's":             {store.EventList{User: "main:alice"}, []int64{5, 3, 1}},
			"a user's before that": {store.EventList{User: "main:alice", Before: 5, Limit: 1}, []int64{3}},
			"nobody's":             {store.EventList{User: "main:carol"}, nil},
		} {
			var got []int64
			for _, e := range must[[]store.Event](t)(s.Events(t.Context(), row.list)) {
				got = append(got, e.Number)
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("%s: %v, want %v", says, got, row.want)
			}
		}
	})
}

func TestHowMuchThereIs(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		if c := counts(t, s); c != (store.Counts{}) {
			t.Errorf("empty books have %+v", c)
		}
		for n := range 3 {
			key := fmt.Sprintf("main:%d", n)
			put(t, s, key, "")
			assign(t, s, key, "default", newID())
		}
		if _, err := s.Disable(t.Context(), by, "main:0", anyone); err != nil {
			t.Fatal(err)
		}
		c := counts(t, s)
		if c.OldestDeletion.IsZero() {
			t.Error("the deletion has no time")
		}
		c.OldestDeletion = store.Counts{}.OldestDeletion
		if want := (store.Counts{Users: 3, Disabled: 1, Credentials: 2, Deletions: 1}); c != want {
			t.Errorf("there are %+v, want %+v", c, want)
		}
	})
}
