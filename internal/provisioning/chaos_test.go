package provisioning_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Starting PostgreSQL takes longer than these tests, so they have one together.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	server := pgtest.StartT(t)
	for name, test := range map[string]func(t *testing.T, server *pgtest.Server){
		"fifty first logins make one credential":          fiftyFirstLoginsMakeOneCredential,
		"many users log in first":                         manyUsersLogInFirst,
		"who does not wait is told that another is at it": whoDoesNotWaitIsToldThatAnotherIsAtIt,
	} {
		t.Run(name, func(t *testing.T) { test(t, server) })
	}
}

// twoReplicas returns Finders of two processes that share PostgreSQL.
func twoReplicas(t *testing.T, server *pgtest.Server, change ...func(*provisioning.Config)) (*world, [2]*provisioning.Finder) {
	t.Helper()
	w := worldOn(t, store.Config{Postgres: server.NewDatabase(t)})
	if _, _, err := w.books.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := w.open()
	return w, [2]*provisioning.Finder{
		w.finder(change...), w.finder(append(change, func(c *provisioning.Config) { c.Store = other })...),
	}
}

func fiftyFirstLoginsMakeOneCredential(t *testing.T, server *pgtest.Server) {
	w, finders := twoReplicas(t, server, readyAfter(200*time.Millisecond))
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 200 * time.Millisecond})
	var all sync.WaitGroup
	var ids [50]telnyx.CredentialID
	for i := range ids {
		all.Go(func() {
			var err error
			if ids[i], err = w.find(finders[i%2], alice, phone); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if id.IsZero() || id != ids[0] {
			t.Errorf("one got %v, another %v", ids[0], id)
		}
	}
	w.mustFind(finders[0], alice, phone)
	w.wantAtTelnyx(1)
	if n := w.telnyx.Requests(telnyxtest.Create); n != 1 {
		t.Errorf("%d were made, want 1", n)
	}
}

func manyUsersLogInFirst(t *testing.T, server *pgtest.Server) {
	w, finders := twoReplicas(t, server)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if _, err := w.find(finders[i%2], fmt.Sprintf("main:%d", i/4), directory.Device(fmt.Sprint("d", i/2%2))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.wantAtTelnyx(100)
}

func whoDoesNotWaitIsToldThatAnotherIsAtIt(t *testing.T, server *pgtest.Server) {
	w, finders := twoReplicas(t, server, retry)
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 200 * time.Millisecond})
	go w.find(finders[0], alice, phone)
	until(t, "the making", func() bool { return w.telnyx.Requests(telnyxtest.Create) == 1 })
	_, err := w.find(finders[1], alice, phone)
	if _, ok := errors.AsType[*directory.NotReadyError](err); !ok {
		t.Errorf("got %v", err)
	}
}

// What may go wrong at Telnyx at each step. Whatever it is, the next login that
// finds Telnyx well gets a credential, and there is no other.
func TestTelnyxFailsAtEveryStep(t *testing.T) {
	shapes := map[string]telnyxtest.Fault{
		"an error":       {Status: 500},
		"limited":        {Status: 429},
		"no answer":      {Shape: telnyxtest.Hang},
		"half an answer": {Shape: telnyxtest.HangBody, Status: 201},
		"reset":          {Shape: telnyxtest.Reset},
		"closed":         {Shape: telnyxtest.Close},
		"a page":         {Shape: telnyxtest.HTML, Status: 201},
		"nothing":        {Shape: telnyxtest.Empty, Status: 201},
		"a redirect":     {Shape: telnyxtest.Redirect},
	}
	for name, fault := range shapes {
		for _, op := range []string{telnyxtest.List, telnyxtest.Create} {
			for _, done := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s: %s, done %v", op, name, done), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					f := w.finder(func(c *provisioning.Config) { c.Telnyx = w.impatient() })
					fault.Op, fault.After = op, done
					w.inject(fault)
					if id, err := w.find(f, alice, phone); err == nil {
						t.Errorf("it gave %v", id)
					}
					w.telnyx.ClearFaults()
					w.mustFind(w.finder(), alice, phone)
					if left, err := w.remover().Work(t.Context()); left > 0 || err != nil {
						t.Errorf("%d left, %v", left, err)
					}
					w.wantAtTelnyx(1)
				})
			}
		}
	}
}

func TestTelnyxMakesSeveralOfOneName(t *testing.T) {
	w := newWorld(t)
	name := provisioning.Name(instance, alice, phone)
	oldest := w.byHand(telnyxtest.Credential{Name: name, ConnectionID: connection})
	w.advance(2 * time.Second)
	for range 3 {
		w.byHand(telnyxtest.Credential{Name: name, ConnectionID: connection})
	}
	w.byHand(telnyxtest.Credential{Name: name, ConnectionID: "another"})
	w.byHand(telnyxtest.Credential{Name: name + "x", ConnectionID: connection})
	expired := w.byHand(telnyxtest.Credential{Name: name, ConnectionID: connection})
	w.telnyx.ExpireCredential(expired.String())
	if id := w.mustFind(w.finder(), alice, phone); id != oldest {
		t.Errorf("alice has %v, want the oldest, %v", id, oldest)
	}
	if w.telnyx.Requests(telnyxtest.Create) != 0 || w.deletions() != 3 {
		t.Errorf("%d made, %d to be deleted", w.telnyx.Requests(telnyxtest.Create), w.deletions())
	}
}

func TestWhatIsSomebodyElsesIsNotAdopted(t *testing.T) {
	w := newWorld(t)
	taken := w.byHand(telnyxtest.Credential{Name: provisioning.Name(instance, alice, phone), ConnectionID: connection})
	w.put("main:bob")
	if _, _, err := w.books.Assign(t.Context(), byTest, "main:bob", phone, store.Assignment{ID: taken}, store.Match{}); err != nil {
		t.Fatal(err)
	}
	if id := w.mustFind(w.finder(), alice, phone); id == taken {
		t.Error("alice has got bob's")
	}
	if id := w.mustFind(w.finder(), "main:bob", phone); id != taken {
		t.Error("bob has lost his")
	}
}

// A process dies when it has asked Telnyx, and before it has written down what
// came of it: its books are closed, and with them all it could still do.
func TestAProcessDiesBetweenTelnyxAndTheBooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dying := w.open()
	f := w.finder(func(c *provisioning.Config) { c.Store = dying })
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 200 * time.Millisecond})
	died := make(chan error)
	go func() {
		_, err := w.find(f, alice, phone)
		died <- err
	}()
	until(t, "the making", func() bool { return w.telnyx.Requests(telnyxtest.Create) == 1 })
	dying.Close()
	if err := <-died; !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("its caller got %v", err)
	}
	w.wantAtTelnyx(1)

	_, err := w.find(w.finder(retry), alice, phone)
	if _, ok := errors.AsType[*directory.NotReadyError](err); !ok {
		t.Errorf("as long as it may be alive: %v", err)
	}
	w.advance(time.Minute)
	w.mustFind(w.finder(), alice, phone)
	w.wantAtTelnyx(1)
}

func TestSomebodyIsDisabledWhileTheirCredentialIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(alice)
	f := w.finder()
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 200 * time.Millisecond})
	done := make(chan error)
	go func() {
		_, err := w.find(f, alice, phone)
		done <- err
	}()
	until(t, "the making", func() bool { return w.telnyx.Requests(telnyxtest.Create) == 1 })
	w.disable(alice)
	if err := <-done; !errors.Is(err, directory.ErrDisabled) {
		t.Errorf("got %v", err)
	}
	if left, err := w.remover().Work(t.Context()); left > 0 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
	w.wantAtTelnyx(0)
}

// The name at Telnyx is that of the user's device, so whoever comes back before the
// old credential is deleted finds that.
func TestWhatIsBeingDeletedIsNotGivenOutAgain(t *testing.T) {
	w := newWorld(t)
	f := w.finder()
	old := w.mustFind(f, alice, phone)
	w.disable(alice)
	f.Changed(store.Change{User: alice})
	w.inject(telnyxtest.Fault{Op: telnyxtest.Delete, Status: 500})
	if left, _ := w.remover().Work(t.Context()); left != 1 {
		t.Errorf("%d left", left)
	}
	if _, err := w.books.Enable(t.Context(), byTest, alice, store.Match{}); err != nil {
		t.Fatal(err)
	}
	if id := w.mustFind(f, alice, phone); id == old {
		t.Error("alice has the one that is being deleted")
	}
	w.telnyx.ClearFaults()
	w.advance(time.Hour)
	if left, err := w.remover().Work(t.Context()); left > 0 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
	w.wantAtTelnyx(1)
	w.mustFind(f, alice, phone)
}

func TestPostgreSQLGoesAwayWhileACredentialIsMade(t *testing.T) {
	t.Parallel()
	server := pgtest.StartT(t)
	w := worldOn(t, store.Config{Postgres: server.URL()})
	if _, _, err := w.books.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := w.finder()
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 200 * time.Millisecond})
	lost := make(chan error)
	go func() {
		_, err := w.find(f, alice, phone)
		lost <- err
	}()
	until(t, "the making", func() bool { return w.telnyx.Requests(telnyxtest.Create) == 1 })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-lost; !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	w.wantAtTelnyx(1)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "word that it is being made", func() bool { // first the lost connections are found out
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.Find(ctx, directory.Query{User: alice, Device: phone, Create: true})
		_, ok := errors.AsType[*directory.NotReadyError](err)
		return ok
	})
	w.wantAtTelnyx(1)
	if err := server.Exec(`UPDATE intents SET held_until = 0`); err != nil { // as time does
		t.Fatal(err)
	}
	until(t, "alice's credential", func() bool { _, err := w.find(f, alice, phone); return err == nil })
	w.mustFind(f, alice, phone)
	w.wantAtTelnyx(1)
}
