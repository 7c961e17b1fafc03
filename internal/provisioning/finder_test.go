package provisioning_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func withoutProvisioning(c *provisioning.Config) { c.Telnyx = nil }
func listedOnly(c *provisioning.Config)          { c.Everyone = false }
func shared(c *provisioning.Config)              { c.Shared = true }
func retry(c *provisioning.Config)               { c.Wait = false }
func twoDevices(c *provisioning.Config)          { c.MaxDevices = 2 }

func replace(c *provisioning.Config) { c.Replace = true }

func readyAfter(d time.Duration) func(*provisioning.Config) {
	return func(c *provisioning.Config) { c.ReadyAfter = d }
}

func TestWhoHasACredentialWithoutProvisioning(t *testing.T) {
	w := newWorld(t)
	own := w.assign(alice, phone)
	w.put("main:bob")
	w.assign("main:carol", phone)
	w.disable("main:carol")
	f := w.finder(withoutProvisioning)
	if id := w.mustFind(f, alice, phone); id != own {
		t.Errorf("alice has %v, want %v", id, own)
	}
	w.wantError(f, alice, "laptop", directory.ErrNoCredential)
	w.wantError(f, "main:bob", phone, directory.ErrNoCredential)
	w.wantError(f, "main:carol", phone, directory.ErrDisabled)
	w.wantError(f, "main:dave", phone, directory.ErrNoCredential)
}

func TestAFirstLoginMakesACredential(t *testing.T) {
	w := newWorld(t)
	f := w.finder(func(c *provisioning.Config) { c.ExpiresAfter = 24 * time.Hour })
	id := w.mustFind(f, alice, phone)
	at, err := w.client().Credential(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if at.Name != provisioning.Name(instance, alice, phone) || at.ResourceID != "connection:"+connection || at.ExpiresAt.Sub(w.now()).Round(time.Minute) != 24*time.Hour {
		t.Errorf("at Telnyx it is %+v", at)
	}
	recorded, err := w.books.Credential(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if recorded.User != alice || recorded.Device != phone || recorded.SIPUsername != at.SIPUsername || !recorded.Provisioned || !recorded.ExpiresAt.Equal(at.ExpiresAt) {
		t.Errorf("in the books it is %+v", recorded)
	}
	if again := w.mustFind(w.finder(), alice, phone); again != id {
		t.Errorf("the second login gets %v, want %v", again, id)
	}
	w.wantAtTelnyx(1)
}

func TestTheEventsOfALoginHaveItsRequestID(t *testing.T) {
	w := newWorld(t)
	if _, err := w.finder().Find(t.Context(), directory.Query{User: alice, Device: phone, Create: true, RequestID: "r-1"}); err != nil {
		t.Fatal(err)
	}
	events, err := w.books.Events(t.Context(), store.EventList{})
	if err != nil || len(events) != 2 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, e := range events {
		if want := (store.By{Actor: "login", RequestID: "r-1"}); e.By != want {
			t.Errorf("%s is by %+v, want %+v", e.Action, e.By, want)
		}
	}
}

func TestForWhomACredentialIsMade(t *testing.T) {
	w := newWorld(t)
	w.put(alice)
	w.put("main:gone")
	w.disable("main:gone")
	listed := w.finder(listedOnly)
	w.mustFind(listed, alice, phone)
	w.wantError(listed, "main:bob", phone, directory.ErrNoCredential)
	w.wantError(listed, "main:gone", phone, directory.ErrDisabled)
	w.mustFind(w.finder(), "main:bob", phone)
	w.wantError(w.finder(), "main:gone", phone, directory.ErrDisabled)
	w.wantAtTelnyx(2)
}

func TestDevices(t *testing.T) {
	w := newWorld(t)
	f := w.finder(twoDevices)
	a, b := w.mustFind(f, alice, "a"), w.mustFind(f, alice, "b")
	if a == b {
		t.Error("two devices have one credential")
	}
	w.wantError(f, alice, "c", directory.ErrTooManyDevices)
	w.wantAtTelnyx(2)
	w.advance(10*time.Minute + time.Second)
	w.mustFind(w.finder(twoDevices, replace), alice, "c")
	if w.deletions() != 1 {
		t.Error("the replaced credential is not to be deleted")
	}
	one := w.finder(shared)
	if w.mustFind(one, "main:bob", "a") != w.mustFind(one, "main:bob", "b") {
		t.Error("devices that share have two credentials")
	}
}

func TestOnlyADeviceThatIsLongUnusedIsReplaced(t *testing.T) {
	w := newWorld(t)
	f := w.finder(twoDevices, replace)
	w.mustFind(f, alice, "a")
	w.advance(9 * time.Minute)
	b := w.mustFind(f, alice, "b")
	w.wantError(f, alice, "c", directory.ErrTooManyDevices) // a was created in the last ten minutes
	w.advance(90 * time.Second)
	c := w.mustFind(f, alice, "c")
	for i := range 20 { // whatever somebody calls their devices
		w.wantError(f, alice, directory.Device(fmt.Sprintf("d%d", i)), directory.ErrTooManyDevices)
	}
	w.advance(10 * time.Minute)
	w.books.Vended(b, w.now())
	w.books.Vended(c, w.now())
	w.books.Close() // which writes it down
	w.books = w.open()
	w.wantError(w.finder(twoDevices, replace), alice, "e", directory.ErrTooManyDevices)
	if n := w.telnyx.Requests(telnyxtest.Create); n != 3 || w.deletions() != 1 {
		t.Errorf("%d were created and %d are to be deleted, want 3 and 1", n, w.deletions())
	}
}

func TestWhoeverOnlyLooksIsToldOfADeviceTooMany(t *testing.T) {
	w := newWorld(t)
	refusing, replacing := w.finder(twoDevices), w.finder(twoDevices, replace)
	look := func(f *provisioning.Finder, device directory.Device, want error) {
		t.Helper()
		if _, err := f.Find(t.Context(), directory.Query{User: alice, Device: device}); err != want {
			t.Errorf("%s: %v, want %v", device, err, want)
		}
	}
	look(refusing, "a", directory.ErrNotCreated) // nobody knows her
	w.mustFind(refusing, alice, "a")
	look(refusing, "b", directory.ErrNotCreated)
	w.mustFind(refusing, alice, "b")
	look(refusing, "c", directory.ErrTooManyDevices)
	look(replacing, "c", directory.ErrTooManyDevices)
	w.advance(10*time.Minute + time.Second)
	look(refusing, "c", directory.ErrTooManyDevices)
	look(replacing, "c", directory.ErrNotCreated)
	w.wantAtTelnyx(2)
}

func TestWhoeverWaitsGetsACredentialThatIsUsable(t *testing.T) {
	w := newWorld(t)
	f := w.finder(readyAfter(300 * time.Millisecond))
	began := time.Now()
	w.mustFind(f, alice, phone)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	began = time.Now()
	w.mustFind(f, alice, phone)
	if took := time.Since(began); took > 200*time.Millisecond {
		t.Errorf("the second login took %v", took)
	}
}

func TestWhoeverDoesNotWaitIsToldWhenToComeBack(t *testing.T) {
	w := newWorld(t)
	for name, row := range map[string]struct {
		time   time.Duration
		finder *provisioning.Finder
	}{
		"set to retry":  {time.Minute, w.finder(retry, readyAfter(5*time.Second))},
		"little time":   {3 * time.Second, w.finder(readyAfter(5 * time.Second))},
		"no time after": {5500 * time.Millisecond, w.finder(readyAfter(5 * time.Second))},
	} {
		t.Run(name, func(t *testing.T) {
			user := "main:" + strings.ReplaceAll(name, " ", "-")
			ctx, cancel := context.WithTimeout(t.Context(), row.time)
			defer cancel()
			_, err := row.finder.Find(ctx, directory.Query{User: user, Device: phone, Create: true})
			soon, ok := errors.AsType[*directory.NotReadyError](err)
			if !ok || soon.RetryAfter <= 0 || soon.RetryAfter > 5*time.Second {
				t.Fatalf("got %v", err)
			}
			if ctx.Err() != nil {
				t.Error("it waited all the same")
			}
		})
	}
	w.advance(6 * time.Second)
	w.mustFind(w.finder(retry, readyAfter(5*time.Second)), "main:set-to-retry", phone)
}

func TestTheMakingGoesOnWhenTheCallerLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.finder()
	w.inject(telnyxtest.Fault{Op: telnyxtest.Create, Delay: 200 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := f.Find(ctx, directory.Query{User: alice, Device: phone, Create: true})
		left <- err
	}()
	until(t, "the making", func() bool { return w.telnyx.Requests(telnyxtest.Create) > 0 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who left got %v", err)
	}
	w.mustFind(f, alice, phone)
	if n := w.telnyx.Requests(telnyxtest.Create); n != 1 {
		t.Errorf("%d were made, want 1", n)
	}
}

func TestManyWaitButNotAnyNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.finder(func(c *provisioning.Config) { c.MaxWaiting = 2 })
	w.inject(telnyxtest.Fault{Op: telnyxtest.List, Shape: telnyxtest.Hang})
	for _, user := range []string{"main:a", "main:b"} {
		go w.find(f, user, phone)
	}
	until(t, "two who wait", func() bool { return w.telnyx.Requests(telnyxtest.List) == 2 })
	began := time.Now()
	_, err := w.find(f, "main:c", phone)
	if _, ok := errors.AsType[*directory.NotReadyError](err); !ok || time.Since(began) > callTimeout/2 {
		t.Errorf("the third got %v after %v", err, time.Since(began))
	}
	w.telnyx.ClearFaults()
	until(t, "room", func() bool { _, err := w.find(f, "main:c", phone); return err == nil })
}

func TestACredentialThatHasExpiredIsReplaced(t *testing.T) {
	w := newWorld(t)
	f := w.finder(func(c *provisioning.Config) { c.ExpiresAfter = 2 * time.Hour })
	old := w.mustFind(f, alice, phone)
	w.advance(2*time.Hour - 500*time.Millisecond)
	w.mustFind(f, alice, phone)
	w.advance(2 * time.Second)
	w.wantError(w.finder(withoutProvisioning), alice, phone, directory.ErrNoCredential)
	if id := w.mustFind(f, alice, phone); id == old {
		t.Error("the expired one is still handed out")
	}
	if w.deletions() != 1 {
		t.Error("the expired one is not to be deleted")
	}
	if left, err := w.remover().Work(t.Context()); left > 0 || err != nil {
		t.Errorf("%d left, %v", left, err)
	}
	w.wantAtTelnyx(1)
}

func TestWhichDeviceHasACredential(t *testing.T) {
	w := newWorld(t)
	f := w.finder(func(c *provisioning.Config) { c.ExpiresAfter = 2 * time.Hour })
	made, assigned := w.mustFind(f, alice, phone), w.assign(alice, "desk")
	w.put("main:bob")
	gones := w.mustFind(f, "main:gone", phone)
	w.disable("main:gone")
	before := w.atTelnyx()
	want := func(user string, id telnyx.CredentialID, device directory.Device, wrong error) {
		t.Helper()
		// Create means nothing here.
		got, err := f.DeviceOf(t.Context(), directory.Query{User: user, Device: "other", Create: true}, id)
		if got != device || !errors.Is(err, wrong) {
			t.Errorf("of %s: %q, %v, want %q, %v", user, got, err, device, wrong)
		}
	}
	want(alice, made, phone, nil)
	want(alice, assigned, "desk", nil)
	want(alice, gones, "", directory.ErrNoCredential)
	want(alice, telnyx.CredentialID{}, "", directory.ErrNoCredential)
	want("main:bob", made, "", directory.ErrNoCredential)
	want("main:bob", telnyx.CredentialID{}, "", directory.ErrNoCredential)
	want("main:nobody", made, "", directory.ErrNoCredential)
	want("main:gone", gones, "", directory.ErrDisabled)
	want("main:gone", made, "", directory.ErrDisabled)
	w.advance(2*time.Hour + time.Second)
	want(alice, made, "", directory.ErrNoCredential) // which has expired
	want(alice, assigned, "desk", nil)
	if n := w.atTelnyx(); n != before {
		t.Errorf("%d credentials at Telnyx, want %d as before", n, before)
	}
	if err := w.books.Close(); err != nil {
		t.Fatal(err)
	}
	want(alice, assigned, "", directory.ErrUnavailable)
}

func TestWhatWasReadIsUsedForTwoSecondsButNotAfterAChange(t *testing.T) {
	w := newWorld(t)
	f := w.finder()
	id := w.mustFind(f, alice, phone)
	w.mustFind(f, alice, phone) // and from here on it is kept
	w.disable(alice)
	if got, err := w.find(f, alice, phone); got != id || err != nil {
		t.Errorf("before it hears of the change: %v", err)
	}
	f.Changed(store.Change{User: alice})
	w.wantError(f, alice, phone, directory.ErrDisabled)

	w.mustFind(f, "main:bob", phone)
	w.mustFind(f, "main:bob", phone)
	w.disable("main:bob")
	f.Changed(store.Change{All: true})
	w.wantError(f, "main:bob", phone, directory.ErrDisabled)

	w.mustFind(f, "main:carol", phone)
	w.mustFind(f, "main:carol", phone)
	w.disable("main:carol")
	w.advance(2 * time.Second)
	w.wantError(f, "main:carol", phone, directory.ErrDisabled)
}

func TestWithoutTheBooksWhatWasReadGoesOnForAMoment(t *testing.T) {
	w := newWorld(t)
	f := w.finder()
	w.mustFind(f, alice, phone)
	w.mustFind(f, alice, phone)
	w.books.Close()
	w.mustFind(f, alice, phone)
	w.wantError(f, "main:bob", phone, directory.ErrUnavailable)
	w.advance(2 * time.Second)
	w.wantError(f, alice, phone, directory.ErrUnavailable)
	w.wantAtTelnyx(1)
}

func TestAPanicIsAnError(t *testing.T) {
	w := newWorld(t)
	f := w.finder(func(c *provisioning.Config) { c.Telnyx = w.clientWith(func() []secret.Text { panic("a bug") }) })
	_, err := w.find(f, alice, phone)
	if _, ok := errors.AsType[*crash.Error](err); !ok {
		t.Errorf("got %v", err)
	}
	w.mustFind(w.finder(), alice, phone) // and it is not held
}

func TestTelnyxErrorsAreToldAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.finder()
	for _, op := range []string{telnyxtest.List, telnyxtest.Create} {
		for status, want := range map[int]error{
			401: telnyx.ErrKeyRejected, 429: telnyx.ErrLimited, 500: telnyx.ErrUnavailable, 504: telnyx.ErrTimeout,
			400: telnyx.ErrBadAnswer, 404: telnyx.ErrBadAnswer, 422: telnyx.ErrBadAnswer,
		} {
			w.inject(telnyxtest.Fault{Op: op, Status: status, Mark: "MARKED"})
			_, err := w.find(f, alice, phone)
			w.telnyx.ClearFaults()
			if !errors.Is(err, want) || errors.Is(err, telnyx.ErrCredentialRejected) || strings.Contains(err.Error(), "MARKED") {
				t.Errorf("%s %d: %v, want %v", op, status, err, want)
			}
			if want == telnyx.ErrBadAnswer && !strings.Contains(err.Error(), connection) {
				t.Errorf("%v does not tell the operator where to look", err)
			}
		}
	}
	w.mustFind(f, alice, phone)
	w.wantAtTelnyx(1)
}

func TestAFinderRefusesNonsenseByName(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(*provisioning.Config){
		"Store":        func(c *provisioning.Config) { c.Store = nil },
		"ConnectionID": func(c *provisioning.Config) { c.ConnectionID = "a b" },
		"Instance":     func(c *provisioning.Config) { c.Instance = "a:b" },
		"Holder":       func(c *provisioning.Config) { c.Holder = "" },
		"MaxDevices":   func(c *provisioning.Config) { c.MaxDevices = -1 },
		"MaxWaiting":   func(c *provisioning.Config) { c.MaxWaiting = -1 },
		"ReadyAfter":   func(c *provisioning.Config) { c.ReadyAfter = time.Hour },
		"ExpiresAfter": func(c *provisioning.Config) { c.ExpiresAfter = time.Minute },
		"CallTimeout":  func(c *provisioning.Config) { c.CallTimeout = time.Hour },
	} {
		cfg := provisioning.Config{Store: w.books, Telnyx: w.client(), ConnectionID: connection, Instance: instance, Holder: "h"}
		spoil(&cfg)
		if _, err := provisioning.NewFinder(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want an error that names %s", err, name)
		}
	}
}

func TestWhatAnInstanceMayBeCalled(t *testing.T) {
	for instance, want := range map[string]bool{
		"prod": true, "0": true, "eu-west-1": true, strings.Repeat("a", 32): true,
		"": false, strings.Repeat("a", 33): false, "Prod": false, "a.b": false, "a_b": false, "a:b": false, "a b": false, "a\n": false, "é": false,
	} {
		if err := provisioning.CheckInstance(instance); (err == nil) != want {
			t.Errorf("%q: %v", instance, err)
		}
	}
}

func TestNames(t *testing.T) {
	if got := provisioning.Name("prod", "main:alice", "default"); got != provisioning.Name("prod", "main:alice", "default") || len(got) != len("tokensvc:prod:")+32 {
		t.Errorf("the name is %s", got)
	}
	seen := map[string]string{}
	for _, row := range [][3]string{
		{"prod", "main:alice", "default"}, {"prod", "main:alice", "phone"}, {"prod", "main:bob", "default"}, {"test", "main:alice", "default"},
		{"prod", "main:alicedefault", ""}, {"prod", "main:alic", "edefault"},
	} {
		name := provisioning.Name(row[0], row[1], directory.Device(row[2]))
		if strings.Contains(name, "alice") || seen[name] != "" {
			t.Errorf("%v has the name %s", row, name)
		}
		seen[name] = row[1]
	}
}

func TestWhoLosesACredentialWhileItIsWaitedForDoesNotGetIt(t *testing.T) {
	for name, row := range map[string]struct {
		lose func(w *world) error
		want error
	}{
		"disabled": {func(w *world) error {
			_, err := w.books.Disable(w.t.Context(), byTest, alice, store.Match{})
			return err
		}, directory.ErrDisabled},
		"removed": {func(w *world) error {
			return w.books.Remove(w.t.Context(), byTest, alice, false, store.Match{})
		}, directory.ErrNoCredential},
		"unassigned": {func(w *world) error {
			return w.books.Unassign(w.t.Context(), byTest, alice, phone, false, store.Match{})
		}, directory.ErrNoCredential},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			f := w.finder(readyAfter(time.Second))
			got := make(chan error)
			go func() {
				_, err := w.find(f, alice, phone)
				got <- err
			}()
			until(t, "the credential", func() bool {
				counts, err := w.books.Counts(t.Context())
				return err == nil && counts.Credentials == 1
			})
			if err := row.lose(w); err != nil {
				t.Fatal(err)
			}
			if err := <-got; !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}
