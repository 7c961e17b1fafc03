package shared_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// nameOf finds the name of an entry, of which there must be one, in database 0.
func nameOf(t *testing.T, s *redistest.Server, kind string, id telnyx.CredentialID) string {
	t.Helper()
	names, _ := ask(t, s, "KEYS", "tokensvc:"+kind+":*{"+id.String()+"}").([]any)
	if len(names) != 1 {
		t.Fatalf("there are %d entries", len(names))
	}
	name, _ := names[0].(string)
	return name
}

func TestAnEntryLastsAsLongAsItsToken(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id := newID(t)
	r.Put(t.Context(), id, newToken(t, time.Hour), time.Now())
	life, _ := ask(t, s, "PTTL", nameOf(t, s, "token", id)).(int64)
	if d := time.Duration(life) * time.Millisecond; d > time.Hour || d < time.Hour-10*time.Second {
		t.Errorf("its entry lasts %v", d)
	}
	gone := newID(t)
	r.Put(t.Context(), gone, newToken(t, -time.Second), time.Now())
	if n := ask(t, s, "DBSIZE"); n != int64(1) {
		t.Errorf("there are %v entries: a token that has expired was put", n)
	}
}

// Somebody can write into Redis, and has no key.
func TestWhatIsNotOursIsNotTaken(t *testing.T) {
	s := redistest.StartT(t)
	now := time.Now()
	cfg := shared.Config{URL: s.URL(), Keys: keys(oldKey), Now: func() time.Time { return now }}
	r := connect(t, cfg)
	cfg.Keys = keys(newKey)
	stranger := connect(t, cfg)
	cfg.Keys, cfg.Realm = keys(oldKey), "https://api.telnyx.eu/v2"
	elsewhere := connect(t, cfg)

	other := newID(t)
	r.Put(t.Context(), other, newToken(t, time.Hour), now)
	entry := func(id telnyx.CredentialID) string {
		text, _ := ask(t, s, "GET", nameOf(t, s, "token", id)).(string)
		return text
	}
	for name, row := range map[string]struct {
		becomes func(name, entry string)
		refused string
	}{
		"nothing":             {func(name, _ string) { ask(t, s, "DEL", name) }, ""},
		"empty":               {func(name, _ string) { ask(t, s, "SET", name, "") }, ""},
		"a byte":              {func(name, _ string) { ask(t, s, "SET", name, "\x01") }, shared.Unreadable},
		"the token itself":    {func(name, _ string) { ask(t, s, "SET", name, newToken(t, time.Hour).JWT.Reveal()) }, shared.Unreadable},
		"another version":     {func(name, e string) { ask(t, s, "SET", name, "\x02"+e[1:]) }, shared.Unreadable},
		"cut short":           {func(name, e string) { ask(t, s, "SET", name, e[:len(e)-1]) }, shared.Foreign},
		"longer":              {func(name, e string) { ask(t, s, "SET", name, e+"x") }, shared.Foreign},
		"a bit is another":    {func(name, e string) { ask(t, s, "SET", name, e[:100]+string(e[100]^1)+e[101:]) }, shared.Foreign},
		"another nonce":       {func(name, e string) { ask(t, s, "SET", name, e[:1]+string(e[1]^1)+e[2:]) }, shared.Foreign},
		"another's entry":     {func(name, _ string) { ask(t, s, "SET", name, entry(other)) }, shared.Foreign},
		"another key's":       {nil, shared.Foreign},
		"another Telnyx's":    {nil, shared.Foreign},
		"10 MiB":              {func(name, _ string) { ask(t, s, "SETRANGE", name, "10485760", "x") }, shared.Unreadable},
		"a list":              {func(name, _ string) { ask(t, s, "DEL", name); ask(t, s, "RPUSH", name, "x") }, shared.Unreadable},
		"all of a size, zero": {func(name, e string) { ask(t, s, "SET", name, "\x01"+strings.Repeat("\x00", len(e)-1)) }, shared.Foreign},
	} {
		id, token := newID(t), newToken(t, time.Hour)
		r.Put(t.Context(), id, token, now)
		if !takes(t, r, id, token) {
			t.Fatalf("%s: it is not there before", name)
		}
		where := nameOf(t, s, "token", id)
		switch name {
		case "another key's":
			stranger.Put(t.Context(), id, newToken(t, time.Hour), now)
		case "another Telnyx's":
			elsewhere.Put(t.Context(), id, token, now)
			ask(t, s, "RENAME", strings.Replace(where, where, otherName(t, s, where, id), 1), where)
		default:
			row.becomes(where, entry(id))
		}
		before := r.refusals(row.refused)
		if takes(t, r, id, token) {
			t.Errorf("%s: it is taken", name)
		}
		if n := r.refusals(row.refused) - before; row.refused != "" && n != 1 {
			t.Errorf("%s: it was counted as %s %d times: %v", name, row.refused, n, r.refused)
		}
		if r.Put(t.Context(), id, token, now); !takes(t, r, id, token) {
			t.Errorf("%s: the next is not taken", name)
		}
	}
	if len(r.refused) != 2 {
		t.Errorf("refused %v", r.refused)
	}
}

// otherName is that of the two names of a credential's which is not that one.
func otherName(t *testing.T, s *redistest.Server, name string, id telnyx.CredentialID) string {
	t.Helper()
	names, _ := ask(t, s, "KEYS", "tokensvc:token:*{"+id.String()+"}").([]any)
	for _, other := range names {
		if other != name && len(names) == 2 {
			text, _ := other.(string)
			return text
		}
	}
	t.Fatalf("there are %d entries", len(names))
	return ""
}

func TestTimesThatCannotBe(t *testing.T) {
	s := redistest.StartT(t)
	start := time.Now()
	at := func(d time.Duration) *replica {
		return connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey), Now: func() time.Time { return start.Add(d) }})
	}
	here, ahead, far, past := at(0), at(50*time.Second), at(2*time.Minute), at(-time.Minute)
	id, token := newID(t), newToken(t, time.Hour)

	ahead.Put(t.Context(), id, token, start.Add(50*time.Second))
	if _, since, ok := here.Take(t.Context(), id); !ok || !since.Equal(start) {
		t.Errorf("of a replica whose clock is a little ahead: %t, minted %v after now", ok, since.Sub(start))
	}
	past.Put(t.Context(), id, token, start.Add(-time.Minute))
	if _, since, ok := here.Take(t.Context(), id); !ok || since.Sub(start).Round(time.Second) != -time.Minute {
		t.Errorf("of one whose clock is behind: %t, minted %v after now", ok, since.Sub(start))
	}
	far.Put(t.Context(), id, token, start.Add(2*time.Minute))
	if takes(t, here, id, token) || here.refusals(shared.Future) != 1 {
		t.Errorf("of the future: refused %v", here.refused)
	}
	here.Put(t.Context(), id, newToken(t, time.Minute), start)
	if late := at(2 * time.Minute); takes(t, late, id, token) || late.refusals(shared.Expired) != 1 {
		t.Errorf("of the past: refused %v", late.refused)
	}
}

// In three steps: everybody opens with the new key, then seals with it, then the
// old one goes.
func TestAKeyIsRotatedWithoutAMint(t *testing.T) {
	s := redistest.StartT(t)
	steps := [][]string{{oldKey}, {oldKey, newKey}, {newKey, oldKey}, {newKey}}
	for i := range steps[1:] {
		a := connect(t, shared.Config{URL: s.URL(), Keys: keys(steps[i]...)})
		b := connect(t, shared.Config{URL: s.URL(), Keys: keys(steps[i+1]...)})
		id, token := newID(t), newToken(t, time.Hour)
		for _, pair := range [][2]*replica{{a, b}, {b, a}} {
			if pair[0].Put(t.Context(), id, token, time.Now()); !takes(t, pair[1], id, token) {
				t.Errorf("step %d: what one puts the other does not take", i+1)
			}
		}
	}
	// In one step it costs mints, and no more.
	a, b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)}), connect(t, shared.Config{URL: s.URL(), Keys: keys(newKey, oldKey)})
	id, token := newID(t), newToken(t, time.Hour)
	b.Put(t.Context(), id, token, time.Now())
	if takes(t, a, id, token) || a.refusals(shared.Foreign) != 1 {
		t.Error("it takes what it has no key for")
	}
	a.Put(t.Context(), id, token, time.Now())
	if !takes(t, b, id, token) {
		t.Error("what is put instead is not taken")
	}
}

func TestKeysAreAskedForEveryTime(t *testing.T) {
	s := redistest.StartT(t)
	now := keys(oldKey)()
	r := connect(t, shared.Config{URL: s.URL(), Keys: func() []secret.Text { return now }})
	id, token := newID(t), newToken(t, time.Hour)
	r.Put(t.Context(), id, token, time.Now())
	now = keys(newKey)()
	if takes(t, r, id, token) {
		t.Error("it opens with a key that is gone")
	}
	now = keys("short")()
	r.Put(t.Context(), id, token, time.Now())
	if n := r.refusals(shared.Foreign); takes(t, r, id, token) || r.refusals(shared.Foreign) != n+1 {
		t.Error("it uses a key that is none")
	}
}

func TestWithoutKeysNoTokensAreShared(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL()})
	id, token := newID(t), newToken(t, time.Hour)
	r.Put(t.Context(), id, token, time.Now())
	for range 2 {
		if _, ok := r.Claim(t.Context(), id); !ok {
			t.Error("a claim is not granted")
		}
	}
	r.Forget(t.Context(), id)
	if n := ask(t, s, "DBSIZE"); takes(t, r, id, token) || n != int64(0) {
		t.Errorf("%v entries", n)
	}
	if wait, ok := r.Allow(t.Context(), "user", "alice", 60, 1); wait != 0 || !ok {
		t.Error("rates are not shared")
	}
}

// A mint that began before Forget may end after it, on another replica, whose clock
// is another.
func TestAMintThatBeganBeforeIsNotPut(t *testing.T) {
	s := redistest.StartT(t)
	for _, skew := range []time.Duration{0, -time.Hour, time.Hour} {
		now := func() time.Time { return time.Now().Add(skew) }
		a := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
		b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey), Now: now})
		id, token := newID(t), newToken(t, 3*time.Hour)
		began := now().Add(-10 * time.Millisecond)
		a.Forget(t.Context(), id)
		if b.Put(t.Context(), id, token, began); takes(t, b, id, token) {
			t.Errorf("%v: it is put", skew)
		}
		until(t, "a later one to be put", func() bool {
			b.Put(t.Context(), id, token, now())
			return takes(t, b, id, token)
		})
		life, _ := ask(t, s, "PTTL", nameOf(t, s, "forgotten", id)).(int64)
		if d := time.Duration(life) * time.Millisecond; d < telnyx.MaxTimeout || d > telnyx.MaxTimeout+2*time.Minute {
			t.Errorf("that is remembered for %v", d)
		}
	}
}

func TestWhatCouldNotBeForgottenIsForgottenLater(t *testing.T) {
	s := redistest.StartT(t)
	a := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey), Timeout: 300 * time.Millisecond})
	b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id, kept, token := newID(t), newID(t), newToken(t, time.Hour)
	b.Put(t.Context(), id, token, time.Now())
	b.Put(t.Context(), kept, token, time.Now())
	s.Pause()
	until(t, "Redis to be given up", func() bool { return !a.Up() })
	a.Forget(t.Context(), id)
	s.Resume()
	for !takes(t, a, kept, token) {
		if takes(t, a, id, token) {
			t.Fatal("it takes what it was to forget")
		}
	}
	until(t, "it to be forgotten by all", func() bool { return !takes(t, b, id, token) })
	if takes(t, a, id, token) || !takes(t, b, kept, token) {
		t.Error("the wrong one is forgotten")
	}
	b.Put(t.Context(), id, token, time.Now().Add(time.Second))
	until(t, "a new token to be taken", func() bool { return takes(t, a, id, token) })
}

func TestACallerWhoHasGoneIsNoSignOfRedis(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 100 {
		if _, _, ok := r.Take(gone, newID(t)); ok {
			t.Error("a token is there")
		}
	}
	late, end := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer end()
	for range 100 {
		r.Allow(late, "user", "alice", 1, 1)
	}
	if !r.Up() {
		t.Error("Redis is given up")
	}
}
