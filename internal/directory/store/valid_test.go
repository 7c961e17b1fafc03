package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

func TestWhatACredentialMayBeCalled(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		put(t, s, "main:alice", "")
		for text, want := range map[string]bool{
			"": true, "gencred1": true, "zoë": true, "two words": false, "a\x00": false, "\xff": false,
			strings.Repeat("a", store.MaxSIPUsernameBytes): true, strings.Repeat("a", store.MaxSIPUsernameBytes+1): false,
		} {
			_, _, err := s.Assign(t.Context(), by, "main:alice", "desk", store.Assignment{ID: newID(), SIPUsername: text}, anyone)
			if store.IsSIPUsername(text) != want || (word(err) == "ok") != want || (word(err) == "invalid") == want {
				t.Errorf("%.20q: %v, want %v", text, err, want)
			}
		}
	})
}

func TestWhatAUserMayBeCalled(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for text, want := range map[string]bool{
			"": true, "Alice Ng": true, "علی\u200cرضا": true, "👩\u200d💻": true, "a\u200b": false, "a\u202eb": false, "a\x00": false, "\xff": false,
			"\xc3\u200d\xa9": false, strings.Repeat("a", store.MaxNameBytes-3) + "\u200d": true, strings.Repeat("a", store.MaxNameBytes) + "\u200d": false,
		} {
			_, _, err := s.PutUser(t.Context(), by, "main:alice", text, store.Match{})
			if store.IsName(text) != want || (word(err) == "ok") != want {
				t.Errorf("%.20q: %v, want %v", text, err, want)
			}
			_, _, err = s.PutUser(t.Context(), by, "main:b"+text, "", store.Match{})
			if strings.ContainsAny(text, "\u200c\u200d") && word(err) != "invalid" {
				t.Errorf("%.20q in a key: %v", text, err)
			}
		}
	})
}

func TestTheProblemOfAVerdict(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		i := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportEach))
		put(t, s, "main:dora", "")
		hers := newID()
		assign(t, s, "main:dora", "desk", hers)
		v := must[[]store.Verdict](t)(i.Add(t.Context(), []store.Row{
			{User: ""}, {User: "main:alice", Device: "desk", Credential: hers}, {User: "main:alice", Device: "A", Credential: newID()},
		}))
		if err := i.End(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		_, device := directory.ParseDevice("A")
		for n, want := range []string{"a user's key is 1 to 289 bytes of printable characters", store.ErrTaken.Error(), device.Error()} {
			if got := v[n].Problem(); got != want {
				t.Errorf("row %d: %q, want %q", n, got, want)
			}
		}
		if !errors.Is(v[0].Err, store.ErrInvalid) || !strings.HasPrefix(v[0].Err.Error(), store.ErrInvalid.Error()) {
			t.Error(v[0].Err)
		}
	})
}
