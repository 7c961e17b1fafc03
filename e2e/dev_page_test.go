package e2e_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// pageConfig is what the softphone is told about where it is.
type pageConfig struct {
	Service     string              `json:"service"`
	Issuer      string              `json:"issuer"`
	Gateway     string              `json:"gateway"`
	ClientID    string              `json:"client_id"`
	Scope       string              `json:"scope"`
	SDK         *string             `json:"sdk"`
	SDKMissing  *string             `json:"sdk_missing"`
	People      []map[string]string `json:"people"`
	Misfortunes []struct {
		Name  string `json:"name"`
		Title string `json:"title"`
		On    *bool  `json:"on"`
	} `json:"misfortunes"`
}

func (d *devRun) config(t *testing.T) (c pageConfig) {
	t.Helper()
	got := do(t, httpClient, newRequest(t, http.MethodGet, d.page+"/config.json", nil))
	decoder := json.NewDecoder(strings.NewReader(got.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		t.Fatalf("%v in %v", err, got)
	}
	return c
}

// The softphone's files, and nothing beside them, only by the page's own name.
func TestDevServesTheSoftphone(t *testing.T) {
	sdk := filepath.Join(t.TempDir(), "bundle.mjs")
	if err := os.WriteFile(sdk, []byte("export const TelnyxRTC = 1;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startDev(t, append(slices.Clone(anywhere), "-sdk", sdk)...)
	html := do(t, httpClient, newRequest(t, http.MethodGet, d.page+"/", nil))
	policy := html.header.Get("Content-Security-Policy")
	if html.status != http.StatusOK || !strings.Contains(html.body, "<html") || !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("got %v with the policy %q", html, policy)
	}
	named := regexp.MustCompile(`(?:href|src)="([\w./-]+)"`).FindAllStringSubmatch(html.body, -1)
	if len(named) < 2 {
		t.Errorf("the page names %v, want a style sheet and a script", named)
	}
	types := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	for _, name := range named {
		file := do(t, httpClient, newRequest(t, http.MethodGet, d.page+"/"+name[1], nil))
		if want := types[filepath.Ext(name[1])]; file.status != http.StatusOK || want == "" || !strings.HasPrefix(file.header.Get("Content-Type"), want) {
			t.Errorf("%s: got %d %s, want %s", name[1], file.status, file.header.Get("Content-Type"), want)
		}
	}
	for _, path := range []string{"/package.json", "/nothing.js", "/..%2fweb.go", "/client.js/", "/node_modules/x.js"} {
		if got := do(t, httpClient, newRequest(t, http.MethodGet, d.page+path, nil)); got.status != http.StatusNotFound {
			t.Errorf("%s: got %v, want 404", path, got)
		}
	}
	if got := do(t, httpClient, newRequest(t, http.MethodGet, d.page+"/telnyx.mjs", nil)); got.body != "export const TelnyxRTC = 1;\n" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/javascript") {
		t.Errorf("the SDK: got %v", got)
	}
	for host, status := range map[string]int{"localhost:" + d.port(t): http.StatusFound, "phone.example.com": http.StatusMisdirectedRequest} {
		req := newRequest(t, http.MethodGet, d.page+"/config.json", nil)
		req.Host = host
		got := do(t, stayingClient(t), req)
		if got.status != status || status == http.StatusFound && got.location.String() != d.page+"/" {
			t.Errorf("by the name %s: got %v to %v, want %d", host, got, got.location, status)
		}
	}
}

func (d *devRun) port(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(d.page)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// stayingClient follows no redirect, and has cookies like a browser.
func stayingClient(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{
		Transport: newTransport(t), Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func TestDevTellsItsPageWhatIsWhere(t *testing.T) {
	d := startDev(t, anywhere...) // in a folder where there is no SDK
	c := d.config(t)
	if c.Service != d.service || c.Issuer != d.oidc || !strings.HasPrefix(c.Gateway, "ws://127.0.0.1:") || c.ClientID == "" || c.Scope == "" {
		t.Errorf("got %+v", c)
	}
	if c.SDK != nil || c.SDKMissing == nil || !strings.Contains(*c.SDKMissing, "npm ci --prefix web/demo") || !strings.Contains(d.welcome, *c.SDKMissing) {
		t.Errorf("the SDK is at %v, and %v", c.SDK, c.SDKMissing)
	}
	var names, switches []string
	for _, p := range c.People {
		names = append(names, p["name"])
		if p["shows"] == "" {
			t.Errorf("nobody knows what %s is for", p["name"])
		}
	}
	kinds := make(map[string]bool)
	for _, m := range c.Misfortunes {
		kinds[m.Name] = m.On != nil
		if m.On != nil {
			switches = append(switches, m.Name)
		}
		if m.Title == "" || m.On != nil && *m.On {
			t.Errorf("%+v, want a title, and that it has not struck", m)
		}
	}
	if !slices.Equal(names, []string{"alice", "bob", "carol", "dave"}) {
		t.Errorf("the people are %v", names)
	}
	want := []string{"expire", "key-rejected", "login-loop", "lose-connection", "offboard", "telnyx-down"}
	if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) || len(switches) != 4 {
		t.Errorf("the misfortunes are %v, of which %v last", got, switches)
	}
	module := newRequest(t, http.MethodGet, c.Service+"/client.js", nil)
	module.Header.Set("Origin", d.page)
	if got := do(t, httpClient, module); got.status != http.StatusOK || got.header.Get("Access-Control-Allow-Origin") != d.page {
		t.Errorf("the module for the page: got %d for %q", got.status, got.header.Get("Access-Control-Allow-Origin"))
	}
}

// Somebody signs in as the page has them do it, and gets a token with what that
// gives, in the page's name.
func TestDevsPeopleSignIn(t *testing.T) {
	d := startDev(t, anywhere...)
	c, browser := d.config(t), stayingClient(t)
	var provider struct {
		Authorize string `json:"authorization_endpoint"`
		Token     string `json:"token_endpoint"`
	}
	discovery := newRequest(t, http.MethodGet, c.Issuer+"/.well-known/openid-configuration", nil)
	if err := json.Unmarshal([]byte(do(t, browser, discovery).body), &provider); err != nil {
		t.Fatal(err)
	}
	verifier := strings.Repeat("verifier.", 6)
	sum := sha256.Sum256([]byte(verifier))
	form := url.Values{
		"response_type": {"code"}, "client_id": {c.ClientID}, "redirect_uri": {d.page + "/"}, "scope": {c.Scope}, "state": {"a state"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	shown := do(t, browser, newRequest(t, http.MethodGet, provider.Authorize+"?"+form.Encode(), nil))
	for _, p := range c.People {
		if !strings.Contains(shown.body, p["shows"]) {
			t.Errorf("the page on which one signs in does not say what %s is for", p["name"])
		}
	}
	form.Set("person", "alice")
	back := do(t, browser, newRequest(t, http.MethodPost, provider.Authorize, form))
	if back.location == nil || !strings.HasPrefix(back.location.String(), d.page+"/?") || back.location.Query().Get("state") != "a state" {
		t.Fatalf("sent back with %v to %v", back, back.location)
	}
	redeem := newRequest(t, http.MethodPost, provider.Token, url.Values{
		"grant_type": {"authorization_code"}, "client_id": {c.ClientID}, "redirect_uri": {d.page + "/"},
		"code": {back.location.Query().Get("code")}, "code_verifier": {verifier},
	})
	redeem.Header.Set("Origin", d.page)
	got := do(t, browser, redeem)
	var signedIn struct {
		Bearer string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(got.body), &signedIn); err != nil || got.header.Get("Access-Control-Allow-Origin") != d.page {
		t.Fatalf("%v in %v, for %q", err, got, got.header.Get("Access-Control-Allow-Origin"))
	}
	caller := &caller{t, checked(t, newTransport(t)), c.Service}
	answered := caller.send(bearing(signedIn.Bearer), header("Origin", d.page))
	if answered.token() == "" || answered.header.Get("Access-Control-Allow-Origin") != d.page {
		t.Errorf("got %v, for %q", answered, answered.header.Get("Access-Control-Allow-Origin"))
	}
}
