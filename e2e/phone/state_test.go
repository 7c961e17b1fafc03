package phone_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
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
	t.await("phone.ready > 0") // telnyx.ready, of the SDK itself
	w.wantRegistered(person, 1)
}

// wantRegistered waits until so many phones are registered as that person.
func (w *world) wantRegistered(person string, phones int) {
	w.t.Helper()
	process.Eventually(w.t, patience, person+"'s phones", func() error {
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
	taken := fmt.Sprint(w.clock.file, ".", w.service.Pid())
	process.Eventually(w.t, process.StartLimit, "the service's clock", func() error {
		if text, err := os.ReadFile(taken); !w.service.Gone() && (err != nil || string(text) != told) {
			return errors.New("it has not been set")
		}
		return nil
	})
	w.clock.moved.Add(int64(by)) // the issuer's after it: a bearer must not be of the future
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
