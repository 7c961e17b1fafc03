package authz_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

// A bearer counts once, however often it is looked for.
func TestWhatIsKeptOfBearersIsCounted(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}})
	alice := issuer.Bearer("alice", nil)
	for _, bearer := range []string{alice, alice, alice, "nonsense"} {
		v.Known(bearing(bearer))
		outcome(v, bearer)
	}
	got := v.Kept()
	if got.Bytes < 1000 {
		t.Errorf("%d bytes are kept, want more", got.Bytes)
	}
	want := authz.Kept{Bearers: 1, Hits: 2, Misses: 2}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(authz.Kept{}, "Bytes")); diff != "" {
		t.Errorf("wanted (-), counted (+):\n%s", diff)
	}
}

// How old keys are is known of those that were fetched. A fetch that fails makes them
// no younger.
func TestHowOldAnIssuersKeysAre(t *testing.T) {
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
	idle := newIdle(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	if got := idle.Fetched(); len(got) != 0 {
		t.Errorf("before anything was fetched: %v", got)
	}
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	began := clock.Now()
	if got := v.Fetched(); !cmp.Equal(got, map[string]time.Time{"main": began}) {
		t.Errorf("fetched %v, want main at %v", got, began)
	}
	clock.Advance(time.Hour)
	issuer.Break(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	outcome(v, oidctest.NewKey("another").Sign(nil, issuer.Claims("alice", nil))) // an unknown key has it asked
	if got := v.Fetched(); !cmp.Equal(got, map[string]time.Time{"main": began}) {
		t.Errorf("fetched %v after a failure, want main at %v still", got, began)
	}
}

// All that goes to an issuer goes through what is around it, by its name.
func TestWhatIsAroundAnIssuerSeesAllThatGoesThere(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	var mu sync.Mutex
	var seen []string
	around := func(name string, next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, name+" "+r.Method+" "+r.URL.Path)
			return next.RoundTrip(r)
		})
	}
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{askedOf(issuer)}, Around: around})
	if got := outcome(v, issuer.Opaque("alice", nil)); got != "main:alice" {
		t.Errorf("verified as %s", got)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{"main GET /.well-known/openid-configuration", "main POST /introspect"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("wanted (-), seen (+):\n%s", diff)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
