package handler_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// verifying has a house verify with this configuration, once it has the keys of
// that many issuers.
func verifying(t *testing.T, cfg authz.Config, fetches int) func(*handler.Config) {
	t.Helper()
	fetched := make(chan error, 16)
	cfg.OnFetch = func(_ string, err error) { fetched <- err }
	v, err := authz.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { v.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	for range fetches {
		if err := <-fetched; err != nil {
			t.Fatal(err)
		}
	}
	return func(c *handler.Config) {
		c.Verifier, c.Policy, c.DPoP = v, authz.NewPolicy(cfg.Issuers), cfg.PublicURL != ""
	}
}

// reply is an answer as its caller sees it.
type reply struct {
	status     int
	code       string // the problem's, or "" for none
	challenges []string
	header     http.Header
	body       []byte
}

// call sends a request with these headers, name and value in turn.
func (h *house) call(method, path string, headers ...string) reply {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, nil)
	h.must(err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := h.client.Do(req)
	h.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	h.must(err)
	var p struct{ Code string }
	_ = json.Unmarshal(body, &p) // then it is no problem
	return reply{res.StatusCode, p.Code, res.Header.Values("WWW-Authenticate"), res.Header, body}
}

// prover makes DPoP proofs with a key of its own.
type prover struct {
	t   *testing.T
	key ed25519.PrivateKey
}

func newProver(t *testing.T) prover {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return prover{t, key}
}

func (p prover) thumbprint() string {
	sum, err := (&jose.JSONWebKey{Key: p.key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		p.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

func (p prover) proof(method, url, bearer, nonce string) string {
	sum := sha256.Sum256([]byte(bearer))
	claims := map[string]any{
		"jti": rand.Text(), "htm": method, "htu": url, "iat": time.Now().Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	return oidctest.Key{Algorithm: jose.EdDSA, Private: p.key}.Sign(map[string]any{
		"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: p.key.Public()},
	}, claims)
}

func TestABoundBearerNeedsAProofOfThisRequest(t *testing.T) {
	const address = "https://phone.example.com/tokens"
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	h := build(t, telnyxtest.Options{}, verifying(t, authz.Config{
		Issuers:   []authz.Issuer{{Name: "main", URL: issuer.URL(), Audiences: []string{audience}, DPoP: authz.DPoPOptional}},
		PublicURL: address,
		NonceKey:  func() secret.Text { return secret.New(strings.Repeat("k", 32)) },
	}, 1))
	p := newProver(t)
	bearer := issuer.Bearer("alice", map[string]any{
		claim: h.telnyx.AddCredential(telnyxtest.Credential{}), "cnf": map[string]any{"jkt": p.thumbprint()},
	})
	ask := func(method, path, scheme, proof string) reply {
		return h.call(method, path, "Authorization", scheme+" "+bearer, "DPoP", proof)
	}
	algorithms := `, algs="` + strings.Join(authz.DefaultAlgorithms, " ") + `"`
	refused := func(name string, got reply, challenges ...string) {
		t.Helper()
		if diff := cmp.Diff(challenges, got.challenges); got.status != http.StatusUnauthorized || diff != "" {
			t.Errorf("%s: %d %s, challenges:\n%s", name, got.status, got.code, diff)
		}
	}

	refused("nothing", h.call(http.MethodPost, "/v1/token"), `Bearer realm="tokensvc"`, `DPoP realm="tokensvc"`+algorithms)
	refused("a bound bearer as a bearer", h.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+bearer),
		`DPoP realm="tokensvc", error="invalid_token", error_description="binding"`+algorithms)
	refused("no proof", h.call(http.MethodPost, "/v1/token", "Authorization", "DPoP "+bearer),
		`DPoP realm="tokensvc", error="invalid_dpop_proof", error_description="proof"`+algorithms)

	first := ask(http.MethodPost, "/v1/token", "DPoP", p.proof("POST", address+"/v1/token", bearer, ""))
	refused("no nonce", first, `DPoP realm="tokensvc", error="use_dpop_nonce", error_description="proof_nonce"`+algorithms)
	nonce := first.header.Get("DPoP-Nonce")
	proof := p.proof("POST", address+"/v1/token", bearer, nonce)
	if got := ask(http.MethodPost, "/v1/token", "DPoP", proof); got.status != http.StatusOK {
		t.Errorf("a good proof: %d %s", got.status, got.body)
	}
	refused("the same again", ask(http.MethodPost, "/v1/token", "DPoP", proof),
		`DPoP realm="tokensvc", error="invalid_dpop_proof", error_description="proof_replayed"`+algorithms)
	refused("where the service really listens", ask(http.MethodPost, "/v1/token", "DPoP", p.proof("POST", h.url+"/v1/token", bearer, nonce)),
		`DPoP realm="tokensvc", error="invalid_dpop_proof", error_description="proof_target"`+algorithms)
	if got := ask(http.MethodGet, "/v1/whoami?device=desk", "DPoP", p.proof("GET", address+"/v1/whoami", bearer, nonce)); got.status != http.StatusOK {
		t.Errorf("whoami, with a query: %d %s", got.status, got.body)
	}
}

func TestWhoamiSaysWhomTheServiceSees(t *testing.T) {
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.DirectoryName = "claim:" + claim })
	credential := h.telnyx.AddCredential(telnyxtest.Credential{})
	rules := func(mode authz.Mode) {
		h.service.SetPolicy(authz.NewPolicy([]authz.Issuer{{Name: "main", Mode: mode, Require: []authz.Requirement{
			{Claim: "groups", AnyOf: []any{"agents"}}, {Claim: "level", Equals: 2.0},
		}}}))
	}
	type rule struct {
		Rule string
		Met  bool
	}
	type seen struct {
		Issuer, Subject, User, Outcome, Device, Directory, Credential string

		UserClaim string `json:"user_claim"`
		Rules     []rule
		WouldDeny string `json:"would_deny"`
	}
	ask := func(query string, claims map[string]any) (got seen) {
		t.Helper()
		r := h.call(http.MethodGet, "/v1/whoami"+query, "Authorization", "Bearer "+h.issuer.Bearer("alice", claims))
		if r.status != http.StatusOK {
			t.Errorf("status %d: %s", r.status, r.body)
		}
		h.must(json.Unmarshal(r.body, &got))
		return got
	}
	see := func(name string, got, want seen) {
		t.Helper()
		want.Issuer, want.Subject, want.User, want.UserClaim, want.Directory = "main", "alice", "main:alice", "sub", "claim:telnyx"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	groups, level := "groups: any_of [agents]", "level: equals 2"

	see("without rules", ask("", map[string]any{claim: credential}), seen{Outcome: "issued", Device: "default", Credential: credential, Rules: []rule{}})
	rules(authz.ModeEnforce)
	agent := map[string]any{claim: map[string]any{"desk": credential}, "groups": []string{"agents"}, "level": 2}
	see("a device with a credential", ask("?device=desk", agent),
		seen{Outcome: "issued", Device: "desk", Credential: credential, Rules: []rule{{groups, true}, {level, true}}})
	see("a device without", ask("", agent), seen{Outcome: "no_credential", Device: "default", Rules: []rule{{groups, true}, {level, true}}})
	agent["level"] = 1
	see("a rule says no", ask("?device=desk", agent), seen{Outcome: "denied", Device: "desk", Rules: []rule{{groups, true}, {level, false}}})
	rules(authz.ModeObserve)
	see("a rule would say no", ask("?device=desk", agent),
		seen{Outcome: "issued", Device: "desk", Credential: credential, Rules: []rule{{groups, true}, {level, false}}, WouldDeny: level})

	bearer := h.issuer.Bearer("alice", map[string]any{claim: credential})
	for query, want := range map[string]string{
		"?device=a/b": "bad_request", "?device=": "bad_request", "?device=a&device=b": "bad_request",
		"?user=bob": "bad_request", "?device=a&user=bob": "bad_request", "?device=%zz": "bad_request",
	} {
		if got := h.call(http.MethodGet, "/v1/whoami"+query, "Authorization", "Bearer "+bearer); got.code != want {
			t.Errorf("%s: %d %s, want %s", query, got.status, got.code, want)
		}
	}
	if got := h.call(http.MethodGet, "/v1/whoami"); got.code != "unauthenticated" {
		t.Errorf("nobody: %d %s", got.status, got.code)
	}
	if got := h.call(http.MethodPost, "/v1/whoami", "Authorization", "Bearer "+bearer); got.code != "method_not_allowed" || got.header.Get("Allow") != "GET" {
		t.Errorf("POST: %d %s, Allow %q", got.status, got.code, got.header.Get("Allow"))
	}
	if n := h.telnyx.Requests("token"); n != 0 {
		t.Errorf("whoami has had Telnyx asked %d times", n)
	}
	if !strings.Contains(h.log.String(), `"route":"/v1/whoami"`) || strings.Contains(h.log.String(), `"outcome":"issued"`) {
		t.Errorf("logged:\n%s", h.log)
	}
}

func TestWhoamiCountsAgainstTheShare(t *testing.T) {
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.UserPerMinute, c.UserBurst = 1, 1 })
	bearer, _ := h.person("alice")
	if got := h.call(http.MethodGet, "/v1/whoami", "Authorization", "Bearer "+bearer); got.status != http.StatusOK {
		t.Errorf("once: %d %s", got.status, got.code)
	}
	if got := h.call(http.MethodGet, "/v1/whoami", "Authorization", "Bearer "+bearer); got.code != "rate_limited" {
		t.Errorf("twice: %d %s", got.status, got.code)
	}
}

// Rules count for the very next request, wherever the credential is and however
// well its owner is known.
func TestATighterRuleCountsForEverySource(t *testing.T) {
	const page = "https://phone.example.com"
	bearers, opaque := oidctest.StartT(t, oidctest.Options{Audience: audience}), oidctest.StartT(t, oidctest.Options{
		Audience: audience, Client: oidctest.Client{ID: "tokensvc", Secret: "a secret"},
	})
	web := oidctest.StartT(t, oidctest.Options{Audience: audience})
	cookie, err := authz.ParseSource("cookie:session")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := authz.ParseSource("header:X-Opaque")
	if err != nil {
		t.Fatal(err)
	}
	iap := oidctest.StartT(t, oidctest.Options{Audience: audience})
	assertion, err := authz.ParseSource("header:X-Assertion")
	if err != nil {
		t.Fatal(err)
	}
	issuers := []authz.Issuer{
		{Name: "phones", URL: bearers.URL(), Audiences: []string{audience}, DPoP: authz.DPoPOptional},
		{Name: "iap", URL: iap.URL(), Audiences: []string{audience}, Source: assertion},
		{Name: "web", URL: web.URL(), Audiences: []string{audience}, Source: cookie},
		{Name: "opaque", URL: opaque.URL(), Audiences: []string{audience}, Source: asked, Introspection: &authz.Introspection{
			ClientID: "tokensvc", ClientSecret: func() secret.Text { return secret.New("a secret") }, Endpoint: opaque.URL() + "/introspect",
		}},
		{Name: "sso", Proxy: &authz.Proxy{
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			Secret:   func() secret.Text { return secret.New("only-the-proxy-knows") },
			Headers:  map[string]string{"sub": "X-Forwarded-User", claim: "X-Forwarded-Phone"},
		}},
	}
	h := build(t, telnyxtest.Options{}, verifying(t, authz.Config{Issuers: issuers, Origins: []string{page}, PublicURL: page}, 3))
	mine := map[string]any{claim: h.telnyx.AddCredential(telnyxtest.Credential{})}
	ways := map[string][]string{
		"a bearer":     {"Authorization", "Bearer " + bearers.Bearer("alice", mine)},
		"an assertion": {"X-Assertion", iap.Bearer("alice", mine)},
		"a cookie":     {"Cookie", "session=" + web.Bearer("alice", mine), "Origin", page},
		"opaque":       {"X-Opaque", opaque.Opaque("alice", mine)},
		"a proxy's":    {"X-Proxy-Secret", "only-the-proxy-knows", "X-Forwarded-User", "alice", "X-Forwarded-Phone", mine[claim].(string)},
	}
	p := newProver(t)
	bound := bearers.Bearer("alice", map[string]any{claim: mine[claim], "cnf": map[string]any{"jkt": p.thumbprint()}})
	prove := func() { // anew for every request
		ways["a bound bearer"] = []string{"Authorization", "DPoP " + bound, "DPoP", p.proof("POST", page+"/v1/token", bound, "")}
	}
	for range 2 {
		prove()
		for name, headers := range ways {
			if got := h.call(http.MethodPost, "/v1/token", headers...); got.status != http.StatusOK {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	}
	for i := range issuers {
		issuers[i].Require = []authz.Requirement{{Claim: "groups", AnyOf: []any{"agents"}}}
	}
	h.service.SetPolicy(authz.NewPolicy(issuers))
	prove()
	for name, headers := range ways {
		if got := h.call(http.MethodPost, "/v1/token", headers...); got.code != "denied" {
			t.Errorf("%s, when the rule is tighter: %d %s", name, got.status, got.body)
		}
	}
}
