package phone_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// devRun is a running `tokensvc dev`, and a browser.
type devRun struct {
	t       *testing.T
	page    string
	browser *browser
	output  output
}

var pageAddress = regexp.MustCompile(`(?m)^  page +(http://\S+)`)

// startDev runs it until the test ends, with these arguments beside free ports.
func startDev(t *testing.T, args ...string) *devRun {
	t.Helper()
	t.Parallel()
	d := &devRun{t: t, browser: startBrowser(t)}
	words := []string{"dev"}
	for _, part := range []string{"", "ops-", "issuer-", "telnyx-", "page-"} {
		words = append(words, "-"+part+"listen", "127.0.0.1:0")
	}
	// The test's context is done before its clean-up, and would kill.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, append(words, args...)...)
	cmd.Dir, cmd.Env = t.TempDir(), []string{}
	cmd.Stdout, cmd.Stderr = &d.output, &d.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("tokensvc dev wrote:\n%s", d.output.String())
		}
	})
	process.Eventually(t, process.StartLimit, "tokensvc dev's welcome", func() error {
		welcome := d.output.String()
		found := pageAddress.FindStringSubmatch(welcome)
		if found == nil || !strings.Contains(welcome, "Ctrl-C") {
			return errors.New("it is not there yet")
		}
		d.page = found[1]
		return nil
	})
	return d
}

// withSDK is where dev finds Telnyx's SDK.
func withSDK(t *testing.T) []string {
	t.Helper()
	path, err := filepath.Abs(needSDK(t))
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-sdk", path}
}

// signIn opens the page and signs in as one of dev's people.
func (d *devRun) signIn(person string) *tab {
	d.t.Helper()
	page := d.browser.open(person, d.page)
	page.click("[data-test=sign-in]")
	page.click(fmt.Sprintf("button[value=%s]", person)) // at the issuer
	page.shows(fmt.Sprintf("[data-test=person]:text-is(%q)", person))
	return page
}

// shows waits until something that the selector finds is seen.
func (t *tab) shows(selector string) {
	t.t.Helper()
	t.tell(order{Do: "visible", Selector: selector}, nil)
}

// phoneIs waits for what the page says of the phone.
func (t *tab) phoneIs(state string) {
	t.t.Helper()
	t.shows(fmt.Sprintf("[data-test=registration][data-state=%s]", state))
}

// has waits until the page's timeline has so many events of a type.
func (t *tab) has(events int, kind string) {
	t.t.Helper()
	t.await(fmt.Sprintf("document.querySelectorAll('[data-test=timeline] li[data-type=%s]').length >= %d", kind, events))
}

func (t *tab) count(selector string) (n int) {
	t.t.Helper()
	t.tell(order{Do: "count", Selector: selector}, &n)
	return n
}

func (t *tab) text(selector string) (s string) {
	t.t.Helper()
	t.tell(order{Do: "text", Selector: selector}, &s)
	return s
}

// suffers presses the button of a misfortune, and waits until it has struck.
func (t *tab) suffers(name string) {
	t.t.Helper()
	before := t.count("[data-test=timeline] li[data-type=misfortune]")
	t.click("button[data-misfortune=" + name + "]")
	t.has(before+1, "misfortune")
	t.shows("button[data-misfortune=" + name + "]:not([aria-disabled=true])")
}

func TestDevsPhoneRings(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	page := d.signIn("alice")
	page.phoneIs(registered)
	page.has(1, "token")

	row := page.text("[data-test=timeline] li[data-type=token]")
	for _, step := range []string{"verify", "directory", "mint"} {
		if !strings.Contains(row, step) {
			t.Errorf("the timeline says %q of the token, want how long it took to %s", row, step)
		}
	}
	seen := d.browser.seen()
	redirected := false
	for _, address := range seen.Addresses {
		redirected = redirected || strings.Contains(address, "code_challenge_method=S256")
	}
	if last := seen.Addresses[len(seen.Addresses)-1]; !redirected || last != d.page+"/" {
		t.Errorf("the browser has shown %q, want that it was sent to sign in with PKCE, and the page's plain address in the end", seen.Addresses)
	}
	if len(seen.Refreshes) == 0 {
		t.Error("the issuer has given no refresh token, so that it is nowhere proves little")
	}
	for _, line := range seen.Console {
		if strings.Contains(line, "Content Security Policy") || strings.Contains(line, "Error") {
			t.Errorf("the console says %q", line)
		}
	}
}

// The ring is what is left of the token's life, and runs down with the clock.
func TestDevsTokenRunsDown(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	d.browser.do(order{Do: "clock"}, nil)
	page := d.signIn("alice")
	page.phoneIs(registered)
	page.shows("[data-test=token][data-state=good]")

	const lasts, by = 24 * time.Hour, 6 * time.Hour
	left, ring := page.life()
	if left > lasts || left < lasts-patience || ring > patience.Seconds()/lasts.Seconds() {
		t.Errorf("at first the token has %v left, and %v of its ring is gone, want almost %v, and nothing", left, ring, lasts)
	}
	d.browser.do(order{Do: "jump", Millis: by.Milliseconds()}, nil)
	process.Eventually(t, patience, "six hours less", func() error {
		nowLeft, nowRing := page.life()
		if fell := left - nowLeft; fell < by || fell > by+patience {
			return fmt.Errorf("it shows %v, after %v", nowLeft, left)
		}
		if gone, want := nowRing-ring, by.Seconds()/lasts.Seconds(); math.Abs(gone-want) > 0.01 {
			return fmt.Errorf("%v more of the ring is gone, want %v", gone, want)
		}
		return nil
	})
	page.phoneIs(registered)
}

// life is what is shown of the token's: the time that is left, and the share of the
// ring that is gone.
func (t *tab) life() (left time.Duration, gone float64) {
	t.t.Helper()
	var h, m, s int
	said := t.text("#left")
	if _, err := fmt.Sscanf(said, "%d:%d:%d", &h, &m, &s); err != nil {
		t.t.Fatalf("the time that is left is %q: %v", said, err)
	}
	t.value("Number(document.querySelector('#life').style.strokeDashoffset)", &gone)
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second, gone
}

// What a misfortune's button does to the phone.
func TestDevsMisfortunes(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	page := d.signIn("alice")
	page.phoneIs(registered)

	page.suffers("expire")
	page.has(2, "token")
	page.phoneIs(registered)

	page.suffers("lose-connection")
	page.await("document.querySelectorAll('[data-test=timeline] li[data-type=sdk]').length > 0")
	page.phoneIs(registered)

	page.suffers("telnyx-down")
	page.shows("button[data-misfortune=telnyx-down][aria-pressed=true]")
	page.does("It rings, and notices nothing", "Get one now to see")
	page.click("#renew")
	page.has(1, "retrying")
	page.phoneIs(registered) // with the token that it has
	page.does("The phone still rings", "It goes on asking")
	page.suffers("telnyx-down")
	page.has(3, "token")

	page.suffers("key-rejected")
	page.does("It rings, and notices nothing", "An operator has that long to mend the key")
	page.click("#renew")
	page.has(1, "failed")
	page.phoneIs(registered)
	page.does("The phone still rings", "It has stopped asking")
	page.suffers("key-rejected")
}

// does holds the page's words for what the phone does now to those.
func (t *tab) does(words ...string) {
	t.t.Helper()
	said := t.text("[data-test=doing]")
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.t.Errorf("the page says of the phone %q, want %q", said, w)
		}
	}
}

// Who is offboarded is told so, in words that help.
func TestDevsPhoneIsOffboarded(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	page := d.signIn("alice")
	page.phoneIs(registered)
	page.suffers("offboard")
	page.phoneIs(stopped)
	page.shows("[data-test=problem]")
	if said := page.text("[data-test=problem]"); !strings.Contains(said, "You are not allowed a phone") || !strings.Contains(said, "outcome denied") {
		t.Errorf("alice is told %q, want that she may not have a phone, and the outcome denied", said)
	}
	asked := d.browser.seen().asked()

	page.suffers("offboard") // the end of it
	page.click("#again")
	page.phoneIs(registered)
	if n := d.browser.seen().asked(); n <= asked {
		t.Errorf("the page asked for %d tokens, want another one after %d", n, asked)
	}
}

func TestDevsLoginStormIsCut(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	page := d.signIn("alice")
	page.phoneIs(registered)
	page.suffers("login-loop") // with the loss of the connection
	page.phoneIs(stopped)
	page.shows("[data-test=problem]")
	if logins := d.browser.seen().logins() - 1; logins != 4 { // but for the first
		t.Errorf("%d logins in the storm, want 3, and one with a fresh token", logins)
	}
}

// The second tab is a link, signs in without a question, and asks for no token.
func TestDevsSecondTab(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	page := d.signIn("alice")
	page.phoneIs(registered)
	page.click("[data-test=second-tab]")
	second := &tab{d.browser, "second"}
	second.tell(order{Do: "adopt"}, nil)
	second.phoneIs(registered)
	if n := d.browser.seen().asked(); n != 1 {
		t.Errorf("the tabs asked for %d tokens, want one", n)
	}
}

// What refuses people is told to each in their own words.
func TestDevsPeopleWithoutAPhone(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	for person, outcome := range map[string]string{"bob": "no_credential", "carol": "denied", "dave": "credential_rejected"} {
		page := d.signIn(person)
		page.phoneIs(stopped)
		page.shows("[data-test=problem]")
		if said := page.text("[data-test=problem]"); !strings.Contains(said, outcome) {
			t.Errorf("%s is told %q, want %s", person, said, outcome)
		}
		page.close()
		d.browser.do(order{Do: "forget"}, nil)
	}
}

// Without Node there is no SDK, and the page says what to do.
func TestDevsPageWithoutTheSDK(t *testing.T) {
	d := startDev(t) // in a folder that has none
	page := d.signIn("alice")
	page.has(1, "token")
	if said := page.text("[data-test=registration]"); !strings.Contains(said, "npm ci") {
		t.Errorf("the page says %q, want what is missing", said)
	}
}
