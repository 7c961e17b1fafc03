package authz_test

import (
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

func TestWhoIsKnown(t *testing.T) {
	clock := newClock()
	phones := oidctest.StartT(t, oidctest.Options{
		Audience: audience, Now: clock.Now, Client: oidctest.Client{ID: "tokensvc", Secret: "of the client"},
	})
	asked := issuerOf(phones)
	asked.Introspection = &authz.Introspection{ClientID: "tokensvc", ClientSecret: always("of the client")}
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{trustedProxy(), asked}, Now: clock.Now})
	alice := sent("Authorization", "Bearer "+phones.Bearer("alice", nil))
	dead := sent("Authorization", "Bearer opaque-and-dead")
	expect := func(name string, e authz.Evidence, want bool) {
		t.Helper()
		if got := v.Known(e); got != want {
			t.Errorf("%s is known: %v, want %v", name, got, want)
		}
	}
	before := phones.Introspections()
	expect("alice, who has not come yet,", alice, false)
	expect("nobody", sent(), false)
	expect("the proxy", fromProxy(), true)
	expect("whoever sends its headers", sent("X-Forwarded-Email", "alice@example.com"), false)
	if n := phones.Introspections(); n != before {
		t.Errorf("the issuer was asked %d times", n-before)
	}
	if got := why(v, alice); got != "main:alice" {
		t.Fatal(got)
	}
	if got := why(v, dead); got != "inactive" {
		t.Fatal(got)
	}
	expect("alice, who was verified,", alice, true)
	expect("alice, with another's beside it,", sent("Authorization", "Bearer x", "Authorization", "Bearer y"), false)
	expect("whose bearer was refused", dead, false)
	expect("a bearer that is nearly hers", sent("Authorization", alice.Header.Get("Authorization")+"x"), false)
	clock.Advance(5*time.Minute + time.Second)
	expect("alice, after five minutes,", alice, false)
}
