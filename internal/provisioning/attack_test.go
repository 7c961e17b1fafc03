package provisioning_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func fiveDevices(c *provisioning.Config) { c.MaxDevices = 5 }

// atOnce asks for these devices of alice's at once, and returns how many it was
// given.
func (w *world) atOnce(f *provisioning.Finder, first, last int) (given int) {
	w.t.Helper()
	var all sync.WaitGroup
	var got atomic.Int64
	for i := first; i < last; i++ {
		all.Go(func() {
			_, err := w.find(f, alice, directory.Device(fmt.Sprint("d", i)))
			_, soon := errors.AsType[*directory.NotReadyError](err)
			switch {
			case err == nil:
				got.Add(1)
			case !soon && !errors.Is(err, directory.ErrTooManyDevices):
				w.t.Error(err)
			}
		})
	}
	all.Wait()
	return int(got.Load())
}

func TestAThousandDevicesOfOneUserAreNotMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.finder(fiveDevices)
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 100 * time.Millisecond})
	given := 0
	for first := 0; first < 1000; first += 100 {
		given += w.atOnce(f, first, first+100)
	}
	if given != 5 {
		t.Errorf("%d were given, want 5", given)
	}
	// Five may be under way when four have been made.
	if made, looked := w.telnyx.Requests(telnyxtest.Create), w.telnyx.Requests(telnyxtest.List); made > 9 || looked > 9 {
		t.Errorf("%d were made, after %d looks", made, looked)
	}
	w.work(w.remover(), 0)
	w.wantAtTelnyx(5)
	w.mustFind(f, "main:bob", phone)
}

// flying is how many goroutines are at work for Finders.
func flying() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "provisioning.(*Finder).") // more than one in each
}

func TestWhoGivesUpLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	allGone := make(chan struct{})
	f := w.finder(func(c *provisioning.Config) { c.Telnyx = &shifting{w.client(), func(int) { <-allGone }} })
	ctx, giveUp := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			_, err := f.Find(ctx, directory.Query{User: fmt.Sprintf("main:%d", i%10), Device: phone, Create: true})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who gives up got %v", err)
			}
		})
	}
	until(t, "the looking", func() bool { return w.telnyx.Requests(telnyxtest.List) == 10 })
	giveUp()
	all.Wait()
	close(allGone)
	until(t, "the end of all flights", func() bool { return flying() == 0 })
	w.wantAtTelnyx(10)
}

// An account whose pages are read while it changes.
type shifting struct {
	*telnyx.Client
	between func(page int)
}

func (s *shifting) Credentials(ctx context.Context, q telnyx.Query) (telnyx.Page, error) {
	page, err := s.Client.Credentials(ctx, q)
	s.between(q.Page)
	return page, err
}

func (w *world) shifting(between func(page int)) *provisioning.Reconciler {
	return w.reconciler(func(c *provisioning.ReconcilerConfig) { c.Telnyx = &shifting{w.client(), between} })
}

// What is deleted before the page that is read moves others to a page that was read
// already.
func TestPagesThatShiftMissNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var strangers []telnyx.CredentialID
	for range 300 {
		strangers = append(strangers, w.byHand(telnyxtest.Credential{}))
	}
	f := w.finder()
	for i := range 20 {
		w.mustFind(f, fmt.Sprintf("main:%d", i), phone)
	}
	orphan := w.orphan("main:nobody")
	w.advance(time.Hour)
	var logins int
	report, err := w.shifting(func(page int) {
		if page != 1 {
			return
		}
		for _, id := range strangers[:60] {
			w.telnyx.RemoveCredential(id.String())
		}
		strangers = strangers[60:]
		logins++
		w.mustFind(f, fmt.Sprintf("main:new-%d", logins), phone)
	}).Run(t.Context(), provisioning.Options{Apply: true, Force: true})
	if err != nil || report.Gone+report.Expired > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	for i := range 20 {
		w.mustFind(w.finder(withoutProvisioning), fmt.Sprintf("main:%d", i), phone)
	}
	if again := w.reconcile(apply); again.Gone > 0 || w.isThere(orphan) {
		t.Errorf("a second one finds %+v", again)
	}
}

// A replica whose clock is behind writes down what it makes as if it had been there
// before the reconciliation began.
func TestWhatAReplicaWithASlowClockRecordsIsNotGone(t *testing.T) {
	w := newWorld(t)
	gone := w.assign("main:gone", phone)
	w.assign("main:there", phone)
	w.orphan("main:nobody")
	slow := w.config
	slow.Now = func() time.Time { return w.now().Add(-time.Minute) }
	books, err := store.Open(slow)
	if err != nil {
		t.Fatal(err)
	}
	defer books.Close()
	f := w.finder(func(c *provisioning.Config) { c.Store = books })
	w.advance(time.Hour)
	w.telnyx.RemoveCredential(gone.String())
	lists := 0
	report, err := w.shifting(func(int) {
		if lists++; lists == 2 { // all has been compared, and is about to be mended
			w.mustFind(f, alice, phone)
		}
	}).Run(t.Context(), apply)
	if err != nil || report.Gone != 1 || lists != 2 {
		t.Errorf("%+v, %v, %d pages", report, err, lists)
	}
	w.mustFind(w.finder(withoutProvisioning), alice, phone)
}

// Whoever is enabled again finds their old credential by its name, while it is being
// deleted.
func TestWhatIsDeletedAfterItWasFoundIsNotAdopted(t *testing.T) {
	w := newWorld(t)
	f := w.finder()
	old := w.mustFind(f, alice, phone)
	w.disable(alice)
	f.Changed(store.Change{User: alice})
	if _, err := w.books.Enable(t.Context(), byTest, alice, store.Match{}); err != nil {
		t.Fatal(err)
	}
	f = w.finder(func(c *provisioning.Config) {
		c.Telnyx = &shifting{w.client(), func(int) { w.work(w.remover(), 0) }}
	})
	_, err := w.find(f, alice, phone)
	if _, ok := errors.AsType[*directory.NotReadyError](err); !ok {
		t.Errorf("got %v", err)
	}
	if id := w.mustFind(f, alice, phone); id == old {
		t.Error("alice has what is deleted")
	}
	w.wantAtTelnyx(1)
}

func TestAnOrphanThatIsDeletedAfterItWasSeenIsNotAdopted(t *testing.T) {
	w := newWorld(t)
	w.put(alice)
	w.crash(alice)
	w.advance(time.Hour)
	lists := 0
	report, err := w.shifting(func(int) {
		if lists++; lists == 2 {
			w.telnyx.RemoveCredential(w.telnyx.Credentials()[0].ID)
		}
	}).Run(t.Context(), apply)
	if err != nil || report.Orphans != 1 || report.Adopted != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	w.wantError(w.finder(withoutProvisioning), alice, phone, directory.ErrNoCredential)
	w.mustFind(w.finder(), alice, phone)
}
