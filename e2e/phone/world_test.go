package phone_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	audience = "softphone"
	apiKey   = "KEYofabrowsertest"
	module   = "../../web/client/client.js"
	sdk      = modules + "/node_modules/@telnyx/webrtc/lib/bundle.mjs"
)

// world is all that a softphone needs.
type world struct {
	t           *testing.T
	clock       *clock
	issuer      *oidctest.Issuer
	telnyx      *telnyxtest.Server
	service     *process.Process
	site        *site
	browser     *browser
	users       string // path of the users file
	credentials map[string]string
	env         map[string]string
}

// newWorld makes one in which each of these people has a credential.
func newWorld(t *testing.T, people ...string) *world {
	t.Helper()
	t.Parallel()
	b := startBrowser(t) // first, because the test is skipped without
	needSDK(t)
	dir := t.TempDir()
	c := newClock(t, dir)
	w := &world{
		t: t, browser: b, clock: c, credentials: map[string]string{}, users: filepath.Join(dir, "users.yaml"),
		issuer: oidctest.StartT(t, oidctest.Options{Audience: audience, Now: c.now, Life: 48 * time.Hour}),
		telnyx: telnyxtest.StartT(t, telnyxtest.Options{APIKey: apiKey, Now: c.now}),
	}
	w.site = startSite(t, w.issuer)
	for _, person := range people {
		w.credentials[person] = w.telnyx.AddCredential(telnyxtest.Credential{})
	}
	w.employ(people...)
	w.env = map[string]string{
		"TELNYX_API_KEY":         apiKey,
		"TELNYX_BASE_URL":        w.telnyx.URL(),
		"TOKENSVC_OIDC_ISSUER":   w.issuer.URL(),
		"TOKENSVC_OIDC_AUDIENCE": audience,
		"TOKENSVC_DIRECTORY":     "file:" + w.users,
		"TOKENSVC_CORS_ORIGINS":  w.site.origin,
		"TEST_CLOCK_FILE":        c.file,
	}
	w.service = startService(t, w.env)
	w.site.calls(settings{Service: w.service.Listen, Gateway: w.telnyx.GatewayURL(), Module: w.service.Listen + "/client.js"})
	return w
}

// needSDK returns the path of Telnyx's SDK.
func needSDK(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(sdk); err != nil {
		process.Skip(t, "Telnyx's SDK is missing: run `npm ci` in web/test")
	}
	return sdk
}

// employ writes the users file anew, with these people in it.
func (w *world) employ(people ...string) {
	w.t.Helper()
	var text strings.Builder
	text.WriteString("users:\n")
	for _, person := range people {
		fmt.Fprintf(&text, "  %s: %s\n", person, w.credentials[person])
	}
	if len(people) == 0 {
		text.WriteString("  {}\n")
	}
	writeFile(w.t, w.users, text.String())
}

// restart starts the service anew at the addresses where it was.
func (w *world) restart() {
	w.t.Helper()
	_, w.env["TOKENSVC_LISTEN"], _ = strings.Cut(w.service.Listen, "//")
	_, w.env["TOKENSVC_OPS_LISTEN"], _ = strings.Cut(w.service.Ops, "//")
	w.service = startService(w.t, w.env)
}

// clock is that of everything outside of the browser.
type clock struct {
	file  string
	moved atomic.Int64 // nanoseconds
}

func newClock(t *testing.T, dir string) *clock {
	t.Helper()
	c := &clock{file: filepath.Join(dir, "clock")}
	c.tell(t, 0)
	return c
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.moved.Load())) }

// tell tells the service, which takes it up soon, and returns what it was told.
func (c *clock) tell(t *testing.T, by time.Duration) string {
	t.Helper()
	told := fmt.Sprintf("%v 0s\n", time.Duration(c.moved.Load())+by)
	writeFile(t, c.file, told)
	return told
}

// site is somebody's page, on an origin of its own.
type site struct {
	origin   string
	issuer   *oidctest.Issuer
	settings atomic.Pointer[settings]
	bearers  atomic.Int64 // that the page's own server has given it
}

// settings is what the page knows of the world.
type settings struct {
	Service string `json:"service"`
	Gateway string `json:"gateway"`
	Module  string `json:"module"`
	// ImportMap is the page's, as it stands in its HTML.
	ImportMap string `json:"-"`
	// TokensOnly is a page without Telnyx's SDK.
	TokensOnly bool `json:"tokensOnly,omitempty"`
}

func startSite(t *testing.T, issuer *oidctest.Issuer) *site {
	t.Helper()
	s := &site{issuer: issuer}
	files := http.NewServeMux()
	for path, file := range map[string]string{
		"/page.mjs":   "testdata/page.mjs",
		"/worker.mjs": "testdata/worker.mjs",
		"/telnyx.mjs": sdk,
		"/client.js":  module,
	} {
		files.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(path, "js") {
				w.Header().Set("Content-Type", "text/javascript")
			}
			http.ServeFile(w, r, file)
		})
	}
	files.HandleFunc("GET /{$}", s.page)
	files.HandleFunc("GET /favicon.ico", func(http.ResponseWriter, *http.Request) {})
	files.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(s.settings.Load())
	})
	files.HandleFunc("POST /bearer", s.bearer)
	server := httptest.NewServer(files)
	t.Cleanup(server.Close)
	s.origin = server.URL
	return s
}

// page is the page, with its import map before the first script, where it must be.
func (s *site) page(w http.ResponseWriter, _ *http.Request) {
	html, err := os.ReadFile("testdata/page.html")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, strings.Replace(string(html), "<script", s.settings.Load().ImportMap+"<script", 1))
}

// bearer is how the page's own server lets whoever has signed in call others.
func (s *site) bearer(w http.ResponseWriter, r *http.Request) {
	user, err := io.ReadAll(io.LimitReader(r.Body, 64))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.bearers.Add(1)
	_, _ = io.WriteString(w, s.issuer.Bearer(string(user), nil))
}

// calls says what the page is a phone of, before anybody opens it.
func (s *site) calls(o settings) { s.settings.Store(&o) }

// of is the address of the page for somebody who is signed in there.
func (s *site) of(person string) string { return s.origin + "/?user=" + url.QueryEscape(person) }

// writeFile replaces a file as a careful program does, whole.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}
