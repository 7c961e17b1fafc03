package authz_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

func TestForgedBearersCauseAtMostOneKeyFetch(t *testing.T) {
	clock := newClock() // stands still: all of it falls into one cooldown
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	_, payload, signature := parts(issuer.Bearer("alice", nil))
	forge := func(kid string) string {
		return encode(`{"alg":"ES256","kid":"`+kid+`"}`) + "." + payload + "." + flip(signature)
	}
	flood := func(kid func(worker, i int) string, want ...string) (fetches int) {
		const each, workers = 20_000, 8
		before := issuer.KeyFetches()
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range each / workers {
					if got := outcome(v, forge(kid(w, i))); !slices.Contains(want, got) {
						t.Errorf("got %s, want %s", got, want)
						return
					}
				}
			})
		}
		wg.Wait()
		return issuer.KeyFetches() - before
	}
	known := issuer.Key().ID
	if n := flood(func(int, int) string { return known }, "signature"); n != 0 {
		t.Errorf("%d key fetches for bad signatures under a known name, want none", n)
	}
	// The bearer says that it is newer than our keys, so until the issuer may be
	// asked again nobody knows.
	invented := func(w, i int) string { return fmt.Sprintf("invented-%d-%d", w, i) }
	if n := flood(invented, "key", "issuer_unavailable"); n > 1 {
		t.Errorf("%d key fetches for invented names, want at most 1", n)
	}
	if got := outcome(v, issuer.Bearer("alice", nil)); got != "main:alice" {
		t.Errorf("alice after the flood: %s", got)
	}
}

func TestKeyRotation(t *testing.T) {
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	old := issuer.Bearer("alice", nil)

	clock.Advance(time.Minute)
	issuer.Rotate()
	if got := outcome(v, issuer.Bearer("bob", nil)); got != "main:bob" {
		t.Errorf("signed with a new key: %s", got)
	}
	if got := outcome(v, old); got != "key" {
		t.Errorf("signed with the key that was taken away: %s", got)
	}

	issuer.Rotate()
	next := issuer.Bearer("carol", nil)
	if got := outcome(v, next); got != "issuer_unavailable" {
		t.Errorf("a second rotation within the cooldown: %s, want to be told to come again", got)
	}
	if got := outcome(v, old); got != "key" {
		t.Errorf("the old key, within the cooldown: %s", got)
	}
	clock.Advance(31 * time.Second)
	if got := outcome(v, next); got != "main:carol" {
		t.Errorf("and after it: %s", got)
	}
}

func TestAForgedBearerDoesNotSpoilARotation(t *testing.T) {
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})

	if got := outcome(v, oidctest.NewKey("invented").Sign(nil, issuer.Claims("mallory", nil))); got != "key" {
		t.Errorf("a forged bearer, which had the issuer asked: %s", got)
	}
	issuer.Rotate()
	bearer := issuer.Bearer("alice", nil)
	silent := issuer.Bearer("alice", map[string]any{"iat": nil})
	for _, b := range []string{bearer, silent} {
		if got := outcome(v, b); got != "issuer_unavailable" {
			t.Errorf("signed with a new key a moment later: %s, want to be told to come again", got)
		}
	}
	clock.Advance(31 * time.Second)
	if got := outcome(v, bearer); got != "main:alice" {
		t.Errorf("and when the issuer may be asked again: %s", got)
	}
}

func TestForgedBearersDoNotMakeEverybodyWait(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Waiting: 4})
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	issuer.Break(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-answer
		http.Error(w, "late", http.StatusInternalServerError)
	})
	forged := oidctest.NewKey("invented").Sign(nil, issuer.Claims("mallory", nil))
	const callers = 100
	told := make(chan string, callers)
	for range callers {
		go func() { told <- outcome(v, forged) }()
	}
	<-asked
	for range callers - 4 { // who do not wait for the issuer, which has not answered
		if got := <-told; got != "issuer_unavailable" {
			t.Errorf("one of a crowd: %s", got)
		}
	}
	if got := outcome(v, issuer.Bearer("alice", nil)); got != "main:alice" {
		t.Errorf("alice, whose key is known: %s", got)
	}
	close(answer)
	for range 4 {
		<-told
	}
}

func TestAnUnknownKeyIsFetchedOnceForAllWhoWait(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}})
	before := issuer.KeyFetches()
	issuer.Rotate()
	var wg sync.WaitGroup
	for i := range 64 {
		bearer := issuer.Bearer(fmt.Sprint("user-", i), nil)
		wg.Go(func() {
			if got, want := outcome(v, bearer), fmt.Sprint("main:user-", i); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	wg.Wait()
	if n := issuer.KeyFetches() - before; n != 1 {
		t.Errorf("%d key fetches, want 1", n)
	}
}

func TestTheIssuersOutage(t *testing.T) {
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
	down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }

	issuer.Break(down)
	cold := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	if got := outcome(cold, issuer.Bearer("alice", nil)); got != "issuer_unavailable" {
		t.Errorf("keys never had: %s", got)
	}
	if cold.Ready() || len(cold.Missing()) != 1 {
		t.Errorf("ready is %v and missing %v without any key", cold.Ready(), cold.Missing())
	}

	issuer.Break(nil)
	warm := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}, Now: clock.Now})
	if !warm.Ready() {
		t.Error("not ready with keys")
	}
	issuer.Break(down)
	if got := outcome(warm, issuer.Bearer("bob", nil)); got != "main:bob" {
		t.Errorf("known keys during an outage: %s", got)
	}
	rotated := oidctest.NewKey("rotated")
	bearer := rotated.Sign(nil, issuer.Claims("carol", nil))
	for _, moment := range []string{"at once", "within the cooldown"} {
		if got := outcome(warm, bearer); got != "issuer_unavailable" {
			t.Errorf("an unknown key during an outage, %s: %s", moment, got)
		}
	}
	if got := outcome(warm, issuer.Bearer("dave", nil)); got != "main:dave" {
		t.Errorf("known keys after a failed fetch: %s", got)
	}
}

func TestACallerWhoLeavesDoesNotEndTheFetchForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newPaper("")
		v := newVerifier(t, issuer.config())
		answer := make(chan struct{})
		issuer.rotate("second", func(ctx context.Context) error {
			select {
			case <-answer:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		bearer := issuer.bearer("alice")

		leaving, leave := context.WithCancel(t.Context())
		left, stayed := make(chan error, 1), make(chan string, 1)
		go func() { _, err := v.Verify(leaving, bearing(bearer)); left <- err }()
		synctest.Wait() // for the fetch that this one causes
		go func() { stayed <- outcome(v, bearer) }()
		synctest.Wait() // and for the other to wait for the same
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who left: %v", err)
		}
		synctest.Wait()
		close(answer)
		if got := <-stayed; got != "main:alice" {
			t.Errorf("the one who stayed: %s", got)
		}
		if n := len(issuer.fetches()); n != 2 {
			t.Errorf("%d fetches, want one at the start and one for both", n)
		}
	})
}

// Keys are fetched again before they are too old, so that nobody waits for it,
// and a fetch that fails takes nothing away.
func TestKeysAreRefreshedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newPaper("public, max-age=600")
		v := newVerifier(t, issuer.config())
		began, old := time.Now(), issuer.bearer("alice")
		issuer.rotate("second", nil)

		<-time.After(10*time.Minute + time.Second)
		synctest.Wait()
		fetches := issuer.fetches()
		if len(fetches) != 2 {
			t.Fatalf("%d fetches in 10 min, want 2", len(fetches))
		}
		if after := fetches[1].Sub(began); after < 8*time.Minute || after > 10*time.Minute {
			t.Errorf("fetched again after %v, want 8 to 10 min", after)
		}
		if got := outcome(v, issuer.bearer("bob")); got != "main:bob" {
			t.Errorf("by the new key: %s", got)
		}
		if got := outcome(v, old); got != "key" {
			t.Errorf("by the key that was taken away: %s", got)
		}

		known := issuer.bearer("carol")
		issuer.rotate("third", func(context.Context) error { return errors.New("the issuer is down") })
		<-time.After(11 * time.Minute)
		synctest.Wait()
		if n := len(issuer.fetches()); n < 4 {
			t.Errorf("%d fetches, want one that fails, and more while it does", n)
		}
		if got := outcome(v, known); got != "main:carol" {
			t.Errorf("by the last good key, while the issuer is down: %s", got)
		}
		if !v.Ready() {
			t.Error("not ready with the last good keys")
		}
	})
}

// TestWhatAnIssuerMustNotAnswer serves one wrong answer each and expects that no
// key is taken from it.
func TestWhatAnIssuerMustNotAnswer(t *testing.T) {
	var self string // the wrong issuer's own URL
	good := oidctest.StartT(t, oidctest.Options{Audience: audience})
	document := func(issuer, keys string) string {
		return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, keys)
	}
	type answer struct{ discovery, keys string }
	for name, row := range map[string]struct {
		answer func() answer
		says   string
	}{
		"another issuer's name": {func() answer { return answer{document(self+"/", self+"/keys"), "{}"} }, "names another issuer"},
		"no keys' address":      {func() answer { return answer{document(self, ""), "{}"} }, "no usable jwks_uri"},
		"plain http elsewhere":  {func() answer { return answer{document(self, "http://keys.example.com/"), "{}"} }, "not https"},
		"a file":                {func() answer { return answer{document(self, "file:///etc/passwd"), "{}"} }, "no usable jwks_uri"},
		"HTML":                  {func() answer { return answer{"<html>", "{}"} }, "not JSON"},
		"HTML for keys":         {func() answer { return answer{document(self, self+"/keys"), "<html>"} }, "not a JWK set"},
		"no keys":               {func() answer { return answer{document(self, self+"/keys"), `{"keys":[]}`} }, "no usable signing key"},
		"only a secret":         {func() answer { return answer{document(self, self+"/keys"), `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`} }, "no usable signing key"},
		"only nonsense":         {func() answer { return answer{document(self, self+"/keys"), `{"keys":[7,{"kty":"x"}]}`} }, "no usable signing key"},
		"far too much":          {func() answer { return answer{strings.Repeat(" ", 2<<20), ""} }, "larger than"},
		"a redirect elsewhere":  {func() answer { return answer{"redirect " + good.URL() + "/.well-known/openid-configuration", ""} }, "another host"},
		"a redirect in circles": {func() answer { return answer{"redirect " + self + "/.well-known/openid-configuration", ""} }, "redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			var a answer
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := a.discovery
				if r.URL.Path == "/keys" {
					body = a.keys
				}
				if to, ok := strings.CutPrefix(body, "redirect "); ok {
					http.Redirect(w, r, to, http.StatusFound)
					return
				}
				_, _ = w.Write([]byte(body))
			}))
			defer server.Close()
			self = server.URL
			a = row.answer()
			told := make(chan error, 1)
			v := newVerifier(t, authz.Config{
				Issuers: []authz.Issuer{{Name: "wrong", URL: self, Audiences: []string{audience}}},
				OnFetch: func(_ string, err error) {
					select {
					case told <- err:
					default:
					}
				},
			})
			if err := <-told; err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("the fetch says %v, want a word of %q", err, row.says)
			}
			if v.Ready() {
				t.Error("ready with keys that must not be taken")
			}
		})
	}
}

// Whoever answers in an issuer's place, without a certificate that this machine trusts, is
// asked for nothing.
func TestAnIssuerWithoutItsCertificateIsNotHeard(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	told := make(chan error, 1)
	v := newVerifier(t, authz.Config{
		Issuers: []authz.Issuer{{Name: "false", URL: server.URL, Audiences: []string{audience}}},
		OnFetch: func(_ string, err error) {
			select {
			case told <- err:
			default:
			}
		},
	})
	if err := <-told; err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("the fetch says %v, want that nobody vouches for it", err)
	}
	if v.Ready() {
		t.Error("it is ready")
	}
}
