package e2e_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What provider.mjs knows.
const (
	audience    = "softphone"
	resource    = "urn:tokensvc:softphone"
	phoneClient = "phone"
	redirectURI = "http://127.0.0.1:1/callback" // never called: the walk ends at the redirect
)

const providerPatience = 20 * time.Second // node starts slowly on a busy machine

// provider is a running provider.mjs.
type provider struct {
	Issuer string

	cmd     *exec.Cmd
	control io.WriteCloser
	events  <-chan providerEvent
	stderr  output
}

type providerEvent struct {
	Event  string
	Issuer string
	Kids   []string // of the published keys, the signing one first
	Text   string
}

// startProvider runs an identity provider on loopback until the test ends. A
// port of 0 takes a free one.
func startProvider(t *testing.T, port int) *provider {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		skip(t, "node is not installed: the identity provider is a Node program")
	}
	if _, err := os.Stat(filepath.Join("provider", "node_modules")); err != nil {
		skip(t, "e2e/provider/node_modules is missing: run `npm ci` in e2e/provider")
	}

	p := &provider{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), node, "provider.mjs", strconv.Itoa(port))}
	p.cmd.Dir = "provider"
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.control, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.events = readEvents(stdout)
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("identity provider's stderr:\n%s", p.stderr.String())
		}
	})
	p.Issuer = p.await(t, "ready").Issuer
	return p
}

// readEvents closes the channel when the provider is gone.
func readEvents(stdout io.Reader) <-chan providerEvent {
	events := make(chan providerEvent, 8)
	go func() {
		defer close(events)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var e providerEvent
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = providerEvent{Event: "error", Text: lines.Text()}
			}
			events <- e
		}
	}()
	return events
}

func (p *provider) await(t *testing.T, want string) providerEvent {
	t.Helper()
	select {
	case e, running := <-p.events:
		if !running {
			t.Fatalf("identity provider ended instead of saying %q:\n%s", want, p.stderr.String())
		}
		if e.Event != want {
			t.Fatalf("identity provider said %+v, want %q", e, want)
		}
		return e
	case <-time.After(providerPatience):
		t.Fatalf("identity provider did not say %q within %v:\n%s", want, providerPatience, p.stderr.String())
	}
	panic("unreachable")
}

// rotate makes the provider sign with a new key, and publish the old ones
// ("keep") or not ("drop").
func (p *provider) rotate(t *testing.T, old string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.control, "rotate", old); err != nil {
		t.Fatal(err)
	}
	p.await(t, "rotated")
}

// stop ends the provider, whose port refuses connections from then on.
func (p *provider) stop(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil { // stopped before
		return
	}
	_ = p.control.Close() // the provider ends with its stdin
	kill := time.AfterFunc(providerPatience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.events { // Wait must not close the pipe before it is read
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("identity provider: %v", err)
	}
}

// port returns where the provider listens, or did.
func (p *provider) port(t *testing.T) int {
	t.Helper()
	u, err := url.Parse(p.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// grant is the token endpoint's answer.
type grant struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
}

// clientCredentials returns an access token of the machine with that client id,
// which is its subject too.
func (p *provider) clientCredentials(t *testing.T, client string) string {
	t.Helper()
	return p.exchange(t, client, url.Values{
		"grant_type": {"client_credentials"},
		"scope":      {"token"},
		"resource":   {resource},
	}).AccessToken
}

// login returns what a softphone has after user has logged in and consented:
// authorization code with PKCE, walked as a browser would, forms and cookies
// included.
func (p *provider) login(t *testing.T, user string) grant {
	t.Helper()
	verifier, state := rand.Text()+rand.Text(), rand.Text() // RFC 7636: 43 characters at least
	challenge := sha256.Sum256([]byte(verifier))
	callback := p.walk(t, user, p.Issuer+"/auth?"+url.Values{
		"response_type":         {"code"},
		"client_id":             {phoneClient},
		"redirect_uri":          {redirectURI},
		"scope":                 {"openid token"},
		"resource":              {resource},
		"state":                 {state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}.Encode())
	if got := callback.Get("state"); got != state {
		t.Fatalf("callback has state %q, want %q: %v", got, state, callback)
	}
	return p.exchange(t, "", url.Values{
		"grant_type":    {"authorization_code"},
		"client_id":     {phoneClient},
		"redirect_uri":  {redirectURI},
		"resource":      {resource},
		"code":          {callback.Get("code")},
		"code_verifier": {verifier},
	})
}

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	formPrompt = regexp.MustCompile(`name="prompt" value="([^"]+)"`)
)

// walk opens page, fills in every form it is shown as user, and returns the
// parameters with which it is sent back to the softphone.
func (p *provider) walk(t *testing.T, user, page string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: providerPatience, CheckRedirect: func(next *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(next.URL.String(), redirectURI+"?") {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	shown := do(t, browser, newRequest(t, http.MethodGet, page, nil))
	for range 4 { // login, consent, and room
		if shown.location != nil { // all other redirects were followed
			return shown.location.Query()
		}
		action, prompt := formAction.FindStringSubmatch(shown.body), formPrompt.FindStringSubmatch(shown.body)
		if action == nil || prompt == nil {
			t.Fatalf("identity provider shows no form: %v", shown)
		}
		filled := newRequest(t, http.MethodPost, html.UnescapeString(action[1]), url.Values{
			"prompt": {prompt[1]}, "login": {user}, "password": {"any will do"},
		})
		shown = do(t, browser, filled)
	}
	t.Fatal("identity provider never comes back to the softphone")
	return nil
}

// exchange calls the token endpoint, as the confidential client named, if any.
func (p *provider) exchange(t *testing.T, client string, form url.Values) grant {
	t.Helper()
	req := newRequest(t, http.MethodPost, p.Issuer+"/token", form)
	if client != "" {
		req.SetBasicAuth(client, client+"-secret")
	}
	got := do(t, httpClient, req)
	var g grant
	if err := json.Unmarshal([]byte(got.body), &g); err != nil || got.status != http.StatusOK || g.AccessToken == "" {
		t.Fatalf("identity provider's token endpoint: %v", got)
	}
	return g
}

// claims returns what a JWT says, unverified: for tests about what the provider
// puts there.
func claims(t *testing.T, jwt string) map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts, want the 3 of a signed JWT", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var all map[string]any
	if err := errors.Join(err, json.Unmarshal(payload, &all)); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestProvider holds the provider to what the other tests assume of it, so that
// a new version of it fails here and not in a riddle elsewhere.
func TestProvider(t *testing.T) {
	p := startProvider(t, 0)

	machine := claims(t, p.clientCredentials(t, "lobby"))
	if machine["iss"] != p.Issuer || machine["aud"] != audience || machine["sub"] != "lobby" {
		t.Errorf("client credentials: claims %v", machine)
	}

	alice := p.login(t, "alice")
	access, id := claims(t, alice.AccessToken), claims(t, alice.IDToken)
	if access["aud"] != audience || access["sub"] != "alice" {
		t.Errorf("authorization code: access token's claims %v", access)
	}
	if groups, _ := access["groups"].([]any); !slices.Contains(groups, any("supervisors")) {
		t.Errorf("authorization code: groups %v, want supervisors among them", access["groups"])
	}
	if id["aud"] != phoneClient || id["sub"] != "alice" {
		t.Errorf("authorization code: ID token's claims %v", id)
	}
}
