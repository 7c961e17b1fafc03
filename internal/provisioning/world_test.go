package provisioning_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	connection = "1234567890"
	instance   = "test"
	alice      = "main:alice"
	phone      = directory.Device("phone")
)

var byTest = store.By{Actor: "test"}

// A world has a Telnyx, books, and a clock that runs and can be set forward.
type world struct {
	t      testing.TB
	telnyx *telnyxtest.Server
	ahead  atomic.Int64
	config store.Config
	books  *store.Store
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := worldOn(t, store.Config{SQLite: filepath.Join(t.TempDir(), "books.db")})
	if _, _, err := w.books.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func worldOn(t testing.TB, books store.Config) *world {
	t.Helper()
	w := &world{t: t, config: books}
	w.config.Now = w.now
	w.telnyx = telnyxtest.StartT(t, telnyxtest.Options{Now: w.now, NewCredentialDelay: -1})
	w.books = w.open()
	return w
}

func (w *world) now() time.Time            { return time.Now().Add(time.Duration(w.ahead.Load())) }
func (w *world) advance(d time.Duration)   { w.ahead.Add(int64(d)) }
func (w *world) inject(f telnyxtest.Fault) { w.telnyx.Inject(f) }

// open opens the books once more, as another process would.
func (w *world) open() *store.Store {
	w.t.Helper()
	s, err := store.Open(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

// client is a client of Telnyx's that gives up soon.
func (w *world) client() *telnyx.Client {
	return w.clientWith(keys(telnyxtest.DefaultAPIKey))
}

const callTimeout = 2 * time.Second

func (w *world) clientWith(keys func() []secret.Text) *telnyx.Client {
	w.t.Helper()
	return w.clientOf(telnyx.Config{APIKeys: keys, Timeout: callTimeout})
}

// impatient is a client of Telnyx's that gives up at once, for what is never
// answered.
func (w *world) impatient() *telnyx.Client {
	w.t.Helper()
	return w.clientOf(telnyx.Config{APIKeys: keys(telnyxtest.DefaultAPIKey), Timeout: callTimeout / 5})
}

// keys is a list of them.
func keys(texts ...string) func() []secret.Text {
	return func() []secret.Text {
		var all []secret.Text
		for _, k := range texts {
			all = append(all, secret.New(k))
		}
		return all
	}
}

func (w *world) clientOf(cfg telnyx.Config) *telnyx.Client {
	w.t.Helper()
	cfg.BaseURL = w.telnyx.URL()
	c, err := telnyx.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// finder returns a Finder that provisions for everyone, as a process of its own.
func (w *world) finder(change ...func(*provisioning.Config)) *provisioning.Finder {
	w.t.Helper()
	cfg := provisioning.Config{
		Store: w.books, Telnyx: w.client(), CallTimeout: callTimeout, ConnectionID: connection, Instance: instance,
		Holder: w.t.Name() + time.Now().String(), Everyone: true, Wait: true, ReadyAfter: time.Millisecond, Now: w.now,
	}
	for _, c := range change {
		c(&cfg)
	}
	f, err := provisioning.NewFinder(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(f.Close)
	return f
}

func (w *world) remover(change ...func(*provisioning.RemoverConfig)) *provisioning.Remover {
	w.t.Helper()
	cfg := provisioning.RemoverConfig{Store: w.books, Telnyx: w.client(), CallTimeout: callTimeout, Now: w.now}
	for _, c := range change {
		c(&cfg)
	}
	r, err := provisioning.NewRemover(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// find asks for a credential with ten seconds' time.
func (w *world) find(f *provisioning.Finder, user string, device directory.Device) (telnyx.CredentialID, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return f.Find(ctx, directory.Query{User: user, Device: device, Create: true})
}

// mustFind asks for a credential that has to be there, at Telnyx too.
func (w *world) mustFind(f *provisioning.Finder, user string, device directory.Device) telnyx.CredentialID {
	w.t.Helper()
	id, err := w.find(f, user, device)
	if err != nil {
		w.t.Fatalf("%s on %s: %v", user, device, err)
	}
	if _, err := w.client().Mint(w.t.Context(), id); err != nil {
		w.t.Fatalf("%s on %s: %v", user, device, err)
	}
	return id
}

func (w *world) wantError(f *provisioning.Finder, user string, device directory.Device, want error) {
	w.t.Helper()
	if id, err := w.find(f, user, device); !errors.Is(err, want) {
		w.t.Errorf("%s on %s: %v, %v, want %v", user, device, id, err, want)
	}
}

// put puts a user into the books.
func (w *world) put(user string) {
	w.t.Helper()
	if _, _, err := w.books.PutUser(w.t.Context(), byTest, user, "", store.Match{}); err != nil {
		w.t.Fatal(err)
	}
}

// assign gives a user a credential that is made at Telnyx by hand.
func (w *world) assign(user string, device directory.Device) telnyx.CredentialID {
	w.t.Helper()
	w.put(user)
	id := w.byHand(telnyxtest.Credential{})
	if _, _, err := w.books.Assign(w.t.Context(), byTest, user, device, store.Assignment{ID: id}, store.Match{}); err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) byHand(c telnyxtest.Credential) telnyx.CredentialID {
	w.t.Helper()
	id, err := telnyx.ParseCredentialID(w.telnyx.AddCredential(c))
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) disable(user string) {
	w.t.Helper()
	if _, err := w.books.Disable(w.t.Context(), byTest, user, store.Match{}); err != nil {
		w.t.Fatal(err)
	}
}

// atTelnyx is how many credentials the account has.
func (w *world) atTelnyx() int {
	w.t.Helper()
	page, err := w.client().Credentials(w.t.Context(), telnyx.Query{})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.TotalResults
}

func (w *world) wantAtTelnyx(want int) {
	w.t.Helper()
	if n := w.atTelnyx(); n != want {
		w.t.Errorf("there are %d credentials at Telnyx, want %d", n, want)
	}
}

// deletions is how many credentials are still to be deleted.
func (w *world) deletions() int {
	w.t.Helper()
	counts, err := w.books.Counts(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return int(counts.Deletions)
}

// until waits until done says so.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
