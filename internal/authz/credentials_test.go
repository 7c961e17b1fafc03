package authz_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/secret"
)

func TestARotatedSecretIsUsedAtOnce(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	var current atomic.Pointer[string]
	current.Store(&client.Secret)
	cfg := askedOf(issuer)
	cfg.Introspection.ClientSecret = func() secret.Text { return secret.New(*current.Load()) }
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	if got := outcome(v, issuer.Opaque("alice", nil)); got != "main:alice" {
		t.Fatalf("with the secret: %s", got)
	}
	next := "another secret"
	issuer.Register(oidctest.Client{ID: client.ID, Secret: next})
	if got := outcome(v, issuer.Opaque("bob", nil)); got != "issuer_unavailable" {
		t.Errorf("with the old secret: %s", got)
	}
	current.Store(&next)
	if got := outcome(v, issuer.Opaque("carol", nil)); got != "main:carol" {
		t.Errorf("with the new one: %s", got)
	}
}

// Every kind of key proves who we are, to an issuer that verifies it.
func TestPrivateKeyJWT(t *testing.T) {
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for name, row := range map[string]struct {
		key      crypto.Signer
		kid, alg string // of a JWK; PEM if there is no kid
	}{
		"RSA in PEM":     {rsaKey, "", ""},
		"P-256 in PEM":   {must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t), "", ""},
		"Ed25519 in PEM": {ed, "", ""},
		"RSA in a JWK":   {rsaKey, "key-1", ""},
		"RSA for PS256":  {rsaKey, "key-1", "PS256"},
		"P-384 in a JWK": {must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t), "key-1", "ES384"},
		"P-521 in a JWK": {must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(t), "key-1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: oidctest.Client{ID: client.ID, Key: row.key.Public()}})
			text := pemOf(t, row.key)
			if row.kid != "" {
				text = string(must(json.Marshal(jose.JSONWebKey{Key: row.key, KeyID: row.kid, Algorithm: row.alg}))(t))
			}
			cfg := issuerOf(issuer)
			cfg.Introspection = &authz.Introspection{ClientID: client.ID, PrivateKey: always(text)}
			v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}})
			for _, who := range []string{"alice", "bob"} { // each with a jti of its own
				if got := outcome(v, issuer.Opaque(who, nil)); got != "main:"+who {
					t.Errorf("%s: %s", who, got)
				}
			}
			stranger := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
			issuer.Register(oidctest.Client{ID: client.ID, Key: stranger.Public()})
			if got := outcome(v, issuer.Opaque("carol", nil)); got != "issuer_unavailable" {
				t.Errorf("with a key that is not registered: %s", got)
			}
		})
	}
}

func TestWhatAnAssertionSays(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
	cfg := issuerOf(issuer)
	jwk := must(json.Marshal(jose.JSONWebKey{Key: key, KeyID: "key-1"}))(t)
	cfg.Introspection = &authz.Introspection{ClientID: client.ID, PrivateKey: always(string(jwk))}
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}, Now: clock.Now})
	var assertion, accept, authorization, hint string
	issuer.BreakIntrospection(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		assertion, hint = r.PostForm.Get("client_assertion"), r.PostForm.Get("token_type_hint")
		accept, authorization = r.Header.Get("Accept"), r.Header.Get("Authorization")
	})
	outcome(v, issuer.Opaque("alice", nil))
	if accept != "application/json" || authorization != "" || hint != "access_token" {
		t.Errorf("Accept %q, Authorization %q, token_type_hint %q", accept, authorization, hint)
	}
	jws := must(jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.ES256}))(t)
	if kid := jws.Signatures[0].Protected.KeyID; kid != "key-1" {
		t.Errorf("kid %q", kid)
	}
	var claims map[string]any
	if err := json.Unmarshal(must(jws.Verify(key.Public()))(t), &claims); err != nil {
		t.Fatal(err)
	}
	if jti, _ := claims["jti"].(string); len(jti) < 20 {
		t.Errorf("jti %q", jti)
	}
	delete(claims, "jti")
	now := clock.Now().Unix()
	want := mustJSON(map[string]any{"iss": client.ID, "sub": client.ID, "aud": issuer.URL(), "iat": now, "exp": now + 60})
	if got := mustJSON(claims); got != want {
		t.Errorf("the assertion says %s, want %s", got, want)
	}
}

func pemOf(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der := must(x509.MarshalPKCS8PrivateKey(key))(t)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestWhatIsNoPrivateKey(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	jwk := func(k jose.JSONWebKey) string { return string(must(json.Marshal(k))(t)) }
	for name, text := range map[string]string{
		"nothing":            "",
		"a word":             "canary-of-the-key",
		"half of one":        pemOf(t, key)[:60],
		"a weak one":         pemOf(t, weak),
		"P-224":              pemOf(t, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))(t)),
		"a public one":       jwk(jose.JSONWebKey{Key: key.Public(), KeyID: "canary"}),
		"a shared secret":    jwk(jose.JSONWebKey{Key: []byte("canary"), KeyID: "canary"}),
		"for encryption":     jwk(jose.JSONWebKey{Key: key, Use: "enc"}),
		"of another kind":    jwk(jose.JSONWebKey{Key: key, Algorithm: "RS256"}),
		"a JWK that is none": `{"kty":"EC","canary":`,
		"a JWK of no kind":   `{"kty":"canary"}`,
	} {
		err := authz.CheckPrivateKey(secret.New(text))
		if err == nil {
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error shows it: %v", name, err)
		}
	}
	if err := authz.CheckPrivateKey(secret.New("\n" + pemOf(t, key) + "\n")); err != nil {
		t.Errorf("a good one: %v", err)
	}
}
