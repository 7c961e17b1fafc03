package phone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

func TestSomebodySignsInAndThePhoneRings(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	var ready int // telnyx.ready, of the SDK itself
	phone.value("phone.ready", &ready)
	if ready != 1 {
		t.Errorf("the SDK says %d times that it is ready, want once", ready)
	}
	if n := w.telnyx.Minted(); n != 1 {
		t.Errorf("%d login tokens minted, want 1", n)
	}
	if c := w.telnyx.Gateway(); c.Connections != 1 || c.Logins != 1 || c.Registrations != 1 || c.Refused != 0 {
		t.Errorf("Telnyx's gateway has seen %+v, want one connection, login and registration", c)
	}
}

// A login on the live connection takes the new token up: the connection is the
// same, and nobody who calls at that moment is missed.
func TestATokenIsRefreshedOnTheLiveConnection(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.pass(phone, 21*time.Hour) // of the 24 that the first token lasts
	phone.awaitEvents("token", 2)
	process.Eventually(t, patience, "a login with the new token", func() error {
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
	process.Eventually(t, patience, "logins with the new tokens", func() error {
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

// A page that the service was not told of gets neither the module nor a token,
// and the browser says why.
func TestAPageOfAnotherOriginGetsNothing(t *testing.T) {
	w := newWorld(t, "alice")
	foreign := startSite(t, w.issuer)
	foreign.calls(settings{Service: w.service.Listen, Gateway: w.telnyx.GatewayURL(), Module: "/client.js"})
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
	phone.value(fmt.Sprintf("import(%q).then(() => 'it is there', (err) => err.name)", w.service.Listen+"/client.js"), &failed)
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
