package provisioning_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	ours   = telnyxtest.DefaultAPIKey
	theirs = "KEYof-another-account"
)

// A mixture is a client with our account's key first, and then, by somebody's
// mistake, one of another account.
type mixture struct {
	*telnyx.Client
	*world
	keys  atomic.Pointer[[]secret.Text]
	after func(op string, err error) // each call
}

func (w *world) mixture() *mixture {
	w.t.Helper()
	other := telnyxtest.StartT(w.t, telnyxtest.Options{APIKey: theirs, Now: w.now})
	account := func(server *telnyxtest.Server) *httputil.ReverseProxy {
		at, err := url.Parse(server.URL())
		if err != nil {
			w.t.Fatal(err)
		}
		at.Path = ""
		return httputil.NewSingleHostReverseProxy(at)
	}
	us, them := account(w.telnyx), account(other)
	both := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+theirs {
			them.ServeHTTP(rw, r)
			return
		}
		us.ServeHTTP(rw, r)
	}))
	w.t.Cleanup(both.Close)
	m := &mixture{world: w, after: func(string, error) {}}
	m.list(ours, theirs)
	var err error
	m.Client, err = telnyx.New(telnyx.Config{
		BaseURL: both.URL + "/v2", Timeout: callTimeout,
		APIKeys: func() []secret.Text { return *m.keys.Load() },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(m.CloseIdleConnections)
	return m
}

func (m *mixture) list(texts ...string) {
	all := keys(texts...)()
	m.keys.Store(&all)
}

func (m *mixture) revoke() { m.telnyx.AcceptKeys("KEYthat-nobody-has") }
func (m *mixture) restore() {
	m.telnyx.AcceptKeys(ours)
	m.list(theirs, ours)
	m.list(ours, theirs) // which has both tried anew
	m.list(ours)
}

func (m *mixture) Credential(ctx context.Context, id telnyx.CredentialID) (telnyx.Credential, error) {
	c, err := m.Client.Credential(ctx, id)
	m.after("get", err)
	return c, err
}

func (m *mixture) DeleteCredential(ctx context.Context, id telnyx.CredentialID) error {
	err := m.Client.DeleteCredential(ctx, id)
	m.after("delete", err)
	return err
}

func (m *mixture) Credentials(ctx context.Context, q telnyx.Query) (telnyx.Page, error) {
	page, err := m.Client.Credentials(ctx, q)
	m.after("list", err)
	return page, err
}

// isUnknown reports whether Telnyx has said that it does not know a credential.
func isUnknown(err error) bool {
	failed, ok := errors.AsType[*telnyx.Error](err)
	return ok && failed.Status == http.StatusNotFound
}

// confident returns a Remover that has seen, a moment ago, that the account is the right
// one.
func (m *mixture) confident() *provisioning.Remover {
	m.t.Helper()
	r := m.remover(func(c *provisioning.RemoverConfig) { c.Telnyx = m })
	m.telnyx.RemoveCredential(m.assign("main:gone", phone).String())
	m.disable("main:gone")
	if err := m.work(r, 0); err != nil {
		m.t.Fatal(err)
	}
	return r
}

func TestTheRemoverBelievesNothingOfAnotherKeysAccount(t *testing.T) {
	w := newWorld(t)
	w.mustFind(w.finder(), "main:stays", phone)
	m := w.mixture()
	r := m.confident()
	id := w.assign(alice, phone)
	w.disable(alice)
	m.revoke()
	if err := w.work(r, 1); !errors.Is(err, provisioning.ErrKeyChanged) && !errors.Is(err, provisioning.ErrOtherAccount) {
		t.Errorf("with the other account's key: %v", err)
	}
	w.advance(time.Minute)
	if err := w.work(r, 1); !errors.Is(err, provisioning.ErrOtherAccount) {
		t.Errorf("a minute later: %v", err)
	}
	m.restore()
	if !w.isThere(id) {
		t.Error("the credential is not there: the test tests nothing")
	}
	w.advance(10 * time.Minute)
	if err := w.work(r, 0); err != nil || w.isThere(id) {
		t.Errorf("with our key again: %v", err)
	}
}

// The key has changed before the deletion, and nobody has asked for a witness since.
func TestTheRemoverDoesNotGoOnBelieving(t *testing.T) {
	w := newWorld(t)
	w.mustFind(w.finder(), "main:stays", phone)
	m := w.mixture()
	r := m.confident()
	w.assign(alice, phone)
	w.disable(alice)
	m.revoke()
	if _, err := m.Credentials(t.Context(), telnyx.Query{}); err != nil {
		t.Fatal(err)
	}
	if err := w.work(r, 1); !errors.Is(err, provisioning.ErrOtherAccount) {
		t.Errorf("got %v", err)
	}
}

// The other account does not know the credential, and before the witnesses are asked
// our own key is accepted again.
func TestTheRemoverComparesNoAnswersOfTwoKeys(t *testing.T) {
	w := newWorld(t)
	w.mustFind(w.finder(), "main:stays", phone)
	m := w.mixture()
	r := m.confident()
	w.assign(alice, phone)
	w.disable(alice)
	m.revoke()
	m.after = func(op string, err error) {
		if op == "delete" && isUnknown(err) {
			m.restore()
			m.after = func(string, error) {}
		}
	}
	w.advance(time.Minute) // and so they are asked
	if err := w.work(r, 1); !errors.Is(err, provisioning.ErrKeyChanged) {
		t.Errorf("got %v", err)
	}
}

func TestTheRenewerBelievesNothingOfAnotherKeysAccount(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{alice, "main:bob"} {
		w.mustFind(w.finder(forAMonth), user, phone)
	}
	m := w.mixture()
	r := w.renewer(func(c *provisioning.RenewerConfig) { c.Telnyx = m })
	w.advance(month * 9 / 10)
	m.revoke()
	if err := r.Work(t.Context()); !errors.Is(err, provisioning.ErrOtherAccount) {
		t.Errorf("got %v", err)
	}
	if counts, err := w.books.Counts(t.Context()); err != nil || counts.Credentials != 2 {
		t.Errorf("%v, the books have %+v", err, counts)
	}
}

// The key is revoked after the pages were read, when one credential that had moved
// between them is asked for by itself.
func TestTheReconcilerConcludesNothingFromTwoKeys(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{"main:a", "main:b", "main:c"} {
		w.mustFind(w.finder(), user, phone)
	}
	gone := w.mustFind(w.finder(), alice, phone)
	w.telnyx.RemoveCredential(gone.String())
	w.advance(time.Hour)
	m := w.mixture()
	m.after = func(op string, _ error) {
		if op == "list" {
			m.revoke()
		}
	}
	r := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Telnyx = m })
	if report, err := r.Run(t.Context(), apply); !errors.Is(err, provisioning.ErrKeyChanged) || report.Gone+report.Retired > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	m.after = func(string, error) {}
	m.restore()
	if report, err := r.Run(t.Context(), apply); err != nil || report.Retired != 1 {
		t.Errorf("with our key again: %+v, %v", report, err)
	}
}

// With the rest of the pages being another account's.
func TestTheReconcilerReadsPagesOfOneKey(t *testing.T) {
	w := newWorld(t)
	for range telnyx.MaxPageSize + 1 {
		w.byHand(telnyxtest.Credential{})
	}
	m := w.mixture()
	m.after = func(string, error) { m.revoke() }
	r := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Telnyx = m })
	if report, err := r.Run(t.Context(), apply); !errors.Is(err, provisioning.ErrKeyChanged) || report.Pages != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A key that was dead from the beginning is no change.
func TestTheReconcilerStartsWithADeadKeyFirst(t *testing.T) {
	w := newWorld(t)
	w.mustFind(w.finder(), alice, phone)
	m := w.mixture()
	m.list("KEYdead", ours)
	r := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Telnyx = m })
	if report, err := r.Run(t.Context(), apply); err != nil || report.Recorded != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}
