package phone_test

import (
	"os"
	"path/filepath"
	"testing"
)

// look is a screen, and what its owner likes.
type look struct {
	name, scheme  string
	width, height int
}

var looks = []look{
	{"light", "light", 1200, 860},
	{"dark", "dark", 1200, 860},
	{"narrow", "light", 360, 740},
	{"narrow-dark", "dark", 360, 740},
}

// wantFit wants the page to be one that everybody can use, on each screen; its
// pictures are for whoever looks at them.
func (t *tab) wantFit(what string) {
	t.t.Helper()
	for _, l := range looks {
		t.tell(order{Do: "look", Scheme: l.scheme, Width: l.width, Height: l.height}, nil)
		var wrong []struct {
			ID, Help string
			Nodes    []string
		}
		t.tell(order{Do: "axe"}, &wrong)
		for _, w := range wrong {
			t.t.Errorf("%s, %s: %s (%s): %q", what, l.name, w.Help, w.ID, w.Nodes)
		}
		var beyond float64
		t.value("document.documentElement.scrollWidth - document.documentElement.clientWidth", &beyond)
		if beyond > 0 {
			t.t.Errorf("%s, %s: the page is %v pixels wider than the screen", what, l.name, beyond)
		}
		if *shots != "" {
			t.tell(order{Do: "screenshot", Path: filepath.Join(*shots, what+"-"+l.name+".png")}, nil)
		}
	}
}

func TestEverybodyCanUseDevsPage(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	if *shots != "" {
		if err := os.MkdirAll(*shots, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	page := d.browser.open("alice", d.page)
	page.shows("[data-test=sign-in]")
	page.wantFit("welcome")
	page.click("[data-test=sign-in]")
	page.shows("button[value=alice]")
	page.wantFit("who-are-you")
	page.click("button[value=alice]")
	page.phoneIs(registered)
	page.wantFit("registered")
	page.suffers("telnyx-down")
	page.click("#renew")
	page.has(1, "retrying")
	page.wantFit("telnyx-down")
	page.suffers("telnyx-down")
	page.suffers("offboard")
	page.phoneIs(stopped)
	page.wantFit("offboarded")
}

// Everything can be reached and seen without a mouse.
func TestDevsPageByKeyboard(t *testing.T) {
	d := startDev(t, withSDK(t)...)
	page := d.browser.open("alice", d.page)
	page.shows("[data-test=sign-in]")
	page.reach("[data-test=sign-in]")
	page.key("Enter")
	page.shows("button[value=alice]")
	page.reach("button[value=alice]")
	page.key("Enter")
	page.phoneIs(registered)
	page.reach("button[data-misfortune=lose-connection]")
	page.key("Space")
	page.has(1, "misfortune")
	page.await("document.activeElement?.dataset.misfortune === 'lose-connection'") // still there
}

func (t *tab) key(name string) {
	t.t.Helper()
	t.tell(order{Do: "press", Key: name}, nil)
}

// reach presses Tab until something has the focus, and wants that to be seen.
func (t *tab) reach(selector string) {
	t.t.Helper()
	const most = 30
	for range most {
		t.key("Tab")
		var there, seen bool
		t.value("document.activeElement.matches(`"+selector+"`)", &there)
		if !there {
			continue
		}
		t.value("getComputedStyle(document.activeElement).outlineStyle !== 'none'", &seen)
		if !seen {
			t.t.Errorf("nobody sees that %s has the focus", selector)
		}
		return
	}
	t.t.Fatalf("%s is not among the first %d things that Tab reaches", selector, most)
}
