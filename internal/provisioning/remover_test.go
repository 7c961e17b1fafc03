package provisioning_test

import (
	"context"
	"errors"
	"fmt"
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

// work makes what deletions are due, and checks how many are left.
func (w *world) work(r *provisioning.Remover, left int) error {
	w.t.Helper()
	n, err := r.Work(w.t.Context())
	if n != left {
		w.t.Errorf("%d deletions left, want %d (%v)", n, left, err)
	}
	return err
}

func TestWhoeverIsDisabledLosesTheirCredentialsAtTelnyx(t *testing.T) {
	w := newWorld(t)
	w.assign(alice, phone) // by hand, in a connection that is not ours
	w.mustFind(w.finder(), alice, "laptop")
	w.mustFind(w.finder(), "main:bob", phone)
	w.disable(alice)
	w.work(w.remover(), 0)
	w.wantAtTelnyx(1)
	w.mustFind(w.finder(), "main:bob", phone)
}

func TestACredentialThatIsGoneAlreadyIsDeleted(t *testing.T) {
	w := newWorld(t)
	id := w.assign(alice, phone)
	w.disable(alice)
	w.telnyx.RemoveCredential(id.String())
	if err := w.work(w.remover(), 0); err != nil {
		t.Error(err)
	}
}

func TestADeletionIsTriedUntilItIsDone(t *testing.T) {
	for name, fault := range map[string]telnyxtest.Fault{
		"an error":      {Status: 500},
		"refused":       {Status: 422},
		"key rejected":  {Status: 401},
		"a page":        {Shape: telnyxtest.HTML},
		"reset":         {Shape: telnyxtest.Reset},
		"done, unheard": {Shape: telnyxtest.Reset, After: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.assign(alice, phone)
			w.disable(alice)
			fault.Op = telnyxtest.Delete
			w.inject(fault)
			for range 6 {
				w.remover().Work(t.Context())
				w.advance(10*time.Minute + time.Second)
			}
			if w.deletions() != 1 && !fault.After {
				t.Error("it was given up")
			}
			w.telnyx.ClearFaults()
			w.work(w.remover(), 0)
			w.wantAtTelnyx(0)
		})
	}
}

func TestTheWaitBeforeADeletionDoubles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.assign(alice, phone)
	w.disable(alice)
	w.inject(telnyxtest.Fault{Op: telnyxtest.Delete, Status: 422})
	r := w.remover()
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600} {
		before := w.telnyx.Requests(telnyxtest.Delete)
		w.work(r, 1)
		if n := w.telnyx.Requests(telnyxtest.Delete) - before; n != 1 {
			t.Fatalf("before a wait of %d s it was tried %d times", wait, n)
		}
		w.advance(wait * time.Second * 7 / 10)
		w.work(r, 1)
		if n := w.telnyx.Requests(telnyxtest.Delete) - before; n != 1 {
			t.Fatalf("it was tried again before %d s", wait)
		}
		w.advance(wait * time.Second * 3 / 10)
	}
}

func TestARateLimitIsHonoured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 20 {
		user := fmt.Sprintf("main:%d", i)
		w.assign(user, phone)
		w.disable(user)
	}
	w.inject(telnyxtest.Fault{Op: telnyxtest.Delete, Status: 429, RetryAfter: "60"})
	r := w.remover()
	if err := w.work(r, 20); !errors.Is(err, telnyx.ErrLimited) {
		t.Errorf("got %v", err)
	}
	if n := w.telnyx.Requests(telnyxtest.Delete); n > 2 {
		t.Errorf("%d calls, want no more than two that are under way at once", n)
	}
}

func TestAnotherFinishesWhatADeadRemoverHasClaimed(t *testing.T) {
	w := newWorld(t)
	w.assign(alice, phone)
	w.disable(alice)
	w.inject(telnyxtest.Fault{Op: telnyxtest.Delete, Shape: telnyxtest.Hang})
	ctx, die := context.WithCancel(t.Context())
	var dead sync.WaitGroup
	dead.Go(func() { w.remover().Run(ctx) })
	until(t, "the deletion", func() bool { return w.telnyx.Requests(telnyxtest.Delete) == 1 })
	die()
	dead.Wait()
	w.telnyx.ClearFaults()
	other := w.open()
	second := w.remover(func(c *provisioning.RemoverConfig) { c.Store = other })
	w.work(second, 1)
	w.wantAtTelnyx(1)
	w.advance(time.Minute)
	w.work(second, 0)
	w.wantAtTelnyx(0)
}

func TestRunDeletesWhenItIsNudgedAndAfterTheBooksWereAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.assign(alice, phone)
	var troubles, deletions atomic.Int32
	away := &absent{Store: w.books}
	away.away.Store(true)
	r := w.remover(func(c *provisioning.RemoverConfig) {
		c.Store = away
		c.OnError = func(error) { troubles.Add(1) }
		c.OnDelete = func(_ time.Duration, err error) {
			if err == nil {
				deletions.Add(1)
			}
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	until(t, "trouble", func() bool { return troubles.Load() > 0 })
	away.away.Store(false)
	w.disable(alice)
	r.Nudge()
	until(t, "the deletion", func() bool { return deletions.Load() == 1 })
	if _, err := w.client().Credential(t.Context(), id); !errors.Is(err, telnyx.ErrCredentialRejected) {
		t.Errorf("it is still there: %v", err)
	}
	stop()
	running.Wait()
}

// absent is the real books, whose database is away at times.
type absent struct {
	*store.Store
	away atomic.Bool
}

func (a *absent) ClaimDeletions(ctx context.Context, n int, hold time.Duration) ([]store.Deletion, error) {
	if a.away.Load() {
		return nil, directory.ErrUnavailable
	}
	return a.Store.ClaimDeletions(ctx, n, hold)
}
