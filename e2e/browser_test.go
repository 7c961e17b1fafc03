package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const browserPatience = 3 * time.Minute // for all that a person does, on a busy machine

// page is a web softphone on an origin of its own.
type page struct {
	origin, issuer string

	settings atomic.Pointer[map[string]string]
}

func servePage(t *testing.T, p *provider) *page {
	t.Helper()
	site := &page{issuer: p.Issuer}
	files := http.NewServeMux()
	for path, file := range map[string]string{
		"/{$}":              "page.html",
		"/callback":         "page.html",
		"/page.mjs":         "page.mjs",
		"/oauth4webapi.mjs": "node_modules/oauth4webapi/build/index.js",
	} {
		files.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(path, ".mjs") {
				w.Header().Set("Content-Type", "text/javascript")
			}
			http.ServeFile(w, r, filepath.Join("provider", file))
		})
	}
	files.HandleFunc("/config.json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(site.settings.Load())
	})
	server := httptest.NewServer(files)
	t.Cleanup(server.Close)
	site.origin = server.URL
	return site
}

// calls makes the page one of the service at that address, before anybody opens
// it, that binds its token to a key, or not.
func (p *page) calls(service string, dpop bool) {
	settings := map[string]string{"issuer": p.issuer, "resource": resource, "service": service}
	if dpop {
		settings["dpop"] = "yes"
	}
	p.settings.Store(&settings)
}

// visit is what was seen of a person's visit to a page.
type visit struct {
	Result struct { // what the page says in the end
		Status  int
		Headers map[string]string // that it may read
		Body    string
		Error   string // if it could not ask
	}
	Bearer    string   // the access token that the page was given
	Addresses []string // that the browser showed
	Console   []string // what was written there
	Storage   string   // of the page, with its cookies
}

// signIn lets user sign in at the page with Chromium.
func (p *page) signIn(t *testing.T, user string) visit {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		process.Skip(t, "chromium is not installed: a person signs in with it")
	}
	browser := startProgram(t, "browser.mjs", chromium, p.origin+"/", user)
	var seen visit
	browser.awaitWithin(t, browserPatience, "done", &seen)
	if seen.Bearer == "" {
		t.Fatalf("the page was given no access token: %+v", seen)
	}
	return seen
}

// wantSecret wants a secret nowhere but in the page's own memory.
func (v visit) wantSecret(t *testing.T, what, secret string) {
	t.Helper()
	for place, shown := range map[string]string{
		"an address":         strings.Join(v.Addresses, "\n"),
		"the console":        strings.Join(v.Console, "\n"),
		"the page's storage": v.Storage,
	} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is in %s", what, place)
		}
	}
}

func TestAPersonSignsInWithABrowser(t *testing.T) {
	p := startProvider(t, 0)
	site := servePage(t, p)
	w := newWorld(t, p.Issuer)
	w.env["TOKENSVC_CORS_ORIGINS"] = site.origin
	s := startService(t, w.env)
	site.calls(s.Listen, false)

	seen := site.signIn(t, "alice")
	s.hide(seen.Bearer)
	got := answer{status: seen.Result.Status, body: seen.Result.Body}
	if owner, _ := w.telnyx.CredentialOf(got.token()); got.status != http.StatusOK || owner != w.credentials["alice"] {
		t.Fatalf("the page got %d %s for credential %q, want a token for alice's %q; error %q, console %q",
			got.status, got.problem().Code, owner, w.credentials["alice"], seen.Result.Error, seen.Console)
	}
	s.hide(got.token())
	if id := seen.Result.Headers["x-request-id"]; id == "" {
		t.Errorf("the page cannot read X-Request-Id, only %v", seen.Result.Headers)
	}
	seen.wantSecret(t, "the access token", seen.Bearer)
	seen.wantSecret(t, "the login token", got.token())
}

func TestAPageOfAnotherOriginGetsNothing(t *testing.T) {
	p := startProvider(t, 0)
	site, other := servePage(t, p), servePage(t, p)
	w := newWorld(t, p.Issuer)
	w.env["TOKENSVC_CORS_ORIGINS"] = site.origin
	s := startService(t, w.env)
	other.calls(s.Listen, false)

	seen := other.signIn(t, "alice") // which is between the page and the provider
	s.hide(seen.Bearer)
	if seen.Result.Status != 0 || !strings.Contains(seen.Result.Error, "TypeError") {
		t.Errorf("the page got %+v, want an error", seen.Result)
	}
	if said := strings.Join(seen.Console, "\n"); !strings.Contains(said, "blocked by CORS policy") {
		t.Errorf("the browser says %q, want that it is CORS", said)
	}
	if n := w.telnyx.Requests(telnyxtest.Token); n != 0 {
		t.Errorf("%d tokens minted, want none: the browser may not even ask", n)
	}
	seen.wantSecret(t, "the access token", seen.Bearer)
}
