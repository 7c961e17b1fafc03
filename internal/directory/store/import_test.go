package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// importing adds rows, so many at once, and returns what became of each, in a
// word. Lines count from 1.
func importing(t *testing.T, s *store.Store, mode store.ImportMode, commit bool, batch int, rows []store.Row) (words []string, ended error) {
	t.Helper()
	i := must[*store.Import](t)(s.BeginImport(t.Context(), by, mode))
	for n := range rows {
		rows[n].Line = n + 1
	}
	for some := range slices.Chunk(rows, batch) {
		for n, v := range must[[]store.Verdict](t)(i.Add(t.Context(), some)) {
			if v.Line != some[n].Line || (v.Err == nil) == (v.Did == "") {
				t.Errorf("line %d has the verdict %+v", some[n].Line, v)
			}
			text := string(v.Did)
			if v.Err != nil {
				text = word(v.Err)
			}
			if _, line, found := strings.Cut(fmt.Sprint(v.Err), "in line "); found {
				text += ", as in " + line
			}
			words = append(words, text)
		}
	}
	ended = i.End(t.Context(), commit)
	if err := i.End(t.Context(), commit); err != nil {
		t.Errorf("ended twice: %v", err)
	}
	if _, err := i.Add(t.Context(), nil); err == nil {
		t.Error("what has ended takes more")
	}
	return words, ended
}

var yes, no = true, false

// modes are all ways to import; what they say of each row must be the same,
// however many come at once.
var modes = map[string]store.ImportMode{"each": store.ImportEach, "atomic": store.ImportAtomic, "dry run": store.ImportDryRun}

func TestWhatBecomesOfEachRow(t *testing.T) {
	for name, mode := range modes {
		for _, batch := range []int{1, 3, store.MaxBatch} {
			t.Run(fmt.Sprintf("%s, %d at once", name, batch), func(t *testing.T) {
				each(t, func(t *testing.T, s *store.Store) { theRows(t, s, mode, batch) })
			})
		}
	}
}

func theRows(t *testing.T, s *store.Store, mode store.ImportMode, batch int) {
	hers, other, gone, moved, fresh, spare := newID(), newID(), newID(), newID(), newID(), newID()
	put(t, s, "main:alice", "Alice")
	assign(t, s, "main:alice", "default", hers)
	assign(t, s, "main:alice", "mobile", moved)
	assign(t, s, "main:alice", "tablet", spare)
	assign(t, s, "main:alice", "gone", gone)
	put(t, s, "main:henry", "")
	assign(t, s, "main:henry", "default", newID())
	put(t, s, "main:dora", "Dora")
	assign(t, s, "main:dora", "default", other)
	put(t, s, "main:carol", "")
	if err := errors.Join(s.Unassign(t.Context(), by, "main:alice", "gone", false, anyone), disable(t, s, "main:carol")); err != nil {
		t.Fatal(err)
	}
	before, events := counts(t, s), len(must[[]store.Event](t)(s.Events(t.Context(), store.EventList{})))
	script := []struct {
		says string
		row  store.Row
		want string
	}{
		{"somebody new", store.Row{User: "main:bob", Name: "Bob", NameSet: true}, "created"},
		{"the same with a credential", store.Row{User: "main:bob", Name: "Bob", NameSet: true, Device: "default", Credential: fresh}, "created"},
		{"the same user and device", store.Row{User: "main:bob", Device: "default", Credential: newID()}, "invalid, as in 2"},
		{"the same user alone", store.Row{User: "main:bob"}, "invalid, as in 1"},
		{"the same credential", store.Row{User: "main:bob", Device: "mobile", Credential: fresh}, "invalid, as in 2"},
		{"as it is", store.Row{User: "main:alice", Name: "Alice", NameSet: true, Disabled: &no, Device: "default", Credential: hers}, "unchanged"},
		{"another's", store.Row{User: "main:erin", Device: "default", Credential: other}, "taken"},
		{"so erin is not there", store.Row{User: "main:erin", Device: "mobile", Credential: gone}, "deleting"},
		{"her own of another device", store.Row{User: "main:dora", Device: "mobile", Credential: spare}, "taken"},
		{"another in its place", store.Row{User: "main:alice", Device: "mobile", Credential: newID()}, "updated"},
		{"what she had is forgotten, and free", store.Row{User: "main:dora", Device: "desk", Credential: moved, SIPUsername: "gencred1"}, "created"},
		{"a disabled user", store.Row{User: "main:carol", Device: "default", Credential: newID()}, "disabled"},
		{"one who is enabled in the row", store.Row{User: "main:carol", Disabled: &no, Device: "mobile", Credential: newID()}, "created"},
		{"one who was enabled before", store.Row{User: "main:carol", Device: "desk", Credential: newID()}, "created"},
		{"who is disabled", store.Row{User: "main:dora", Disabled: &yes}, "updated"},
		{"and has another row", store.Row{User: "main:dora", Device: "late", Credential: newID()}, "disabled"},
		{"disabled with a credential", store.Row{User: "main:alice", Disabled: &yes, Device: "late", Credential: newID()}, "invalid"},
		{"a new user who is disabled", store.Row{User: "main:fred", Disabled: &yes}, "created"},
		{"a new name", store.Row{User: "main:alice", Name: "Al", NameSet: true}, "updated"},
		{"that name again", store.Row{User: "main:alice", Name: "Al", NameSet: true, Device: "late2", Credential: newID()}, "created"},
		{"no name is no change", store.Row{User: "main:fred", Device: "x"}, "unchanged"},
		{"an empty name is one", store.Row{User: "main:alice", Name: "", NameSet: true, Device: "x"}, "updated"},
		{"disabled for a while", store.Row{User: "main:henry", Disabled: &yes}, "updated"},
		{"and enabled again", store.Row{User: "main:henry", Disabled: &no, Device: "x"}, "updated"},
		{"has nothing", store.Row{User: "main:henry", Device: "default", Credential: newID()}, "created"},
		{"no key", store.Row{User: ""}, "invalid"},
		{"a key with a NUL", store.Row{User: "main:\x00"}, "invalid"},
		{"an endless key", store.Row{User: strings.Repeat("a", store.MaxKeyBytes+1)}, "invalid"},
		{"an endless name", store.Row{User: "main:gina", Name: strings.Repeat("a", store.MaxNameBytes+1), NameSet: true}, "invalid"},
		{"no device", store.Row{User: "main:gina", Credential: newID()}, "invalid"},
		{"no device's name", store.Row{User: "main:gina", Device: "A", Credential: newID()}, "invalid"},
		{"the longest key", store.Row{User: strings.Repeat("a", store.MaxKeyBytes)}, "created"},
		{"quotes of all kinds", store.Row{User: `main:'"\u0000;--`, Name: `'"\`, NameSet: true}, "created"},
	}
	rows := make([]store.Row, len(script))
	for n := range script {
		rows[n] = script[n].row
	}
	words, err := importing(t, s, mode, true, batch, rows)
	for n, row := range script {
		if words[n] != row.want {
			t.Errorf("line %d, %s: %s, want %s", n+1, row.says, words[n], row.want)
		}
	}
	if mode != store.ImportEach {
		if (word(err) == "invalid") != (mode == store.ImportAtomic) || mode == store.ImportDryRun && err != nil {
			t.Errorf("it ends with %v", err)
		}
		if after := counts(t, s); after != before || len(must[[]store.Event](t)(s.Events(t.Context(), store.EventList{}))) != events {
			t.Errorf("there are %+v, were %+v", after, before)
		}
		return
	}
	if err != nil {
		t.Error(err)
	}
	for key, want := range map[string]string{
		"main:bob": "default", "main:alice": "default late2 mobile tablet", "main:dora": "", "main:carol": "desk mobile", "main:fred": "", `main:'"\u0000;--`: "",
	} {
		u := must[store.User](t)(s.User(t.Context(), key))
		var devices []string
		for _, c := range u.Credentials {
			devices = append(devices, string(c.Device))
		}
		if got := strings.Join(devices, " "); got != want {
			t.Errorf("%s has %q, want %q", key, got, want)
		}
	}
	for key, want := range map[string]string{
		"main:alice": "user_created, credential_assigned default, credential_assigned mobile, credential_assigned tablet, credential_assigned gone, " +
			"credential_released gone, " +
			"credential_released mobile (kept at Telnyx), credential_assigned mobile, user_changed (name), credential_assigned late2, user_changed (name)",
		"main:dora": "user_created, credential_assigned default, credential_assigned desk, credential_released default, credential_released desk, user_disabled",
		"main:fred": "user_created, user_disabled",
		"main:erin": "",
	} {
		if got := story(t, s, key); got != want {
			t.Errorf("the story of %s is\n%s, want\n%s", key, got, want)
		}
	}
	if found := has(t, s, "main:bob", "default"); found != fresh.String() {
		t.Errorf("bob has %s", found)
	}
}

func disable(t *testing.T, s *store.Store, key string) error {
	t.Helper()
	_, err := s.Disable(t.Context(), by, key, anyone)
	return err
}

func many(n int) []store.Row {
	rows := make([]store.Row, n)
	for i := range rows {
		rows[i] = store.Row{User: fmt.Sprintf("main:%05d", i), Name: fmt.Sprint(i), NameSet: true, Device: "default", Credential: newID()}
	}
	return rows
}

func TestAnAtomicImportIsWrittenWholeOrNotAtAll(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		bad := many(250)
		bad[17].Device = ""
		for _, row := range []struct {
			says   string
			rows   []store.Row
			commit bool
			want   string
			users  int64
		}{
			{"one bad line", bad, true, "invalid", 0},
			{"no commit", many(250), false, "ok", 0},
			{"all is right", many(250), true, "ok", 250},
		} {
			_, err := importing(t, s, store.ImportAtomic, row.commit, 100, row.rows)
			if word(err) != row.want {
				t.Errorf("%s: %v, want %s", row.says, err, row.want)
			}
			c := counts(t, s)
			events := must[[]store.Event](t)(s.Events(t.Context(), store.EventList{Limit: store.MaxPage}))
			if c.Users != row.users || c.Credentials != row.users || len(events) != int(2*row.users) {
				t.Errorf("%s: %+v and %d events, want %d users", row.says, c, len(events), row.users)
			}
		}
		if words, _ := importing(t, s, store.ImportEach, true, 100, many(250)); slices.Contains(words, "created") {
			t.Error("other ids for the same devices are new devices")
		}
		put(t, s, "main:after", "") // others can change the books again
	})
}

func TestAnAtomicImportEndsWithItsContext(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		i := must[*store.Import](t)(s.BeginImport(ctx, by, store.ImportAtomic))
		must[[]store.Verdict](t)(i.Add(t.Context(), many(10)))
		cancel()
		if err := i.End(t.Context(), true); word(err) != "unavailable" {
			t.Errorf("it ends with %v", err)
		}
		if c := counts(t, s); c.Users != 0 {
			t.Errorf("there are %+v", c)
		}
		put(t, s, "main:after", "")
	})
}

func TestADryRunHoldsNobodyUp(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		dry := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportDryRun))
		defer dry.End(t.Context(), false)
		must[[]store.Verdict](t)(dry.Add(t.Context(), many(10)))
		put(t, s, "main:alice", "")
		if v := must[[]store.Verdict](t)(dry.Add(t.Context(), []store.Row{{User: "main:alice"}})); v[0].Did != store.RowUnchanged {
			t.Errorf("of somebody who came meanwhile it says %+v", v)
		}
	})
}

func TestWhichImportsThereAreNot(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		if _, err := s.BeginImport(t.Context(), by, 7); word(err) != "invalid" {
			t.Errorf("an unknown mode: %v", err)
		}
		i := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportEach))
		if _, err := i.Add(t.Context(), many(store.MaxBatch+1)); word(err) != "invalid" {
			t.Errorf("too many at once: %v", err)
		}
		if v, err := i.Add(t.Context(), nil); len(v) != 0 || err != nil {
			t.Errorf("none: %v, %v", v, err)
		}
		if v := must[[]store.Verdict](t)(i.Add(t.Context(), many(store.MaxBatch))); v[store.MaxBatch-1].Did != store.RowCreated {
			t.Errorf("the last of as many as may be: %+v", v[store.MaxBatch-1])
		}
		if err := i.End(t.Context(), false); err != nil {
			t.Error(err)
		}
	})
}

// Whoever reads sees all of a batch or nothing, and the importer's id everywhere.
func TestAnImportSaysWhoMadeIt(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		i := must[*store.Import](t)(s.BeginImport(t.Context(), store.By{Actor: "cli root", RequestID: "r"}, store.ImportEach))
		id := newID()
		must[[]store.Verdict](t)(i.Add(t.Context(), []store.Row{{User: "main:alice", Device: directory.DefaultDevice, Credential: id, SIPUsername: "gencred1"}}))
		if err := i.End(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for _, e := range must[[]store.Event](t)(s.Events(t.Context(), store.EventList{})) {
			if e.By != (store.By{Actor: "cli root", RequestID: "r"}) || e.At.IsZero() || e.User != "main:alice" {
				t.Errorf("an event is %+v", e)
			}
		}
		c := must[store.Credential](t)(s.Credential(t.Context(), id))
		if c.SIPUsername != "gencred1" || c.Provisioned || c.CreatedAt.IsZero() {
			t.Errorf("the credential is %+v", c)
		}
	})
}

// What fails half-way is told apart from what was done.
func TestADatabaseThatIsFullInTheMiddleOfAnImport(t *testing.T) {
	b := sqliteBooks(t)
	s := b.open(t)
	i := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportEach))
	if err := store.ExecWriting(t.Context(), s, fmt.Sprint("PRAGMA max_page_count = ", b.number(t, `PRAGMA page_count`)+150)); err != nil {
		t.Fatal(err)
	}
	verdicts, err := i.Add(t.Context(), many(store.MaxBatch))
	if word(err) != "unavailable" {
		t.Fatalf("there is room for all: %v", err)
	}
	for _, v := range verdicts {
		if v.Did != store.RowCreated {
			t.Fatalf("a verdict is %+v", v)
		}
	}
	if _, err := i.Add(t.Context(), many(1)); word(err) != "unavailable" {
		t.Errorf("more is taken: %v", err)
	}
	if err := i.End(t.Context(), true); err != nil {
		t.Error(err)
	}
	if n := b.number(t, `SELECT count(*) FROM users`); n != int64(len(verdicts)) {
		t.Errorf("%d are there, and of %d it was said", n, len(verdicts))
	}
	b.consistent(t)
}

// Other processes change the same books, and one imports as fast as it can.
func TestAnImportKeepsNobodyWaitingForLong(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s, other := b.open(t), b.open(t)
		ended := make(chan error, 1)
		go func() {
			i, err := s.BeginImport(t.Context(), by, store.ImportEach)
			for all := many(4 * store.MaxBatch); err == nil && len(all) > 0; all = all[store.MaxBatch:] {
				_, err = i.Add(t.Context(), all[:store.MaxBatch])
			}
			ended <- errors.Join(err, i.End(t.Context(), true))
		}()
		for n := 0; ; n++ {
			err := within(t, 500*time.Millisecond, "a change", func() error {
				_, _, err := other.PutUser(t.Context(), by, fmt.Sprint("main:other", n), "", anyone)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
				if users := b.number(t, `SELECT count(*) FROM users`); users != int64(4*store.MaxBatch+n+1) {
					t.Errorf("there are %d users, and %d of others", users, n+1)
				}
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
}
