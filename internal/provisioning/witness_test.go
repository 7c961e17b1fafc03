package provisioning_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// elsewhere is a client whose key is another account's.
func (w *world) elsewhere() *telnyx.Client {
	w.t.Helper()
	return newWorld(w.t).client()
}

func TestAPageThatSaysNotFoundIsNoNewsOfACredential(t *testing.T) {
	page := telnyxtest.Fault{Shape: telnyxtest.HTML, Status: http.StatusNotFound}
	t.Run("that is to be deleted", func(t *testing.T) {
		w := newWorld(t)
		w.assign(alice, phone) // and nobody else has one
		w.disable(alice)
		w.inject(page)
		w.work(w.remover(), 1)
	})
	t.Run("that is not in the pages", func(t *testing.T) {
		w := newWorld(t)
		w.assign("main:there", phone)
		w.telnyx.RemoveCredential(w.assign(alice, phone).String())
		w.advance(time.Second) // what is recorded during a pass is not judged by it
		page.Op = telnyxtest.Get
		w.inject(page)
		if report, err := w.reconciler().Run(t.Context(), apply); err == nil || report.Gone+report.Retired > 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

func TestWhatIsNotInAnotherAccountIsNotGone(t *testing.T) {
	w := newWorld(t)
	for i := range 4 {
		w.mustFind(w.finder(forAMonth), fmt.Sprintf("main:%d", i), phone)
	}
	w.assign(alice, phone)
	w.disable(alice)
	elsewhere := w.elsewhere()
	var told []error
	r := w.remover(func(c *provisioning.RemoverConfig) {
		c.Telnyx = elsewhere
		c.OnDelete = func(_ time.Duration, err error) { told = append(told, err) }
	})
	if err := w.work(r, 1); !errors.Is(err, provisioning.ErrOtherAccount) {
		t.Errorf("the remover: %v", err)
	}
	if len(told) != 1 || !errors.Is(told[0], telnyx.ErrCredentialRejected) {
		t.Errorf("it is told of %v", told)
	}
	w.advance(month * 9 / 10)
	if err := w.renewer(func(c *provisioning.RenewerConfig) { c.Telnyx = elsewhere }).Work(t.Context()); !errors.Is(err, provisioning.ErrOtherAccount) {
		t.Errorf("the renewer: %v", err)
	}
	if counts, err := w.books.Counts(t.Context()); err != nil || counts.Credentials != 4 || counts.Deletions != 1 {
		t.Errorf("%v, the books have %+v", err, counts)
	}
	w.work(w.remover(), 0)
	w.wantAtTelnyx(4)
}

// keyed is a client whose key may become another account's.
type keyed struct {
	*telnyx.Client
	elsewhere *telnyx.Client
	away      atomic.Bool
}

func (k *keyed) Credential(ctx context.Context, id telnyx.CredentialID) (telnyx.Credential, error) {
	if k.away.Load() {
		return k.elsewhere.Credential(ctx, id)
	}
	return k.Client.Credential(ctx, id)
}

func (k *keyed) DeleteCredential(ctx context.Context, id telnyx.CredentialID) error {
	if k.away.Load() {
		return k.elsewhere.DeleteCredential(ctx, id)
	}
	return k.Client.DeleteCredential(ctx, id)
}

func TestAnAccountIsBelievedForTenMinutes(t *testing.T) {
	w := newWorld(t)
	w.mustFind(w.finder(), "main:stays", phone)
	key := &keyed{Client: w.client(), elsewhere: w.elsewhere()}
	r := w.remover(func(c *provisioning.RemoverConfig) { c.Telnyx = key })
	gone := func(user string) {
		w.telnyx.RemoveCredential(w.assign(user, phone).String())
		w.disable(user)
	}
	for _, user := range []string{"main:a", "main:b", "main:c"} {
		gone(user)
	}
	w.work(r, 0)
	if n := w.telnyx.Requests(telnyxtest.Get); n != 1 {
		t.Errorf("%d were asked for, want one, which was there", n)
	}
	key.away.Store(true)
	gone("main:d")
	w.work(r, 0)
	w.advance(10*time.Minute + time.Second)
	gone("main:e")
	if err := w.work(r, 1); !errors.Is(err, provisioning.ErrOtherAccount) {
		t.Errorf("ten minutes later: %v", err)
	}
}

func TestWithoutAnAnswerAboutTheWitnessesNothingIsGone(t *testing.T) {
	w := newWorld(t)
	w.mustFind(w.finder(), "main:stays", phone)
	w.telnyx.RemoveCredential(w.assign(alice, phone).String())
	w.disable(alice)
	w.inject(telnyxtest.Fault{Op: telnyxtest.Get, Status: http.StatusForbidden})
	r := w.remover()
	w.work(r, 1)
	w.telnyx.ClearFaults()
	w.advance(time.Minute)
	w.work(r, 0)
}

func TestTheOperatorIsToldOfAnotherAccount(t *testing.T) {
	w := newWorld(t)
	w.mustFind(w.finder(), "main:stays", phone)
	w.assign(alice, phone)
	w.disable(alice)
	elsewhere, told := w.elsewhere(), make(chan error, 1)
	r := w.remover(func(c *provisioning.RemoverConfig) {
		c.Telnyx = elsewhere
		c.OnError = func(err error) {
			select {
			case told <- err:
			default: // of the first
			}
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	select {
	case err := <-told:
		if !errors.Is(err, provisioning.ErrOtherAccount) {
			t.Errorf("told of %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("told of nothing")
	}
	stop()
	running.Wait()
}

// refusing is a Telnyx that refuses to delete all but one.
type refusing struct {
	*telnyx.Client
	but telnyx.CredentialID
}

func (r refusing) DeleteCredential(ctx context.Context, id telnyx.CredentialID) error {
	if id == r.but {
		return r.Client.DeleteCredential(ctx, id)
	}
	return &telnyx.Error{Op: "delete", Credential: id, Kind: telnyx.ErrCredentialRejected, Status: 422, Code: "10015"}
}

func TestDeletionsThatTelnyxRefusesDelayNoOther(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		user := fmt.Sprintf("main:%d", i)
		w.assign(user, phone)
		w.disable(user)
		w.advance(time.Millisecond)
	}
	last := w.assign(alice, phone)
	w.disable(alice)
	r := w.remover(func(c *provisioning.RemoverConfig) { c.Telnyx = refusing{w.client(), last} })
	if err := w.work(r, 20); err != nil {
		t.Errorf("it is trouble: %v", err)
	}
	if w.isThere(last) {
		t.Error("the one that can be deleted is still there")
	}
}

// However few there are: one of them must be in the account.
func TestASmallDirectoryIsNotTakenApartByAnotherAccountsKey(t *testing.T) {
	w := newWorld(t)
	has := w.assign(alice, phone)
	elsewhere := w.elsewhere()
	r := w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Telnyx = elsewhere })
	if report, err := r.Run(t.Context(), apply); !errors.Is(err, provisioning.ErrTooManyGone) || report.Retired > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if w.mustFind(w.finder(withoutProvisioning), alice, phone) != has {
		t.Error("she has lost it")
	}
}

func TestALostDirectoryDeletesNothing(t *testing.T) {
	w := newWorld(t)
	one := w.orphan("main:nobody")
	w.advance(time.Hour)
	if report, err := w.reconciler().Run(t.Context(), apply); !errors.Is(err, provisioning.ErrTooManyOrphans) || report.Queued > 0 || !w.isThere(one) {
		t.Errorf("%+v, %v", report, err)
	}
}
