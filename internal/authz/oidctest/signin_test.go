package oidctest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

const (
	page     = "http://127.0.0.1:3000/"
	client   = "a-page"
	verifier = "a-verifier-that-is-long-enough-to-be-one-0123456789"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A browser has cookies, and stops before it goes to a page that is not the issuer's.
type browser struct {
	t      *testing.T
	issuer *oidctest.Issuer
	client *http.Client
}

type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func newIssuer(t *testing.T) (*oidctest.Issuer, *clock) {
	t.Helper()
	c := new(clock)
	return oidctest.StartT(t, oidctest.Options{
		Audience: "softphone", ClientID: client, Redirects: []string{page}, Now: c.now,
		People: map[string]map[string]any{"alice": {"groups": []string{"agents"}}, "bob": {}},
		Shows:  map[string]string{"alice": "gets <a> token"},
	}), c
}

func newBrowser(t *testing.T, i *oidctest.Issuer) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t, i, &http.Client{
		Transport: transport, Jar: jar, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// errand is a request for a code that is in order, with changes; "" takes one away.
func errand(changes ...string) url.Values {
	form := url.Values{
		"client_id": {client}, "redirect_uri": {page}, "response_type": {"code"}, "scope": {"openid"}, "state": {"a state"}, "nonce": {"a nonce"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
	for n := 0; n < len(changes); n += 2 {
		form.Set(changes[n], changes[n+1])
		if changes[n+1] == "" {
			form.Del(changes[n])
		}
	}
	return form
}

// visit goes to the authorization endpoint. It returns the page that is shown, or
// what the browser is sent back with.
func (b *browser) visit(form url.Values) (status int, shown string, back url.Values) {
	b.t.Helper()
	return b.read(b.ask(http.MethodGet, "/authorize?"+form.Encode(), nil))
}

func (b *browser) ask(method, path string, form url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.issuer.URL()+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.client.Do(req)
}

// click chooses a person on the page that was shown.
func (b *browser) click(shown, name string) url.Values {
	b.t.Helper()
	form := url.Values{"person": {name}}
	for _, input := range regexp.MustCompile(`<input type="hidden" name="(.*?)" value="(.*?)">`).FindAllStringSubmatch(shown, -1) {
		form.Set(input[1], html.UnescapeString(input[2]))
	}
	if !strings.Contains(shown, `name="person" value="`+name+`"`) {
		b.t.Fatalf("no button for %s in:\n%s", name, shown)
	}
	_, _, back := b.read(b.ask(http.MethodPost, "/authorize", form))
	return back
}

func (b *browser) read(res *http.Response, err error) (status int, shown string, back url.Values) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if res.StatusCode/100 != 3 {
		return res.StatusCode, string(body), nil
	}
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || to.Scheme+"://"+to.Host+to.Path != page {
		b.t.Fatalf("sent to %v (%v), want %s", to, err, page)
	}
	return res.StatusCode, "", to.Query()
}

// redeem asks the token endpoint.
func (b *browser) redeem(form url.Values) (status int, answer map[string]any) {
	b.t.Helper()
	res, err := b.ask(http.MethodPost, "/token", form)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		b.t.Fatal(err)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		b.t.Error("the answer may be stored")
	}
	return res.StatusCode, answer
}

func exchange(code string, changes ...string) url.Values {
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {client}, "redirect_uri": {page}, "code": {code}, "code_verifier": {verifier}}
	for n := 0; n < len(changes); n += 2 {
		form.Set(changes[n], changes[n+1])
	}
	return form
}

func renewal(token any) url.Values {
	text, _ := token.(string)
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {text}}
}

// signIn is the usual way, up to the code.
func (b *browser) signIn(name string) (code string) {
	b.t.Helper()
	_, shown, _ := b.visit(errand())
	return b.click(shown, name).Get("code")
}

// claimsOf verifies a token by the issuer's key.
func claimsOf(t *testing.T, i *oidctest.Issuer, token any) map[string]any {
	t.Helper()
	text, _ := token.(string)
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(i.Key().Private.Public())
	var claims map[string]any
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatalf("a token that does not verify: %v", err)
	}
	return claims
}

func TestSomebodySignsIn(t *testing.T) {
	i, _ := newIssuer(t)
	b := newBrowser(t, i)
	status, shown, _ := b.visit(errand("state", `<"&>`))
	if status != http.StatusOK || !strings.Contains(shown, "gets &lt;a&gt; token") {
		t.Fatalf("status %d, and:\n%s", status, shown)
	}
	back := b.click(shown, "alice")
	if back.Get("state") != `<"&>` || back.Get("iss") != i.URL() || back.Get("code") == "" {
		t.Fatalf("sent back with %v", back)
	}
	status, answer := b.redeem(exchange(back.Get("code")))
	if status != http.StatusOK || answer["token_type"] != "Bearer" || answer["expires_in"] != 3600.0 {
		t.Fatalf("got %d %v", status, answer)
	}
	bearer, id := claimsOf(t, i, answer["access_token"]), claimsOf(t, i, answer["id_token"])
	if bearer["sub"] != "alice" || bearer["aud"] != "softphone" || bearer["groups"] == nil || bearer["client_id"] != client {
		t.Errorf("the bearer says %v", bearer)
	}
	if id["sub"] != "alice" || id["aud"] != client || id["nonce"] != "a nonce" {
		t.Errorf("the ID token says %v", id)
	}

	// Another tab of the same browser need not be asked, unless it wants that.
	if _, _, back := b.visit(errand()); back.Get("code") == "" {
		t.Errorf("the second tab is sent back with %v, want a code", back)
	}
	if status, shown, _ := b.visit(errand("prompt", "login")); status != http.StatusOK || b.click(shown, "bob").Get("code") == "" {
		t.Errorf("prompt=login: status %d", status)
	}
	// Another browser is nobody.
	if _, _, back := newBrowser(t, i).visit(errand("prompt", "none")); back.Get("error") != "login_required" {
		t.Errorf("prompt=none, of somebody who is not signed in: %v", back)
	}
}

// Whatever is wrong with what a page asks for, it is told. But nobody is sent to an
// address that is not a known page's.
func TestErrandsThatAreRefused(t *testing.T) {
	i, _ := newIssuer(t)
	b := newBrowser(t, i)
	twice := func(name string) url.Values {
		form := errand()
		form.Add(name, form.Get(name))
		return form
	}
	for _, row := range []struct {
		what string
		form url.Values
		want string // the error that the page is told; "" if it is told nothing
	}{
		{"no client", errand("client_id", ""), ""},
		{"another client", errand("client_id", "b-page"), ""},
		{"no redirect", errand("redirect_uri", ""), ""},
		{"a redirect to another host", errand("redirect_uri", "http://127.0.0.1:3001/"), ""},
		{"a redirect that begins like the right one", errand("redirect_uri", page+"x"), ""},
		{"a redirect without the slash", errand("redirect_uri", strings.TrimSuffix(page, "/")), ""},
		{"two redirects", twice("redirect_uri"), ""},
		{"two clients", twice("client_id"), ""},
		{"no response type", errand("response_type", ""), "invalid_request"},
		{"the implicit flow", errand("response_type", "token"), "unsupported_response_type"},
		{"a fragment", errand("response_mode", "fragment"), "invalid_request"},
		{"no challenge", errand("code_challenge", ""), "invalid_request"},
		{"a challenge that is none", errand("code_challenge", "short"), "invalid_request"},
		{"a challenge in plain text", errand("code_challenge_method", "plain"), "invalid_request"},
		{"no method", errand("code_challenge_method", ""), "invalid_request"},
		{"two states", twice("state"), "invalid_request"},
		{"two prompts that exclude each other", errand("prompt", "none login"), "invalid_request"},
	} {
		t.Run(row.what, func(t *testing.T) {
			b.t = t
			status, _, back := b.visit(row.form)
			if row.want == "" && status != http.StatusBadRequest {
				t.Errorf("status %d, sent back with %v, want 400", status, back)
			}
			if row.want != "" && (back.Get("error") != row.want || back.Get("code") != "" || back.Get("iss") != i.URL()) {
				t.Errorf("status %d, sent back with %v, want %s", status, back, row.want)
			}
			if row.want != "" && len(row.form["state"]) == 1 && back.Get("state") != "a state" {
				t.Errorf("the state is lost: %v", back)
			}
		})
	}
}

func TestACodeIsForWhoAskedForItOnceAndSoon(t *testing.T) {
	i, now := newIssuer(t)
	b := newBrowser(t, i)
	for _, row := range []struct {
		what   string
		form   func(code string) url.Values
		status int
		want   string // the error
	}{
		{"another verifier", func(c string) url.Values { return exchange(c, "code_verifier", strings.ToUpper(verifier)) }, 400, "invalid_grant"},
		{"the challenge for a verifier", func(c string) url.Values { return exchange(c, "code_verifier", challengeOf(verifier)) }, 400, "invalid_grant"},
		{"no verifier", func(c string) url.Values { return exchange(c, "code_verifier", "") }, 400, "invalid_grant"},
		{"another redirect", func(c string) url.Values { return exchange(c, "redirect_uri", page+"x") }, 400, "invalid_grant"},
		{"another client", func(c string) url.Values { return exchange(c, "client_id", "b-page") }, 401, "invalid_client"},
		{"another code", func(c string) url.Values { return exchange(c + "x") }, 400, "invalid_grant"},
		{"a code for a refresh token", func(c string) url.Values { return renewal(c) }, 400, "invalid_grant"},
		{"another grant", func(c string) url.Values { return exchange(c, "grant_type", "password") }, 400, "unsupported_grant_type"},
		{"two codes", func(c string) url.Values { form := exchange(c); form.Add("code", c); return form }, 400, "invalid_request"},
		{"too late", func(c string) url.Values { now.advance(61 * time.Second); return exchange(c) }, 400, "invalid_grant"},
		{"in order", func(c string) url.Values { return exchange(c) }, 200, ""},
	} {
		t.Run(row.what, func(t *testing.T) {
			b.t = t
			_, shown, _ := b.visit(errand("prompt", "login"))
			form := row.form(b.click(shown, "alice").Get("code"))
			status, answer := b.redeem(form)
			got, _ := answer["error"].(string)
			if status != row.status || got != row.want || (answer["access_token"] != nil) != (row.want == "") {
				t.Errorf("got %d %v, want %d %s", status, answer, row.status, row.want)
			}
		})
	}
}

// What has been used twice is in two hands, so that nothing of that sign-in counts
// any more.
func TestWhoComesTwiceEndsTheSignIn(t *testing.T) {
	i, now := newIssuer(t)
	b := newBrowser(t, i)
	code := b.signIn("alice")
	_, first := b.redeem(exchange(code))
	if status, answer := b.redeem(exchange(code)); status != http.StatusBadRequest || answer["error"] != "invalid_grant" {
		t.Errorf("a code again: got %d %v", status, answer)
	}
	if status, _ := b.redeem(renewal(first["refresh_token"])); status != http.StatusBadRequest {
		t.Errorf("the refresh token of a code that was used twice: %d", status)
	}

	_, shown, _ := b.visit(errand("prompt", "login"))
	_, first = b.redeem(exchange(b.click(shown, "bob").Get("code")))
	now.advance(2 * time.Hour)
	status, second := b.redeem(renewal(first["refresh_token"]))
	if status != http.StatusOK || claimsOf(t, i, second["access_token"])["sub"] != "bob" || second["refresh_token"] == first["refresh_token"] {
		t.Fatalf("a refresh token: got %d %v", status, second)
	}
	if status, _ := b.redeem(renewal(first["refresh_token"])); status != http.StatusBadRequest {
		t.Errorf("a refresh token again: %d", status)
	}
	if status, _ := b.redeem(renewal(second["refresh_token"])); status != http.StatusBadRequest {
		t.Errorf("the refresh token after one that was used twice: %d", status)
	}
}

// Only a page that people sign in for may read what the issuer says.
func TestOtherOriginsReadNothing(t *testing.T) {
	i, _ := newIssuer(t)
	b := newBrowser(t, i)
	for _, row := range []struct {
		method, path, origin string
		allowed              bool
	}{
		{http.MethodPost, "/token", "http://127.0.0.1:3000", true},
		{http.MethodOptions, "/token", "http://127.0.0.1:3000", true},
		{http.MethodGet, "/.well-known/openid-configuration", "http://127.0.0.1:3000", true},
		{http.MethodGet, "/keys", "http://127.0.0.1:3000", true},
		{http.MethodPost, "/token", "http://127.0.0.1:3001", false},
		{http.MethodPost, "/token", "null", false},
		{http.MethodGet, "/bearer/alice", "http://127.0.0.1:3000", false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), row.method, i.URL()+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", row.origin)
		res, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); (got == row.origin) != row.allowed || got == "*" {
			t.Errorf("%s %s from %s: may be read by %q, want that to be %v", row.method, row.path, row.origin, got, row.allowed)
		}
	}
}

// An issuer without a page is as it was, until it has one.
func TestNobodySignsInWithoutAPage(t *testing.T) {
	i := oidctest.StartT(t, oidctest.Options{ClientID: client, People: map[string]map[string]any{"alice": {}}})
	b := newBrowser(t, i)
	endpoint := func() any {
		res, err := b.ask(http.MethodGet, "/.well-known/openid-configuration", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var document map[string]any
		if err := json.NewDecoder(res.Body).Decode(&document); err != nil {
			t.Fatal(err)
		}
		return document["authorization_endpoint"]
	}
	if status, _, _ := b.visit(errand()); status != http.StatusBadRequest || endpoint() != nil {
		t.Errorf("status %d, and discovery has %v", status, endpoint())
	}
	if err := i.SetRedirects("/relative"); err == nil {
		t.Error("a relative address is taken")
	}
	if err := i.SetRedirects(page); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := b.visit(errand()); status != http.StatusOK || endpoint() != i.URL()+"/authorize" {
		t.Errorf("with a page: status %d, and discovery has %v", status, endpoint())
	}
	if _, err := oidctest.Start(oidctest.Options{Redirects: []string{page}}); err == nil {
		t.Error("an issuer with a redirect and without a ClientID starts")
	}
}
