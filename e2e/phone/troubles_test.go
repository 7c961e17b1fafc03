package phone_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Nobody notices a service that is replaced, but for whose token is due.
func TestAServiceIsRestartedInMidLife(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.service.Stop(t)
	w.pass(phone, 21*time.Hour)
	phone.awaitEvents("retrying", 1)
	w.rings("alice", phone)
	if e := phone.last("retrying"); e.Error == nil || e.Error.Outcome != "network" || !e.Error.Retryable {
		t.Errorf("while there is no service the page is told %+v", e.Error)
	}

	w.restart()
	phone.awaitEvents("token", 2)
	process.Eventually(t, patience, "a login with the new token", func() error {
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
	phone.tell(order{Do: "freeze"}, nil) // first, so that what is due by then is tried once and not again
	w.pass(phone, 21*time.Hour)
	phone.awaitEvents("retrying", 1)
	asked := phone.happened("asking")
	w.browser.do(order{Do: "offline"}, nil)
	phone.awaitEvents("asking", asked+1)
	w.browser.do(order{Do: "thaw"}, nil)
	phone.awaitEvents("token", 2)
	w.rings("alice", phone)
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
}

// The network ends the connection, and later all connections that are tried.
func TestTheConnectionIsLost(t *testing.T) {
	w := newWorld(t, "alice")
	phone := w.opened("alice")
	w.rings("alice", phone)

	w.telnyx.DropSessions("")
	process.Eventually(t, patience, "another registration", func() error {
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
	process.Eventually(t, patience, "the service reading the users file", func() error {
		if len(w.service.Logged("users file read again")) == 0 {
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
