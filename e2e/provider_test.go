package e2e_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What provider.mjs knows.
const (
	audience       = "softphone"
	resource       = "urn:tokensvc:softphone"
	opaqueResource = "urn:tokensvc:opaque" // the same audience, but tokens that say nothing
	phoneClient    = "phone"
	serviceClient  = "tokensvc"
	keyClient      = "tokensvc-key"
	redirectURI    = "http://127.0.0.1:1/callback" // never called: the walk ends at the redirect
)

// provider is a running provider.mjs.
type provider struct {
	*program

	Issuer string
}

// startProvider runs an identity provider on loopback until the test ends. A
// port of 0 takes a free one.
func startProvider(t *testing.T, port int) *provider {
	t.Helper()
	p := &provider{program: startProgram(t, "provider.mjs", strconv.Itoa(port))}
	var ready struct{ Issuer string }
	p.await(t, "ready", &ready)
	p.Issuer = ready.Issuer
	return p
}

// rotate makes the provider sign with a new key, and publish the old ones
// ("keep") or not ("drop").
func (p *provider) rotate(t *testing.T, old string) {
	t.Helper()
	p.tell(t, "rotate", old)
	p.await(t, "rotated", nil)
}

// trust makes this public JWK the key of the client tokensvc-key.
func (p *provider) trust(t *testing.T, jwk string) {
	t.Helper()
	p.tell(t, "trust", jwk)
	p.await(t, "trusted", nil)
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
	return p.loginFor(t, user, resource)
}

// loginFor is login with an access token for that resource.
func (p *provider) loginFor(t *testing.T, user, resource string) grant {
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
	browser := &http.Client{Jar: jar, Timeout: programPatience, CheckRedirect: func(next *http.Request, _ []*http.Request) error {
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

// revoke withdraws an access token of the softphone's.
func (p *provider) revoke(t *testing.T, token string) {
	t.Helper()
	form := url.Values{"client_id": {phoneClient}, "token": {token}}
	got := do(t, httpClient, newRequest(t, http.MethodPost, p.Issuer+"/token/revocation", form))
	if got.status != http.StatusOK {
		t.Fatalf("identity provider's revocation endpoint: %v", got)
	}
}

// introspect returns what the provider tells the service of a token.
func (p *provider) introspect(t *testing.T, token string) map[string]any {
	t.Helper()
	req := newRequest(t, http.MethodPost, p.Issuer+"/token/introspection", url.Values{"token": {token}})
	req.SetBasicAuth(serviceClient, serviceClient+"-secret")
	got := do(t, httpClient, req)
	var all map[string]any
	if err := json.Unmarshal([]byte(got.body), &all); err != nil || got.status != http.StatusOK {
		t.Fatalf("identity provider's introspection endpoint: %v", got)
	}
	return all
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

	opaque := p.loginFor(t, "alice", opaqueResource).AccessToken
	if strings.Contains(opaque, ".") {
		t.Error("a token for the opaque resource has the dots of a JWT")
	}
	told := p.introspect(t, opaque)
	if told["active"] != true || told["iss"] != p.Issuer || told["aud"] != audience || told["sub"] != "alice" {
		t.Errorf("introspection: claims %v", told)
	}
	if groups, _ := told["groups"].([]any); !slices.Contains(groups, any("supervisors")) {
		t.Errorf("introspection: groups %v, want supervisors among them", told["groups"])
	}
	p.revoke(t, opaque)
	if told := p.introspect(t, opaque); told["active"] != false {
		t.Errorf("introspection of a revoked token: claims %v", told)
	}
}
