package phone_test

import (
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// Who pins the module as the guide shows runs that of README's hash, or none.
func TestAPageRunsTheModuleOfItsHashOnly(t *testing.T) {
	w := newWorld(t, "alice")
	hash := found(t, "../../README.md", `sha384-[A-Za-z0-9+/]{64}`)
	sum := sha512.Sum384([]byte("another version"))

	w.pins("sha384-" + base64.StdEncoding.EncodeToString(sum[:]))
	none := w.browser.open("none", w.site.of("alice"))
	process.Eventually(t, patience, "the browser's refusal", func() error {
		said := strings.Join(w.browser.seen().Console, "\n")
		if !strings.Contains(said, "Failed to find a valid digest") || !strings.Contains(said, "Failed to fetch dynamically imported module") {
			return errors.New("it says " + said)
		}
		return nil
	})
	var ran bool
	none.value("Boolean(phone.source || phone.began || phone.bearers)", &ran)
	if n := w.browser.seen().asked(); ran || n != 0 {
		t.Errorf("a module of another hash runs: %t, and %d tokens were asked for", ran, n)
	}

	w.pins(hash)
	w.rings("alice", w.opened("alice"))
}

// pins has the page name the module, and its hash, in the import map of the guide.
func (w *world) pins(hash string) {
	w.t.Helper()
	html := found(w.t, "../../docs/clients/browser.md", `(?s)<script type="importmap">\n[^<]*"integrity"[^<]*</script>`)
	pinned := strings.NewReplacer("https://tokens.example.com", w.service.Listen, "sha384-…", hash).Replace(html)
	w.site.calls(settings{Service: w.service.Listen, Gateway: w.telnyx.GatewayURL(), Module: "@tokensvc/client", ImportMap: pinned})
}

// found is the first text of a pattern in a file.
func found(t *testing.T, path, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(pattern).Find(text)
	if match == nil {
		t.Fatalf("%s has no %s", path, pattern)
	}
	return string(match)
}
