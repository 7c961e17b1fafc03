package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/handler/contracttest"
)

// app is a running dpop.mjs that user has logged in at.
type app struct {
	*program

	token string // bound to the app's key
}

func startApp(t *testing.T, p *provider, user, resource string) *app {
	t.Helper()
	a := &app{program: startProgram(t, "dpop.mjs", p.Issuer, resource)}
	var login struct{ URL string }
	a.await(t, "login", &login)
	a.tell(t, "callback", redirectURI+"?"+p.walk(t, user, login.URL).Encode())
	var ready struct{ Token, Type string }
	a.await(t, "ready", &ready)
	if ready.Type != "dpop" {
		t.Fatalf("the provider gives a token of type %q, want dpop", ready.Type)
	}
	a.token = ready.Token
	return a
}

// try lets the app ask for a login token at the service behind public in one of
// its manners, and returns all answers that it got.
func (a *app) try(t *testing.T, manner, public, token string) []answer {
	t.Helper()
	a.tell(t, manner, public+"/v1/token", token)
	var got struct {
		Answers []struct {
			Status  int
			Headers map[string]string
			Body    string
		}
	}
	a.await(t, "answers", &got)
	var answers []answer
	for _, g := range got.Answers {
		header := http.Header{}
		for name, value := range g.Headers {
			header.Set(name, value)
		}
		answers = append(answers, answer{status: g.Status, header: header, body: g.Body})
	}
	return answers
}

// front is a proxy in front of the service: what callers know of it is the
// proxy's address, which is the service's public_url.
type front struct {
	URL    string
	behind atomic.Pointer[url.URL]
}

func startFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewServer(http.StripPrefix("/phone", &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(f.behind.Load()) },
		Transport: contracttest.Load(t).Transport(t, transport),
	}))
	t.Cleanup(server.Close)
	f.URL = server.URL + "/phone"
	return f
}

// to sends requests to s from now on.
func (f *front) to(t *testing.T, s *service) {
	t.Helper()
	target, err := url.Parse(s.Listen)
	if err != nil {
		t.Fatal(err)
	}
	f.behind.Store(target)
}

const nonceKey = "the key of all replicas, of 32 bytes or more"

// binding makes the service judge proofs, for requests to the front.
func (w *world) binding(mode string, outside *front) {
	w.env["TOKENSVC_OIDC_DPOP"] = mode
	w.env["TOKENSVC_PUBLIC_URL"] = outside.URL
}

// TestApp holds provider and app to what the other tests assume of them.
func TestApp(t *testing.T) {
	p := startProvider(t, 0)
	jwt, opaque := startApp(t, p, "alice", resource), startApp(t, p, "alice", opaqueResource)
	for what, told := range map[string]map[string]any{
		"JWT":           claims(t, jwt.token),
		"introspection": p.introspect(t, opaque.token),
	} {
		bound, _ := told["cnf"].(map[string]any)
		if thumbprint, _ := bound["jkt"].(string); len(thumbprint) != 43 || told["sub"] != "alice" || told["aud"] != audience {
			t.Errorf("%s: claims %v, want alice's, bound to a key", what, told)
		}
	}

	seen := make(chan http.Header, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	t.Cleanup(server.Close)
	if got := jwt.try(t, "replay", server.URL, jwt.token); len(got) != 2 {
		t.Fatalf("%d answers, want 2", len(got))
	}
	first, again := <-seen, <-seen
	if got := first.Get("Authorization"); got != "DPoP "+jwt.token {
		t.Errorf("Authorization %.12q…, want DPoP and the token", got)
	}
	proof := claims(t, first.Get("Dpop"))
	if proof["htu"] != server.URL+"/v1/token" || proof["htm"] != http.MethodPost || again.Get("Dpop") != first.Get("Dpop") {
		t.Errorf("a proof of %v, want one of this request, twice", proof)
	}
}

func TestBoundTokens(t *testing.T) {
	p := startProvider(t, 0)
	for _, form := range []struct{ what, resource string }{{"JWT", resource}, {"opaque", opaqueResource}} {
		a := startApp(t, p, "alice", form.resource)
		for _, mode := range []string{"optional", "required"} {
			t.Run(form.what+"/"+mode, func(t *testing.T) {
				w := newWorld(t, p.Issuer)
				outside := startFront(t)
				w.binding(mode, outside)
				if form.resource == opaqueResource {
					w.introspecting(t, time.Minute)
				}
				w.env["TOKENSVC_LIMITS_USER_BURST"] = "100"
				s := startService(t, w.env)
				s.hide(a.token)
				outside.to(t, s)
				unbound := p.loginFor(t, "alice", form.resource).AccessToken

				for _, row := range []struct {
					manner, token string
					want          []string // reasons, "" for a token
				}{
					{"good", a.token, []string{""}},
					{"good", a.token, []string{""}}, // a new proof
					{"replay", a.token, []string{"", "proof_replayed"}},
					{"other-url", a.token, []string{"proof_target"}},
					{"other-method", a.token, []string{"proof_target"}},
					{"other-token", a.token, []string{"proof_target"}},
					{"other-key", a.token, []string{"binding"}},
					{"no-proof", a.token, []string{"proof"}},
					{"bearer", a.token, []string{"binding"}},
					{"bearer-with-proof", a.token, []string{"binding"}},
					{"good", unbound, []string{"binding"}},
					{"bearer", unbound, []string{map[string]string{"optional": "", "required": "binding"}[mode]}},
				} {
					got := a.try(t, row.manner, outside.URL, row.token)
					if len(got) != len(row.want) {
						t.Fatalf("%s: %d answers, want %d", row.manner, len(got), len(row.want))
					}
					for i, reason := range row.want {
						what := fmt.Sprintf("%s, bound: %v", row.manner, row.token == a.token)
						if reason == "" {
							w.wantTokenOf(t, what, "alice", got[i])
						} else {
							wantProofRefused(t, what, reason, got[i])
						}
					}
				}
			})
		}
	}
}

// A proof counts once, however many send it at the same time.
func TestAProofCountsOnce(t *testing.T) {
	p := startProvider(t, 0)
	a := startApp(t, p, "alice", resource)
	w, outside := newWorld(t, p.Issuer), startFront(t)
	w.binding("required", outside)
	w.env["TOKENSVC_LIMITS_USER_BURST"] = "100"
	outside.to(t, startService(t, w.env))

	answers := a.try(t, "crowd", outside.URL, a.token)
	tokens := slices.DeleteFunc(slices.Clone(answers), func(got answer) bool { return got.status != http.StatusOK })
	if len(answers) != 16 || len(tokens) != 1 {
		t.Fatalf("%d of %d got a token for one proof, want 1 of 16", len(tokens), len(answers))
	}
	for _, got := range answers {
		if got.status != http.StatusOK {
			wantProofRefused(t, "one of the crowd", "proof_replayed", got)
		}
	}
}

// wantTokenOf wants an answer to be a token of user's.
func (w *world) wantTokenOf(t *testing.T, what, user string, got answer) {
	t.Helper()
	owner, _ := w.telnyx.CredentialOf(got.token())
	if got.status != http.StatusOK || owner != w.credentials[user] {
		t.Errorf("%s: got %d %s (%s) for credential %q, want a token for %s's", what, got.status, got.problem().Code,
			got.header.Get("WWW-Authenticate"), owner, user)
	}
}

// wantProofRefused wants a refusal for that reason which tells the app that DPoP
// is spoken here (RFC 9449 section 7.1).
func wantProofRefused(t *testing.T, what, reason string, got answer) {
	t.Helper()
	told := got.header.Get("WWW-Authenticate")
	if got.status != http.StatusUnauthorized || got.problem().Code != "invalid_token" {
		t.Errorf("%s: got %v, want 401 invalid_token", what, got)
	}
	if !strings.Contains(told, "DPoP ") || !strings.Contains(told, `"`+reason+`"`) {
		t.Errorf("%s: WWW-Authenticate %q, want DPoP and the reason %s", what, told, reason)
	}
}

// Where DPoP is off, a bound token is no use: whoever stole it could use it.
func TestABoundTokenWhereDPoPIsOff(t *testing.T) {
	p := startProvider(t, 0)
	a := startApp(t, p, "alice", resource)
	w := newWorld(t, p.Issuer)
	s := startService(t, w.env)
	s.hide(a.token)
	for _, manner := range []string{"good", "bearer"} {
		for _, got := range a.try(t, manner, s.Listen, a.token) {
			if got.status != http.StatusUnauthorized {
				t.Errorf("%s: %v, want 401", manner, got)
			}
		}
	}
}

// A page must be allowed to send a proof, and to read the nonce that it lacked.
func TestAPageBindsItsTokenToItsKey(t *testing.T) {
	p := startProvider(t, 0)
	site, outside := servePage(t, p), startFront(t)
	w := newWorld(t, p.Issuer)
	w.binding("required", outside)
	w.env["TOKENSVC_DPOP_NONCE_KEY_FILE"] = secretFile(t, nonceKey)
	w.env["TOKENSVC_CORS_ORIGINS"] = site.origin
	s := startService(t, w.env)
	outside.to(t, s)
	site.calls(outside.URL, true)

	seen := site.signIn(t, "alice")
	s.hide(seen.Bearer)
	if seen.Result.Error != "" {
		t.Fatalf("the page could not ask: %s; console %q", seen.Result.Error, seen.Console)
	}
	w.wantTokenOf(t, "the page", "alice", answer{status: seen.Result.Status, body: seen.Result.Body})
}

// An app that was told a nonce by one replica may use it at the other.
func TestNoncesHoldAtEveryReplica(t *testing.T) {
	p := startProvider(t, 0)
	a := startApp(t, p, "alice", resource)
	w := newWorld(t, p.Issuer)
	outside := startFront(t)
	w.binding("required", outside)
	w.env["TOKENSVC_DPOP_NONCE_KEY_FILE"] = secretFile(t, nonceKey)
	one, other := startService(t, w.env), startService(t, w.env)

	outside.to(t, one)
	got := a.try(t, "good", outside.URL, a.token)
	if len(got) != 2 {
		t.Fatalf("answers %v, want two: one that tells the nonce, and a token", got)
	}
	wantProofRefused(t, "the first", "proof_nonce", got[0])
	if told := got[0].header.Get("WWW-Authenticate"); !strings.Contains(told, `error="use_dpop_nonce"`) || got[0].header.Get("DPoP-Nonce") == "" {
		t.Errorf("WWW-Authenticate %q, DPoP-Nonce %q: want use_dpop_nonce and a nonce", told, got[0].header.Get("DPoP-Nonce"))
	}
	w.wantTokenOf(t, "the second", "alice", got[1])

	outside.to(t, other)
	if got = a.try(t, "good", outside.URL, a.token); len(got) != 1 {
		t.Fatalf("answers %v, want one: the nonce is known", got)
	}
	w.wantTokenOf(t, "at the other replica", "alice", got[0])
}
