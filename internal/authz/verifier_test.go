package authz_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

const audience = "softphone"

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newVerifier returns a running verifier that has its issuers' keys.
func newVerifier(t testing.TB, cfg authz.Config) *authz.Verifier {
	t.Helper()
	fetched := make(chan string, 100)
	report := cfg.OnFetch
	cfg.OnFetch = func(issuer string, err error) {
		if report != nil {
			report(issuer, err)
		}
		select {
		case fetched <- issuer:
		default:
		}
	}
	v, err := authz.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { v.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	for _, i := range cfg.Issuers {
		if i.Proxy == nil && i.KeyFile() == "" { // others fetch nothing
			<-fetched
		}
	}
	return v
}

func issuerOf(i *oidctest.Issuer) authz.Issuer {
	return authz.Issuer{Name: "main", URL: i.URL(), Audiences: []string{audience}}
}

// bearing is the evidence of a request with that bearer.
func bearing(bearer string) authz.Evidence {
	return authz.Evidence{Header: http.Header{"Authorization": {"Bearer " + bearer}}}
}

// outcome is what Verify says of a bearer, in a word.
func outcome(v *authz.Verifier, bearer string) string { return why(v, bearing(bearer)) }

// A bound bearer is attacked with good proofs beside it, so that nothing but the
// bearer is at fault.
func TestWhoseBoundBearerIsAccepted(t *testing.T) {
	clock := newClock()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now, People: map[string]map[string]any{
		"alice": {"cnf": map[string]any{"jkt": base64.RawURLEncoding.EncodeToString(thumbprint)}},
	}})
	cfg := issuerOf(issuer)
	cfg.DPoP = authz.DPoPRequired
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}, PublicURL: "https://phone.example.com", Now: clock.Now})
	whoseBearerIsAccepted(t, clock, issuer, func(token string) string {
		sum := sha256.Sum256([]byte(token))
		proof := oidctest.Key{Algorithm: jose.EdDSA, Private: key}.Sign(
			map[string]any{"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: key.Public()}},
			map[string]any{
				"jti": rand.Text(), "htm": http.MethodPost, "htu": "https://phone.example.com/v1/token", "iat": clock.Now().Unix(),
				"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
			})
		return why(v, sent("Authorization", "DPoP "+token, "Dpop", proof))
	})
}

func TestWhoseBearerIsAccepted(t *testing.T) {
	const page = "https://phone.example.com"
	for place, carry := range map[string]func(token string) authz.Evidence{
		"bearer":                          bearing,
		"header:X-Goog-IAP-JWT-Assertion": func(token string) authz.Evidence { return sent("X-Goog-Iap-Jwt-Assertion", token) },
		"cookie:session":                  func(token string) authz.Evidence { return sent("Cookie", "session="+token, "Origin", page) },
	} {
		t.Run(place, func(t *testing.T) {
			clock := newClock()
			issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
			cfg := issuerOf(issuer)
			cfg.Source = source(t, place)
			v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}, Origins: []string{page}, Now: clock.Now})
			whoseBearerIsAccepted(t, clock, issuer, func(token string) string { return why(v, carry(token)) })
		})
	}
}

// whoseBearerIsAccepted attacks a verifier of the issuer's, wherever its tokens
// have to be.
func whoseBearerIsAccepted(t *testing.T, clock *clock, issuer *oidctest.Issuer, outcome func(token string) string) {
	t.Helper()

	signed := func(header, extra map[string]any) string {
		return issuer.Key().Sign(header, issuer.Claims("alice", extra))
	}
	claims := func(extra map[string]any) string { return signed(nil, extra) }
	in := func(d time.Duration) int64 { return clock.Now().Add(d).Unix() }
	stranger := oidctest.NewKey(issuer.Key().ID)
	unknown := oidctest.NewKey("no-such-key")
	good := claims(nil)
	header, payload, signature := parts(good)

	for name, row := range map[string]struct{ bearer, want string }{
		"a good bearer":                    {good, "main:alice"},
		"typ JWT":                          {signed(map[string]any{"typ": "JWT"}, nil), "main:alice"},
		"typ at+jwt, in full":              {signed(map[string]any{"typ": "application/at+jwt"}, nil), "main:alice"},
		"one audience of several":          {claims(map[string]any{"aud": []string{"other", audience}}), "main:alice"},
		"expired within the clock skew":    {claims(map[string]any{"exp": in(-20 * time.Second)}), "main:alice"},
		"issued ahead within the skew":     {claims(map[string]any{"iat": in(20 * time.Second)}), "main:alice"},
		"not a JWT":                        {"opaque-token", "malformed"},
		"two parts":                        {header + "." + payload, "malformed"},
		"four parts":                       {good + ".x", "malformed"},
		"no signature":                     {header + "." + payload + ".", "malformed"},
		"what is not base64url in it":      {header + "." + payload + ".~" + signature, "malformed"},
		"padding in it":                    {good + "=", "malformed"},
		"longer than looked at":            {good + strings.Repeat("A", authz.MaxBearerBytes), "malformed"},
		"claims that are no object":        {issuer.Key().SignRaw(nil, []byte(`"alice"`)), "malformed"},
		"claims that are null":             {issuer.Key().SignRaw(nil, []byte(`null`)), "malformed"},
		"claims that are no JSON":          {issuer.Key().SignRaw(nil, []byte(`{`)), "malformed"},
		"a claim that stands twice":        {issuer.Key().SignRaw(nil, []byte(`{"sub":"alice","sub":"bob"}`)), "malformed"},
		"iss that is no string":            {claims(map[string]any{"iss": 7}), "malformed"},
		"aud that is a number":             {claims(map[string]any{"aud": 7}), "malformed"},
		"exp that is a string":             {claims(map[string]any{"exp": "tomorrow"}), "malformed"},
		"exp beyond any calendar":          {claims(map[string]any{"exp": 1e300}), "malformed"},
		"alg none":                         {encode(`{"alg":"none"}`) + "." + payload + ".", "malformed"},
		"alg none with a signature":        {encode(`{"alg":"none"}`) + "." + payload + "." + signature, "algorithm"},
		"HS256 signed with the public key": {hs256(t, issuer.Key(), payload), "algorithm"},
		"ES384 over a P-256 key":           {encode(`{"alg":"ES384","kid":"`+issuer.Key().ID+`"}`) + "." + payload + "." + signature, "key"},
		"crit":                             {encode(`{"alg":"ES256","crit":["x"],"x":1,"kid":"`+issuer.Key().ID+`"}`) + "." + payload + "." + signature, "critical"},
		"crit, properly signed":            {signed(map[string]any{"crit": []string{"exp"}}, nil), "critical"},
		"a logout token":                   {signed(map[string]any{"typ": "logout+jwt"}, nil), "type"},
		"a DPoP proof":                     {signed(map[string]any{"typ": "dpop+jwt"}, nil), "type"},
		"a security event":                 {signed(map[string]any{"typ": "application/secevent+jwt"}, nil), "type"},
		"typ that is no string":            {signed(map[string]any{"typ": 7}, nil), "type"},
		"no issuer":                        {claims(map[string]any{"iss": nil}), "issuer"},
		"another issuer":                   {claims(map[string]any{"iss": "https://evil.example"}), "issuer"},
		"an issuer with a slash more":      {claims(map[string]any{"iss": issuer.URL() + "/"}), "issuer"},
		"no audience":                      {claims(map[string]any{"aud": nil}), "audience"},
		"an empty audience":                {claims(map[string]any{"aud": ""}), "audience"},
		"another audience":                 {claims(map[string]any{"aud": "billing"}), "audience"},
		"an ID token of another client":    {claims(map[string]any{"aud": "web-client", "azp": audience, "nonce": "n"}), "audience"},
		"no exp":                           {claims(map[string]any{"exp": nil}), "no_expiry"},
		"expired":                          {claims(map[string]any{"exp": in(-time.Minute)}), "expired"},
		"exp zero":                         {claims(map[string]any{"exp": 0}), "expired"},
		"not yet valid":                    {claims(map[string]any{"nbf": in(time.Minute)}), "not_yet_valid"},
		"issued in the future":             {claims(map[string]any{"iat": in(time.Minute)}), "not_yet_valid"},
		"a wrong key under a known name":   {stranger.Sign(nil, issuer.Claims("alice", nil)), "signature"},
		"a known key, a bad signature":     {header + "." + payload + "." + flip(signature), "signature"},
		"other claims, an old signature":   {header + "." + encode(mustJSON(issuer.Claims("bob", nil))) + "." + signature, "signature"},
		"an unknown key":                   {unknown.Sign(nil, issuer.Claims("alice", nil)), "key"},
		"its own key in the header":        {embedded(t, issuer), "signature"},
		"no subject":                       {claims(map[string]any{"sub": nil}), "user_claim"},
		"an empty subject":                 {claims(map[string]any{"sub": ""}), "user_claim"},
		"a subject that is a number":       {claims(map[string]any{"sub": 7}), "malformed"},
		"a subject with a line break":      {claims(map[string]any{"sub": "alice\nbob"}), "user_claim"},
		"a subject of 300 bytes":           {claims(map[string]any{"sub": strings.Repeat("a", 300)}), "user_claim"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outcome(row.bearer); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestEveryAllowedAlgorithmVerifies(t *testing.T) {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := func(c elliptic.Curve) crypto.Signer { return must(ecdsa.GenerateKey(c, rand.Reader))(t) }
	signers := map[string]crypto.Signer{
		"RS256": rsaKey, "RS384": rsaKey, "RS512": rsaKey, "PS256": rsaKey, "PS384": rsaKey, "PS512": rsaKey,
		"ES256": ec(elliptic.P256()), "ES384": ec(elliptic.P384()), "ES512": ec(elliptic.P521()), "EdDSA": edKey,
	}
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	var keys []oidctest.Key
	for _, alg := range authz.DefaultAlgorithms {
		keys = append(keys, oidctest.Key{ID: alg, Algorithm: jose.SignatureAlgorithm(alg), Private: signers[alg]})
	}
	issuer.Publish(keys...)
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}})
	for _, k := range keys {
		if got := outcome(v, k.Sign(nil, issuer.Claims("alice", nil))); got != "main:alice" {
			t.Errorf("%s: %s", k.Algorithm, got)
		}
		k.ID = ""
		if got := outcome(v, k.Sign(nil, issuer.Claims("bob", nil))); got != "main:bob" {
			t.Errorf("%s without a kid: %s", k.Algorithm, got)
		}
	}
}

func TestAnIssuersOwnAllowListIsTheLimit(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	cfg := issuerOf(issuer)
	cfg.Algorithms = []string{"RS256"}
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	if got := outcome(v, issuer.Bearer("alice", nil)); got != "algorithm" {
		t.Errorf("an ES256 bearer where RS256 is allowed: %s", got)
	}
}

func TestTwoIssuersWithTheSameSubjectAreTwoPeople(t *testing.T) {
	a := oidctest.StartT(t, oidctest.Options{Audience: audience})
	b := oidctest.StartT(t, oidctest.Options{Audience: audience})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{
		{Name: "acme", URL: a.URL(), Audiences: []string{audience}},
		{Name: "partner", URL: b.URL(), Audiences: []string{audience}},
	}})
	if got := outcome(v, a.Bearer("alice", nil)); got != "acme:alice" {
		t.Errorf("alice of acme is %s", got)
	}
	if got := outcome(v, b.Bearer("alice", nil)); got != "partner:alice" {
		t.Errorf("alice of partner is %s", got)
	}
	if got := outcome(v, b.Key().Sign(nil, a.Claims("alice", nil))); got != "signature" && got != "key" {
		t.Errorf("acme's alice, signed by partner, is %s", got)
	}
}

func TestTheUserClaim(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	cfg := issuerOf(issuer)
	cfg.UserClaim = "email"
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	for name, row := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"a verified email":           {map[string]any{"email": "a@example.com", "email_verified": true}, "main:a@example.com"},
		"verified, said as a string": {map[string]any{"email": "a@example.com", "email_verified": "true"}, "main:a@example.com"},
		"an unverified email":        {map[string]any{"email": "a@example.com", "email_verified": false}, "user_claim"},
		"nobody says it is verified": {map[string]any{"email": "a@example.com"}, "user_claim"},
		"no email":                   {map[string]any{"email_verified": true}, "user_claim"},
	} {
		if got := outcome(v, issuer.Bearer("alice", row.claims)); got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
	}
}

func TestTheAudienceClaim(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	cfg := issuerOf(issuer)
	cfg.AudienceClaim = "client_id"
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	for name, row := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"a client that is ours":          {map[string]any{"aud": nil, "client_id": audience}, "main:alice"},
		"it is one of several":           {map[string]any{"aud": nil, "client_id": []string{"x", audience}}, "main:alice"},
		"aud is for somebody else":       {map[string]any{"aud": "other", "client_id": audience}, "main:alice"},
		"a client that is not ours":      {map[string]any{"aud": audience, "client_id": "other"}, "audience"},
		"aud alone":                      {map[string]any{"aud": audience}, "audience"},
		"neither":                        {map[string]any{"aud": nil}, "audience"},
		"a client that is a number":      {map[string]any{"client_id": 7}, "malformed"},
		"a list with a number in it":     {map[string]any{"client_id": []any{audience, 7}}, "malformed"},
		"aud of a type it must not have": {map[string]any{"aud": 7, "client_id": audience}, "main:alice"},
	} {
		if got := outcome(v, issuer.Bearer("alice", row.claims)); got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
	}
}

func TestACachedBearerStillExpires(t *testing.T) {
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Life: 2 * time.Minute, Now: clock.Now})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	bearer := issuer.Bearer("alice", nil)
	for _, step := range []struct {
		advance time.Duration
		want    string
	}{
		{0, "main:alice"},
		{time.Minute, "main:alice"},
		{2 * time.Minute, "expired"},
	} {
		clock.Advance(step.advance)
		if got := outcome(v, bearer); got != step.want {
			t.Errorf("after %v more: got %s, want %s", step.advance, got, step.want)
		}
	}
}

func TestACachedBearerIsVerifiedAgainAfterFiveMinutes(t *testing.T) {
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	bearer := issuer.Bearer("alice", nil)
	if got := outcome(v, bearer); got != "main:alice" {
		t.Fatal(got)
	}
	issuer.Rotate() // the old key is gone for whoever looks again
	if got := outcome(v, issuer.Bearer("bob", nil)); got != "main:bob" {
		t.Fatal(got)
	}
	clock.Advance(4 * time.Minute)
	if got := outcome(v, bearer); got != "main:alice" {
		t.Errorf("after 4 min: %s, want the cached answer", got)
	}
	clock.Advance(2 * time.Minute)
	if got := outcome(v, bearer); got != "key" {
		t.Errorf("after 6 min: %s, want key", got)
	}
}

func TestNobodyIsEverTakenForSomebodyElse(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, CacheBytes: 16 << 10}) // evicts all the time
	const people, rounds = 40, 50
	var bearers [people]string
	for i := range bearers {
		bearers[i] = issuer.Bearer(fmt.Sprint("user-", i), nil)
	}
	var wg sync.WaitGroup
	for i, bearer := range bearers {
		wg.Go(func() {
			for range rounds {
				if got, want := outcome(v, bearer), fmt.Sprint("main:user-", i); got != want {
					t.Errorf("got %s, want %s", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestNonsenseIsRefusedAtConstruction(t *testing.T) {
	good := authz.Issuer{Name: "main", URL: "https://login.example.com", Audiences: []string{"a"}}
	change := func(f func(*authz.Issuer)) []authz.Issuer { i := good; f(&i); return []authz.Issuer{i} }
	for name, issuers := range map[string][]authz.Issuer{
		"no issuer":                 nil,
		"two of one name":           {good, {Name: "main", URL: "https://other.example.com", Audiences: []string{"a"}}},
		"two of one URL":            {good, {Name: "other", URL: good.URL, Audiences: []string{"a"}}},
		"a name with a colon":       change(func(i *authz.Issuer) { i.Name = "a:b" }),
		"no audience":               change(func(i *authz.Issuer) { i.Audiences = nil }),
		"an empty audience":         change(func(i *authz.Issuer) { i.Audiences = []string{""} }),
		"plain http":                change(func(i *authz.Issuer) { i.URL = "http://login.example.com" }),
		"user information":          change(func(i *authz.Issuer) { i.URL = "https://u:p@login.example.com" }),
		"a query":                   change(func(i *authz.Issuer) { i.URL += "?x=1" }),
		"HMAC":                      change(func(i *authz.Issuer) { i.Algorithms = []string{"HS256"} }),
		"none":                      change(func(i *authz.Issuer) { i.Algorithms = []string{"none"} }),
		"an hour of clock skew":     change(func(i *authz.Issuer) { i.ClockSkew = time.Hour }),
		"a rule without values":     change(func(i *authz.Issuer) { i.Require = []authz.Requirement{{Claim: "groups"}} }),
		"a rule with an int":        change(func(i *authz.Issuer) { i.Require = []authz.Requirement{{Claim: "age", AnyOf: []any{18}}} }),
		"a rule without a claim":    change(func(i *authz.Issuer) { i.Require = []authz.Requirement{{AnyOf: []any{"x"}}} }),
		"a mode that is none":       change(func(i *authz.Issuer) { i.Mode = "Observe" }),
		"keys at plain http":        change(func(i *authz.Issuer) { i.Keys = "http://login.example.com/keys" }),
		"keys with a password":      change(func(i *authz.Issuer) { i.Keys = "https://u:p@login.example.com/keys" }),
		"keys in no file":           change(func(i *authz.Issuer) { i.Keys = "file:" }),
		"keys in a file's URL":      change(func(i *authz.Issuer) { i.Keys = "file" }),
		"a host that only looks so": change(func(i *authz.Issuer) { i.URL = "http://localhost.evil.example" }),
	} {
		if _, err := authz.New(authz.Config{Issuers: issuers}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{good}}); err != nil {
		t.Errorf("a good issuer is refused: %v", err)
	}
}

func BenchmarkVerify(b *testing.B) {
	issuer := oidctest.StartT(b, oidctest.Options{Audience: audience})
	v := newVerifier(b, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}})
	ctx := context.Background()
	bearer := issuer.Bearer("alice", nil)
	known := bearing(bearer)
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(ctx, known); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("deep", func(b *testing.B) { // nobody's, made to be dear
		deep := strings.Repeat(`{"":`, 9000) + "1" + strings.Repeat("}", 9000)
		hostile := bearing(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." +
			base64.RawURLEncoding.EncodeToString([]byte(deep)) + ".AAAA")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(ctx, hostile); err == nil {
				b.Fatal("nobody's bearer accepted")
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		header, payload, signature := parts(bearer)
		forged := bearing(header + "." + payload + "." + flip(signature))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(ctx, forged); err == nil {
				b.Fatal("forged bearer accepted")
			}
		}
	})
}

func parts(jws string) (header, payload, signature string) {
	all := strings.Split(jws, ".")
	return all[0], all[1], all[2]
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// flip changes a signature's first bits and leaves its form.
func flip(signature string) string {
	if signature[0] == 'A' {
		return "B" + signature[1:]
	}
	return "A" + signature[1:]
}

// hs256 signs with the bytes of the public key, in the hope that they are taken
// for a shared secret.
func hs256(t *testing.T, k oidctest.Key, payload string) string {
	der := must(x509.MarshalPKIXPublicKey(k.Private.Public()))(t)
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	signed := encode(`{"alg":"HS256","typ":"JWT","kid":"`+k.ID+`"}`) + "." + payload
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// embedded is a bearer that brings the key it wants to be checked with.
func embedded(t *testing.T, issuer *oidctest.Issuer) string {
	k := oidctest.NewKey(issuer.Key().ID)
	jwk := must(jose.JSONWebKey{Key: k.Private.Public()}.MarshalJSON())(t)
	var header map[string]any
	if err := json.Unmarshal(jwk, &header); err != nil {
		t.Fatal(err)
	}
	return k.Sign(map[string]any{"jwk": maps.Clone(header)}, issuer.Claims("alice", nil))
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
