package phone_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// What a phone's registration may be in.
const (
	registered = "registered"
	stopped    = "stopped"
)

// opened opens the page for somebody in a tab whose clock can be moved.
func (w *world) opened(person string) *tab {
	w.t.Helper()
	w.browser.do(order{Do: "clock"}, nil)
	return w.browser.open(person, w.site.of(person))
}

// is waits for the tab's phone to be in a state.
func (t *tab) is(state string) {
	t.t.Helper()
	t.await(fmt.Sprintf("globalThis.phone?.state === %q", state))
}

// rings waits for the tab's phone to be registered with Telnyx as that person,
// who has no other.
func (w *world) rings(person string, t *tab) {
	w.t.Helper()
	t.is(registered)
	w.wantRegistered(person, 1)
}

// wantRegistered waits until so many phones are registered as that person.
func (w *world) wantRegistered(person string, phones int) {
	w.t.Helper()
	eventually(w.t, patience, person+"'s phones", func() error {
		if n := w.telnyx.Registered(w.credentials[person]); n != phones {
			return fmt.Errorf("%d are registered, want %d", n, phones)
		}
		return nil
	})
}

// event is what the page was told by the module.
type event struct {
	Type, From, State, Reason string
	Attempt                   int
	Fresh                     bool
	ExpiresAt                 float64
	RequestID                 string
	Timings                   map[string]float64
	Error                     *failure
}

// failure is an error of the module's.
type failure struct {
	Name, Message, Outcome, RequestID string
	Status                            int
	Retryable                         bool
}

func (t *tab) events() (all []event) {
	t.t.Helper()
	t.value("phone.events", &all)
	return all
}

// happened counts the events of that type.
func (t *tab) happened(kind string) (n int) {
	t.t.Helper()
	for _, e := range t.events() {
		if e.Type == kind {
			n++
		}
	}
	return n
}

// awaitEvents waits until there were that many events of a type.
func (t *tab) awaitEvents(kind string, n int) {
	t.t.Helper()
	t.await(fmt.Sprintf("globalThis.phone?.events.filter(({ type }) => type === %q).length >= %d", kind, n))
}

// pass has time go by, everywhere, as if the page had been busy all along.
func (w *world) pass(t *tab, by time.Duration) {
	w.t.Helper()
	w.night(by)
	w.browser.do(order{Do: "jump", Millis: by.Milliseconds()}, nil)
}

// night is pass for all but the browser, which sleeps.
func (w *world) night(by time.Duration) {
	w.t.Helper()
	told := w.clock.tell(w.t, by)
	taken := fmt.Sprint(w.clock.file, ".", w.service.cmd.Process.Pid)
	eventually(w.t, startLimit, "the service's clock", func() error {
		if text, err := os.ReadFile(taken); !w.service.gone() && (err != nil || string(text) != told) {
			return errors.New("it has not been set")
		}
		return nil
	})
	w.clock.moved.Add(int64(by)) // the issuer's after it: a bearer must not be of the future
}

func TestSomebodySignsInAndThePhoneRings(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	if n := w.telnyx.Minted(); n != 1 {
		t.Errorf("%d login tokens minted, want 1", n)
	}
	if c := w.telnyx.Gateway(); c.Connections != 1 || c.Logins != 1 || c.Registrations != 1 || c.Refused != 0 {
		t.Errorf("Telnyx's gateway has seen %+v, want one connection, login and registration", c)
	}
	w.browser.wantNoSecret()
}

// A login on the live connection takes the new token up: the connection is the
// same, and nobody who calls at that moment is missed.
func TestATokenIsRefreshedOnTheLiveConnection(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.pass(phone, 21*time.Hour) // of the 24 that the first token lasts
	phone.awaitEvents("token", 2)
	eventually(t, patience, "a login with the new token", func() error {
		if n := w.telnyx.Gateway().Logins; n != 2 {
			return fmt.Errorf("there were %d logins, want 2", n)
		}
		return nil
	})
	w.rings("alice", phone)
	if c := w.telnyx.Gateway(); c.Connections != 1 || c.Registrations != 1 || c.Refused != 0 {
		t.Errorf("Telnyx's gateway has seen %+v, want no second connection or registration", c)
	}

	w.pass(phone, 4*time.Hour) // past the end of the first
	w.rings("alice", phone)
	if c := w.telnyx.Gateway(); c.Connections != 1 || c.Registrations != 1 {
		t.Errorf("after the first token's end Telnyx's gateway has seen %+v, want that nothing happened", c)
	}
	w.browser.wantNoSecret()
}

func TestALaptopThatSleptRingsAgain(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	phone.tell(order{Do: "freeze"}, nil)
	w.night(25 * time.Hour)
	w.wantRegistered("alice", 0) // Telnyx has let go of it
	w.browser.do(order{Do: "jump", Millis: (25 * time.Hour).Milliseconds()}, nil)
	w.browser.do(order{Do: "thaw"}, nil)

	phone.awaitEvents("token", 2)
	w.rings("alice", phone)
	if c := w.telnyx.Gateway(); c.Refused != 0 || c.Registrations != 2 {
		t.Errorf("Telnyx's gateway has seen %+v, want another registration, and no login with the old token", c)
	}
	w.browser.wantNoSecret()
}

// The first is given by whoever came first, and the second is told.
func TestTwoTabsAskOnce(t *testing.T) {
	w := newWorld(t, "alice")
	one, other := w.opened("alice"), w.browser.open("other", w.site.of("alice"))
	one.is(registered)
	other.is(registered)
	w.wantRegistered("alice", 2)

	seen := w.browser.seen()
	if n, minted := seen.asked(), w.telnyx.Minted(); n != 1 || minted != 1 {
		t.Errorf("the tabs asked %d times and %d tokens were minted, want once", n, minted)
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(seen.Tokens))); len(distinct) != 1 {
		t.Errorf("the tabs logged in with %d tokens, want one", len(distinct))
	}

	w.pass(one, 21*time.Hour)
	one.awaitEvents("token", 2)
	other.awaitEvents("token", 2)
	if n := w.browser.seen().asked(); n != 2 {
		t.Errorf("after a refresh the tabs have asked %d times, want twice", n)
	}
	one.is(registered)
	other.is(registered)
	if c := w.telnyx.Gateway(); c.Connections != 2 || c.Registrations != 2 {
		t.Errorf("Telnyx's gateway has seen %+v, want a connection and a registration for each tab", c)
	}
	w.browser.wantNoSecret()
}

// A browser is shared more often than a person would think.
func TestTwoPeopleInTwoTabsGetTheirOwn(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	alice, bob := w.opened("alice"), w.browser.open("bob", w.site.of("bob"))
	w.rings("alice", alice)
	w.rings("bob", bob)
	w.pass(alice, 21*time.Hour)
	alice.awaitEvents("token", 2)
	bob.awaitEvents("token", 2)
	eventually(t, patience, "logins with the new tokens", func() error {
		if n := w.telnyx.Gateway().Logins; n != 4 {
			return fmt.Errorf("there were %d logins, want 4", n)
		}
		return nil
	})
	w.rings("alice", alice)
	w.rings("bob", bob)

	if n := w.browser.seen().asked(); n != 4 {
		t.Errorf("the tabs asked %d times, want twice each", n)
	}
	for person, tab := range map[string]*tab{"alice": alice, "bob": bob} {
		for _, e := range tab.events() {
			if e.Type == "token" && e.From != "service" {
				t.Errorf("%s was given a token by a %s", person, e.From)
			}
		}
	}
	for _, s := range w.browser.seen().Sockets {
		if n := s.logins(); n != 2 {
			t.Errorf("%s's connection has logged in %d times, want twice", s.Tab, n)
		}
	}
}

// Nobody notices a service that is replaced, but for whose token is due.
func TestAServiceIsRestartedInMidLife(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.service.stop(t)
	w.pass(phone, 21*time.Hour)
	phone.awaitEvents("retrying", 1)
	w.rings("alice", phone)
	if e := phone.last("retrying"); e.Error == nil || e.Error.Outcome != "network" || !e.Error.Retryable {
		t.Errorf("while there is no service the page is told %+v", e.Error)
	}

	w.restart()
	phone.awaitEvents("token", 2)
	eventually(t, patience, "a login with the new token", func() error {
		if n := w.telnyx.Gateway().Logins; n != 2 {
			return fmt.Errorf("there were %d logins, want 2", n)
		}
		return nil
	})
	w.rings("alice", phone)
	if c := w.telnyx.Gateway(); c.Connections != 1 || c.Registrations != 1 {
		t.Errorf("Telnyx's gateway has seen %+v, want one connection throughout", c)
	}
}

// Whoever comes back online does not wait for a timer.
func TestAPhoneComesBackOnline(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.browser.do(order{Do: "offline", Offline: true}, nil)
	w.pass(phone, 21*time.Hour)
	phone.awaitEvents("retrying", 1)
	phone.tell(order{Do: "freeze"}, nil)
	asked := phone.happened("asking")
	w.browser.do(order{Do: "offline"}, nil)
	phone.awaitEvents("asking", asked+1)
	w.browser.do(order{Do: "thaw"}, nil)
	phone.awaitEvents("token", 2)
	w.rings("alice", phone)
}

// last is the last event of that type.
func (t *tab) last(kind string) event {
	t.t.Helper()
	for _, e := range slices.Backward(t.events()) {
		if e.Type == kind {
			return e
		}
	}
	t.t.Fatalf("there was no event %q", kind)
	return event{}
}

// What the service has kept is enough for who comes back.
func TestTelnyxsAPIIsDown(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.telnyx.Inject(telnyxtest.Fault{Status: http.StatusServiceUnavailable})
	phone.reload()
	w.rings("alice", phone)
	if n := w.telnyx.Minted(); n != 1 {
		t.Errorf("%d tokens minted, want the one from before", n)
	}
	w.browser.wantNoSecret()
}

// The network ends the connection, and later all connections that are tried.
func TestTheConnectionIsLost(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.telnyx.DropSessions("")
	eventually(t, patience, "another registration", func() error {
		if c := w.telnyx.Gateway(); c.Registrations != 2 || c.Live != 1 {
			return fmt.Errorf("Telnyx's gateway has seen %+v", c)
		}
		return nil
	})
	w.rings("alice", phone)

	w.telnyx.SetGatewayDown(true)
	phone.await("phone.state !== 'registered'")
	w.telnyx.SetGatewayDown(false)
	w.rings("alice", phone)
	if n := w.browser.seen().asked(); n != 1 {
		t.Errorf("the page asked for %d tokens, want the first: it was good all along", n)
	}
}

// Who may no longer phone is told, and nothing goes on behind their back.
func TestWhoHasLeftIsToldSo(t *testing.T) {
	w := newWorld(t, "alice", "bob")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.employ("bob")
	eventually(t, patience, "the service reading the users file", func() error {
		if len(w.service.logged("users file read again")) == 0 {
			return errors.New("it has not")
		}
		return nil
	})
	w.pass(phone, 21*time.Hour)
	phone.is(stopped)
	w.wantRegistered("alice", 0)

	var told failure
	phone.value("phone.error", &told)
	if told.Outcome != "no_credential" || told.Status != http.StatusForbidden || told.Retryable || told.RequestID == "" {
		t.Errorf("the page is told %+v, want no_credential", told)
	}
	if !strings.Contains(told.Message, told.RequestID) || !strings.Contains(told.Message, told.Outcome) {
		t.Errorf("the message %q has no request id or no outcome in it", told.Message)
	}
	asked, logins := w.browser.seen().asked(), w.telnyx.Gateway().Logins
	w.pass(phone, time.Hour)
	if again, c := w.browser.seen().asked(), w.telnyx.Gateway(); again != asked || c.Logins != logins || asked != 2 {
		t.Errorf("asked %d times and then %d, logged in %d times and then %d, want no more of either", asked, again, logins, c.Logins)
	}
	w.browser.wantNoSecret()
}

// -32000 makes this SDK log in again at once, without end.
func TestAStormOfLoginsIsCut(t *testing.T) {
	w := newWorld(t, "alice")
	w.telnyx.RefuseLogins(-32000, 0)
	phone := w.opened("alice")
	phone.is(stopped)
	var told failure
	phone.value("phone.error", &told)
	if told.Outcome != "login_loop" || told.Retryable {
		t.Errorf("the page is told %+v, want login_loop", told)
	}
	for n, s := range w.browser.seen().Sockets {
		if got, want := s.logins(), []int{3, 1}; n >= len(want) || got != want[n] {
			t.Errorf("connection %d has logged in %d times, want 3 times on the first, and once on another", n, got)
		}
	}
	cut := w.telnyx.Gateway().Logins
	if cut != 4 {
		t.Errorf("Telnyx's gateway has seen %d logins, want 3, and one with a fresh token", cut)
	}
	if n := w.telnyx.Minted(); n != 2 {
		t.Errorf("%d tokens minted, want one more, asked for as fresh", n)
	}
	w.pass(phone, time.Hour)
	if n := w.telnyx.Gateway().Logins; n != cut {
		t.Errorf("%d logins an hour later, want the %d from before", n, cut)
	}
}

// A login that Telnyx refuses is tried with another token, which nobody has kept.
func TestARefusedLoginIsTriedWithAFreshToken(t *testing.T) {
	w := newWorld(t, "alice")
	w.telnyx.RefuseLogins(-32001, 1)
	phone := w.opened("alice")
	w.rings("alice", phone)
	if n, c := w.telnyx.Minted(), w.telnyx.Gateway(); n != 2 || c.Logins != 2 {
		t.Errorf("%d tokens minted for %d logins, want 2 each", n, c.Logins)
	}

	// The same in the middle of the day, for a reason of Telnyx's.
	w.telnyx.ExpireTokens("")
	w.wantRegistered("alice", 1)
	w.rings("alice", phone)
	if n := w.telnyx.Minted(); n != 3 {
		t.Errorf("%d tokens minted, want one more", n)
	}
	w.browser.wantNoSecret()
}

func TestALoginThatIsAlwaysRefusedIsGivenUp(t *testing.T) {
	w := newWorld(t, "alice")
	w.telnyx.RefuseLogins(-32001, 0)
	phone := w.opened("alice")
	phone.is(stopped) // after pauses of some seconds
	n := w.telnyx.Gateway().Logins
	if n != 4 {
		t.Errorf("%d logins, want the first and 3 with fresh tokens", n)
	}
	w.pass(phone, time.Hour)
	if again := w.telnyx.Gateway().Logins; again != n {
		t.Errorf("%d logins an hour later, want the %d from before", again, n)
	}
}

// A page that the service was not told of gets neither the module nor a token,
// and the browser says why.
func TestAPageOfAnotherOriginGetsNothing(t *testing.T) {
	w := newWorld(t, "alice")
	foreign := startSite(t, w.issuer)
	foreign.calls(settings{Service: w.service.url, Gateway: w.telnyx.GatewayURL(), Module: "/client.js"})
	phone := w.browser.open("foreign", foreign.of("alice"))
	phone.awaitEvents("retrying", 1)
	if e := phone.last("retrying").Error; e == nil || e.Outcome != "network" {
		t.Errorf("the page is told %+v, want network: a browser says no more", e)
	}
	if n := w.telnyx.Minted(); n != 0 {
		t.Errorf("%d tokens minted, want none", n)
	}
	if said := strings.Join(w.browser.seen().Console, "\n"); !strings.Contains(said, "blocked by CORS policy") {
		t.Errorf("the browser says %q, want that it is CORS", said)
	}

	var failed string
	phone.value(fmt.Sprintf("import(%q).then(() => 'it is there', (err) => err.name)", w.service.url+"/client.js"), &failed)
	if failed != "TypeError" {
		t.Errorf("the page imports the module from the service: %s, want TypeError", failed)
	}
}

func TestAWorkerGetsATokenToo(t *testing.T) {
	w := newWorld(t, "alice")
	s := *w.site.settings.Load()
	s.TokensOnly = true
	w.site.calls(s)
	page := w.browser.open("page", w.site.of("alice"))
	page.await("globalThis.phone?.began")
	var got struct {
		Device, RequestID, Failed string
		Life                      float64
	}
	page.value(`new Promise((resolve) => {
		new Worker('/worker.mjs', { type: 'module' }).onmessage = ({ data }) => resolve(data);
	})`, &got)
	if got.Device != "default" || got.RequestID == "" || got.Failed != "" {
		t.Errorf("the worker got %+v, want a token", got)
	}
	if life := time.Duration(got.Life) * time.Millisecond; life < 23*time.Hour || life > 24*time.Hour {
		t.Errorf("the worker's token lasts %v more, want almost 24 h", life)
	}
}
