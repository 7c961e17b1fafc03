package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A model is the books in a few lines: what any sequence of changes must lead to.
type model struct {
	users    map[string]*modelUser
	deleting map[telnyx.CredentialID]bool
	events   int64
}

type modelUser struct {
	name     string
	disabled bool
	has      map[directory.Device]telnyx.CredentialID
	version  int64
}

func (m *model) event(u *modelUser) {
	m.events++
	u.version = m.events
}

func (m *model) put(key, name string) error {
	u := m.users[key]
	if u == nil {
		u = &modelUser{name: name, has: map[directory.Device]telnyx.CredentialID{}}
		m.users[key] = u
		m.event(u)
	}
	if u.name != name {
		u.name = name
		m.event(u)
	}
	return nil
}

func (m *model) release(u *modelUser, device directory.Device, keep bool) {
	if !keep {
		m.deleting[u.has[device]] = true
	}
	delete(u.has, device)
	m.event(u)
}

func (m *model) able(key string, disabled bool) error {
	u := m.users[key]
	if u == nil {
		return store.ErrNotFound
	}
	if u.disabled == disabled {
		return nil
	}
	for device := range maps.Clone(u.has) { // who is enabled has none
		m.release(u, device, false)
	}
	u.disabled = disabled
	m.event(u)
	return nil
}

func (m *model) remove(key string, keep bool) error {
	u := m.users[key]
	if u == nil {
		return store.ErrNotFound
	}
	for device := range maps.Clone(u.has) {
		m.release(u, device, keep)
	}
	m.event(u)
	delete(m.users, key)
	return nil
}

func (m *model) assign(key string, device directory.Device, id telnyx.CredentialID) error {
	u := m.users[key]
	switch {
	case u == nil:
		return store.ErrNotFound
	case u.disabled:
		return directory.ErrDisabled
	}
	for other, v := range m.users {
		for d, has := range v.has {
			if has == id && (other != key || d != device) {
				return store.ErrTaken
			}
		}
	}
	old, had := u.has[device]
	switch {
	case m.deleting[id]:
		return store.ErrDeleting
	case old == id:
		return nil
	case had:
		m.release(u, device, true)
	}
	u.has[device] = id
	m.event(u)
	return nil
}

func (m *model) unassign(key string, device directory.Device, keep bool) error {
	u := m.users[key]
	if u == nil || u.has[device].IsZero() {
		return store.ErrNotFound
	}
	m.release(u, device, keep)
	return nil
}

// importRow is what a row does that names no user twice.
func (m *model) importRow(r store.Row) error {
	u := m.users[r.User]
	if !r.Credential.IsZero() {
		// A row is taken whole or not at all, so ask a copy.
		scratch := &model{users: maps.Clone(m.users), deleting: m.deleting}
		asked := &modelUser{has: map[directory.Device]telnyx.CredentialID{}}
		if u != nil {
			asked = &modelUser{disabled: u.disabled, has: maps.Clone(u.has)}
		}
		if r.Disabled != nil {
			asked.disabled = *r.Disabled
		}
		scratch.users[r.User] = asked
		if err := scratch.assign(r.User, r.Device, r.Credential); err != nil {
			return err
		}
	}
	name := r.Name
	if u != nil && !r.NameSet {
		name = u.name
	}
	err := m.put(r.User, name)
	if r.Disabled != nil {
		err = errors.Join(err, m.able(r.User, *r.Disabled))
	}
	if !r.Credential.IsZero() {
		err = errors.Join(err, m.assign(r.User, r.Device, r.Credential))
	}
	return err
}

func (m *model) compare(t *testing.T, s *store.Store) {
	t.Helper()
	users, _, err := s.Users(t.Context(), store.List{Limit: store.MaxPage})
	if err != nil || len(users) != len(m.users) {
		t.Fatalf("there are %d users, want %d: %v", len(users), len(m.users), err)
	}
	for _, u := range users {
		want := m.users[u.Key]
		if want == nil {
			t.Fatalf("%s is there", u.Key)
		}
		got := map[directory.Device]telnyx.CredentialID{}
		for _, c := range u.Credentials {
			got[c.Device] = c.ID
		}
		if u.Name != want.name || u.DisabledAt.IsZero() == want.disabled || u.Version != want.version || !maps.Equal(got, want.has) {
			t.Fatalf("%s is %+v, want %+v", u.Key, u, *want)
		}
	}
	events := must[[]store.Event](t)(s.Events(t.Context(), store.EventList{Limit: 1}))
	if len(events) == 0 && m.events > 0 || len(events) == 1 && events[0].Number != m.events {
		t.Fatalf("the last event is %+v, want number %d", events, m.events)
	}
	if c := counts(t, s); c.Deletions != int64(len(m.deleting)) {
		t.Fatalf("%d are to be deleted, want %d", c.Deletions, len(m.deleting))
	}
}

// TestAnySequenceOfChanges makes changes at random, and compares the books with
// the model. With MODEL_SEED it repeats what failed.
func TestAnySequenceOfChanges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("MODEL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MODEL_SEED=%d", seed)
	onBoth(t, func(t *testing.T, b *books) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := b.open(t)
		m := &model{users: map[string]*modelUser{}, deleting: map[telnyx.CredentialID]bool{}}
		for n := range 300 {
			says, got, want := m.step(t, s, r)
			if word(got) != word(want) {
				t.Fatalf("change %d, %s: %v, want %v", n, says, got, want)
			}
			if n%10 == 0 {
				m.compare(t, s)
			}
		}
		m.compare(t, s)
		b.consistent(t)
	})
}

// step makes a change, in the books and in the model.
func (m *model) step(t *testing.T, s *store.Store, r *rand.Rand) (says string, got, want error) {
	key, device, id, keep := someUser(r), someDevice(r), someID(r), r.IntN(2) == 0
	says = fmt.Sprint(key, " ", device, " ", id, " ", keep)
	switch r.IntN(8) {
	case 0:
		name := fmt.Sprint(r.IntN(3))
		_, _, got = s.PutUser(t.Context(), by, key, name, anyone)
		return "put " + says, got, m.put(key, name)
	case 1:
		_, got = s.Disable(t.Context(), by, key, anyone)
		return "disable " + says, got, m.able(key, true)
	case 2:
		_, got = s.Enable(t.Context(), by, key, anyone)
		return "enable " + says, got, m.able(key, false)
	case 3:
		return "remove " + says, s.Remove(t.Context(), by, key, keep, anyone), m.remove(key, keep)
	case 4:
		return "unassign " + says, s.Unassign(t.Context(), by, key, device, keep, anyone), m.unassign(key, device, keep)
	case 5:
		return m.stepImport(t, s, r)
	default:
		_, _, got = s.Assign(t.Context(), by, key, device, store.Assignment{ID: id}, anyone)
		return "assign " + says, got, m.assign(key, device, id)
	}
}

// stepImport imports some rows, all in one batch, having tried it dry.
func (m *model) stepImport(t *testing.T, s *store.Store, r *rand.Rand) (says string, got, want error) {
	var rows []store.Row
	devices, ids := map[string]bool{}, map[telnyx.CredentialID]bool{}
	for range 1 + r.IntN(6) {
		row := store.Row{Line: len(rows) + 1, User: someUser(r), Name: fmt.Sprint(r.IntN(3)), NameSet: r.IntN(2) == 0}
		if !row.NameSet {
			row.Name = ""
		}
		if r.IntN(3) == 0 {
			disabled := r.IntN(2) == 0
			row.Disabled = &disabled
		}
		if row.Disabled == nil || !*row.Disabled {
			row.Device, row.Credential = someDevice(r), someID(r)
		}
		if devices[row.User+string(row.Device)] || ids[row.Credential] && !row.Credential.IsZero() {
			continue
		}
		devices[row.User+string(row.Device)], ids[row.Credential] = true, true
		rows = append(rows, row)
	}
	dry := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportDryRun))
	var told []store.Verdict
	for _, row := range rows { // one at a time, so that it has to remember
		told = append(told, must[[]store.Verdict](t)(dry.Add(t.Context(), []store.Row{row}))...)
	}
	i := must[*store.Import](t)(s.BeginImport(t.Context(), by, store.ImportEach))
	verdicts := must[[]store.Verdict](t)(i.Add(t.Context(), rows))
	got = i.End(t.Context(), true)
	for n, v := range verdicts {
		if want := m.importRow(rows[n]); word(v.Err) != word(want) {
			return fmt.Sprintf("import %+v", rows[n]), v.Err, want
		}
		if told[n].Did != v.Did || word(told[n].Err) != word(v.Err) {
			t.Fatalf("a dry run says %+v, and then it is %+v, of %+v", told[n], v, rows[n])
		}
	}
	return "import", got, nil
}

func someUser(r *rand.Rand) string             { return fmt.Sprintf("main:%d", r.IntN(6)) }
func someDevice(r *rand.Rand) directory.Device { return directory.Device(fmt.Sprint("d", r.IntN(3))) }
func someID(r *rand.Rand) telnyx.CredentialID  { return idOf(9_000_000 + int64(r.IntN(200))) }
