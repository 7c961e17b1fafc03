package e2e_test

import (
	"net/http"
	"testing"
)

// jwks returns the keys that the provider publishes now.
func (p *provider) jwks(t *testing.T) string {
	t.Helper()
	got := do(t, httpClient, newRequest(t, http.MethodGet, p.Issuer+"/jwks", nil))
	if got.status != http.StatusOK {
		t.Fatalf("identity provider's keys: %v", got)
	}
	return got.body
}

// A provider that the service cannot reach at all is not even tried.
func TestKeysInAFile(t *testing.T) {
	p := startProvider(t, 0)
	alice, keys := p.login(t, "alice").AccessToken, p.jwks(t)
	p.rotate(t, "drop")
	bob, newKeys := p.login(t, "bob").AccessToken, p.jwks(t)
	p.stop(t)
	knocks := countKnocks(t, p.port(t))

	w := newWorld(t, p.Issuer)
	file := secretFile(t, keys)
	w.env["TOKENSVC_OIDC_KEYS"] = "file:" + file
	s := startService(t, w.env)
	wantIssued(t, s, w, alice, "alice")
	wantReason(t, wantRefused(t, s, bob, http.StatusUnauthorized, "invalid_token"), "key")

	replaceFile(t, file, newKeys)
	s.eventuallyIssues(t, bob, "by the new keys")
	wantIssued(t, s, w, bob, "bob")
	if n := knocks(); n != 0 {
		t.Errorf("%d connections to the provider, want none", n)
	}
}

func TestKeysAtAURL(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	w.env["TOKENSVC_OIDC_KEYS"] = p.Issuer + "/jwks"
	s := startService(t, w.env)
	wantIssued(t, s, w, p.login(t, "alice").AccessToken, "alice")
	p.rotate(t, "drop")
	wantIssued(t, s, w, p.login(t, "bob").AccessToken, "bob")
}
