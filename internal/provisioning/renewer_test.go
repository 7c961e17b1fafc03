package provisioning_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const month = 30 * 24 * time.Hour

func forAMonth(c *provisioning.Config) { c.ExpiresAfter = month }

func (w *world) renewer(change ...func(*provisioning.RenewerConfig)) *provisioning.Renewer {
	w.t.Helper()
	cfg := provisioning.RenewerConfig{Store: w.books, Telnyx: w.client(), ExpiresAfter: month, Holder: "renewer", Rate: 1e6, Now: w.now}
	for _, c := range change {
		c(&cfg)
	}
	r, err := provisioning.NewRenewer(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// expiry is how long a credential has to live, in the books and at Telnyx.
func (w *world) expiry(id telnyx.CredentialID) time.Duration {
	w.t.Helper()
	recorded, err := w.books.Credential(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	at, err := w.client().Credential(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	if !recorded.ExpiresAt.Equal(at.ExpiresAt) {
		w.t.Errorf("it expires at %v, in the books at %v", at.ExpiresAt, recorded.ExpiresAt)
	}
	return at.ExpiresAt.Sub(w.now()).Round(time.Minute)
}

func TestACredentialIsRenewedWithAFifthOfItsLifeLeft(t *testing.T) {
	w := newWorld(t)
	f := w.finder(forAMonth)
	id := w.mustFind(f, alice, phone)
	r := w.renewer()
	for i := range 4 {
		w.advance(month * 79 / 100)
		if err := r.Work(t.Context()); err != nil || w.telnyx.Requests(telnyxtest.Update) != i {
			t.Fatalf("%v, %d calls with more than a fifth left", err, w.telnyx.Requests(telnyxtest.Update))
		}
		w.advance(month * 2 / 100)
		if err := r.Work(t.Context()); err != nil || w.expiry(id) != month {
			t.Fatalf("%v, it has %v", err, w.expiry(id))
		}
	}
	if w.mustFind(w.finder(), alice, phone) != id {
		t.Error("alice has another credential")
	}
}

func TestWhatIsNotRenewed(t *testing.T) {
	w := newWorld(t)
	f := w.finder(forAMonth)
	gone, expired, mine := w.mustFind(f, "main:gone", phone), w.mustFind(f, "main:expired", phone), w.mustFind(f, alice, phone)
	w.mustFind(f, "main:disabled", phone)
	w.disable("main:disabled")
	byHand := w.byHand(telnyxtest.Credential{})
	w.put("main:bob")
	if _, _, err := w.books.Assign(t.Context(), byTest, "main:bob", phone, store.Assignment{ID: byHand, ExpiresAt: w.now().Add(month)}, store.Match{}); err != nil {
		t.Fatal(err)
	}
	w.telnyx.RemoveCredential(gone.String())
	w.advance(month * 9 / 10)
	w.telnyx.ExpireCredential(expired.String())
	if err := w.renewer().Work(t.Context()); err != nil {
		t.Error(err)
	}
	if w.expiry(mine) != month {
		t.Errorf("alice's has %v", w.expiry(mine))
	}
	for _, id := range []telnyx.CredentialID{gone, expired} {
		if _, err := w.books.Credential(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v is still in the books: %v", id, err)
		}
	}
	if w.deletions() != 2 { // the disabled one's, and the expired one
		t.Errorf("%d are to be deleted, want 2", w.deletions())
	}
	if n := w.telnyx.Requests(telnyxtest.Update); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
	w.wantError(w.finder(withoutProvisioning), "main:gone", phone, directory.ErrNoCredential)
	w.mustFind(w.finder(), "main:gone", phone)
}

func TestOneReplicaRenews(t *testing.T) {
	w := newWorld(t)
	if ok, err := w.books.TryLease(t.Context(), "renew", "another", time.Minute); !ok || err != nil {
		t.Fatal(err)
	}
	if err := w.renewer().Work(t.Context()); !errors.Is(err, store.ErrHeld) {
		t.Errorf("got %v", err)
	}
	w.advance(2 * time.Minute)
	for _, holder := range []string{"first", "second"} { // whoever is done lets go
		if err := w.renewer(func(c *provisioning.RenewerConfig) { c.Holder = holder }).Work(t.Context()); err != nil {
			t.Errorf("%s: %v", holder, err)
		}
	}
}

func TestARenewalThatWasNotHeardOfIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	id := w.mustFind(w.finder(forAMonth), alice, phone)
	w.advance(month * 9 / 10)
	w.inject(telnyxtest.Fault{Op: telnyxtest.Update, Shape: telnyxtest.HTML, After: true, Times: 1})
	var failures int
	r := w.renewer(func(c *provisioning.RenewerConfig) {
		c.OnRenew = func(_ time.Duration, err error) {
			if err != nil {
				failures++
			}
		}
	})
	for range 2 {
		if err := r.Work(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if failures != 1 || w.expiry(id) != month {
		t.Errorf("%d failures, it has %v", failures, w.expiry(id))
	}
}

func TestARenewerRefusesNonsenseByName(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(*provisioning.RenewerConfig){
		"Store":        func(c *provisioning.RenewerConfig) { c.Store = nil },
		"Telnyx":       func(c *provisioning.RenewerConfig) { c.Telnyx = nil },
		"Holder":       func(c *provisioning.RenewerConfig) { c.Holder = "" },
		"ExpiresAfter": func(c *provisioning.RenewerConfig) { c.ExpiresAfter = time.Minute },
		"Rate":         func(c *provisioning.RenewerConfig) { c.Rate = -1 },
	} {
		cfg := provisioning.RenewerConfig{Store: w.books, Telnyx: w.client(), ExpiresAfter: month, Holder: "h"}
		spoil(&cfg)
		if _, err := provisioning.NewRenewer(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want an error that names %s", err, name)
		}
	}
}
