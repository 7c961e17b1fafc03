package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// introspecting makes the service ask the provider about tokens, as the client
// with a secret, and believe an answer for so long.
func (w *world) introspecting(t *testing.T, cache time.Duration) {
	t.Helper()
	w.env["TOKENSVC_OIDC_INTROSPECTION_CLIENT_ID"] = serviceClient
	w.env["TOKENSVC_OIDC_INTROSPECTION_CLIENT_SECRET_FILE"] = secretFile(t, serviceClient+"-secret\n")
	w.env["TOKENSVC_OIDC_INTROSPECTION_CACHE"] = cache.String()
}

func secretFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	writeFile(t, path, content)
	return path
}

func TestOpaqueTokens(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	w.introspecting(t, time.Minute)
	s := startService(t, w.env)
	s.hide(serviceClient + "-secret")

	alice := p.loginFor(t, "alice", opaqueResource).AccessToken
	wantIssued(t, s, w, alice, "alice")
	wantIssued(t, s, w, p.loginFor(t, "bob", opaqueResource).AccessToken, "bob")
	wantIssued(t, s, w, alice, "alice")
	if n := w.telnyx.Requests(telnyxtest.Token); n != 2 {
		t.Errorf("%d tokens minted for two people, want 2", n)
	}

	t.Run("nobody's", func(t *testing.T) {
		wantReason(t, wantRefused(t, s, rand.Text(), http.StatusUnauthorized, "invalid_token"), "inactive")
	})
	t.Run("of somebody unknown to the directory", func(t *testing.T) {
		wantRefused(t, s, p.loginFor(t, "mallory", opaqueResource).AccessToken, http.StatusForbidden, "no_credential")
	})
}

// What the provider says of a token is judged as what a JWT says is.
func TestOpaqueTokensMeetTheRules(t *testing.T) {
	p := startProvider(t, 0)
	for _, row := range []struct {
		what, variable, value string
		alice, bob            string // the outcome
	}{
		{"groups", "TOKENSVC_OIDC_REQUIRE", `{"groups":"supervisors"}`, "", "denied"},
		{"an audience that is not ours", "TOKENSVC_OIDC_AUDIENCE", "deskphone", "invalid_token", "invalid_token"},
	} {
		t.Run(row.what, func(t *testing.T) {
			w := newWorld(t, p.Issuer)
			w.introspecting(t, time.Minute)
			w.env[row.variable] = row.value
			c := call(t, startService(t, w.env))
			for user, want := range map[string]string{"alice": row.alice, "bob": row.bob} {
				got := c.send(bearing(p.loginFor(t, user, opaqueResource).AccessToken))
				if got.problem().Code != want || (want == "") != (got.status == http.StatusOK) {
					t.Errorf("%s: %v, want %q", user, got, want)
				}
			}
		})
	}
}

func TestIntrospectionWithAKey(t *testing.T) {
	p := startProvider(t, 0)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what, file string
		public     jose.JSONWebKey
	}{
		{"PEM", pkcs8(t, curve), jose.JSONWebKey{Key: curve.Public(), Use: "sig"}},
		{"PEM of RSA", pkcs8(t, rsaKey), jose.JSONWebKey{Key: rsaKey.Public(), Use: "sig"}},
		{"PEM of Ed25519", pkcs8(t, edwards), jose.JSONWebKey{Key: edwards.Public(), Use: "sig"}},
		{"JWK", jsonOf(t, jose.JSONWebKey{Key: curve, KeyID: "2026"}), jose.JSONWebKey{Key: curve.Public(), KeyID: "2026", Use: "sig"}},
	} {
		t.Run(row.what, func(t *testing.T) {
			p.trust(t, jsonOf(t, row.public))
			w := newWorld(t, p.Issuer)
			w.env["TOKENSVC_OIDC_INTROSPECTION_CLIENT_ID"] = keyClient
			w.env["TOKENSVC_OIDC_INTROSPECTION_PRIVATE_KEY_FILE"] = secretFile(t, row.file)
			s := startService(t, w.env)

			wantIssued(t, s, w, p.loginFor(t, "alice", opaqueResource).AccessToken, "alice")
			wantIssued(t, s, w, p.loginFor(t, "bob", opaqueResource).AccessToken, "bob") // an assertion counts once
			wantReason(t, wantRefused(t, s, rand.Text(), http.StatusUnauthorized, "invalid_token"), "inactive")
		})
	}
}

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A secret that the provider does not know is the operator's mistake: nobody is
// told that their token is bad, and the right one is taken up when it comes.
func TestIntrospectionWithAWrongSecret(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	w.introspecting(t, time.Minute)
	file := secretFile(t, "a-secret-of-yesterday")
	w.env["TOKENSVC_OIDC_INTROSPECTION_CLIENT_SECRET_FILE"] = file
	s := startService(t, w.env)
	s.hide("a-secret-of-yesterday")
	s.hide(serviceClient + "-secret")
	alice := p.loginFor(t, "alice", opaqueResource).AccessToken
	wantRefused(t, s, alice, http.StatusServiceUnavailable, "issuer_unavailable")

	replaceFile(t, file, serviceClient+"-secret")
	s.eventuallyIssues(t, alice, "with the right secret")
	wantIssued(t, s, w, alice, "alice")
}

func TestARevokedTokenIsRefused(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	w.introspecting(t, time.Second)
	w.env["TOKENSVC_LIMITS_USER_BURST"] = "1000" // for asking over and over
	s := startService(t, w.env)
	alice, bob := p.loginFor(t, "alice", opaqueResource).AccessToken, p.loginFor(t, "bob", opaqueResource).AccessToken
	wantIssued(t, s, w, alice, "alice")
	wantIssued(t, s, w, bob, "bob")

	p.revoke(t, alice)
	process.Eventually(t, 10*time.Second, "alice refused", func() error {
		if got := s.ask(t, alice); got.status == http.StatusOK {
			return errors.New("she still gets a token")
		}
		return nil
	})
	wantReason(t, wantRefused(t, s, alice, http.StatusUnauthorized, "invalid_token"), "inactive")
	wantIssued(t, s, w, bob, "bob")
}

func TestKnownOpaqueTokensOutliveTheProvider(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	w.introspecting(t, 5*time.Minute)
	s := startService(t, w.env)
	known, unseen := p.loginFor(t, "alice", opaqueResource).AccessToken, p.loginFor(t, "bob", opaqueResource).AccessToken
	wantIssued(t, s, w, known, "alice")

	p.stop(t)
	header := wantRefused(t, s, unseen, http.StatusServiceUnavailable, "issuer_unavailable")
	if header.Get("Retry-After") == "" {
		t.Error("no Retry-After, want one: it is worth trying again")
	}
	wantIssued(t, s, w, known, "alice")
	if status := s.ready(t); status != http.StatusOK {
		t.Errorf("/readyz answers %d while the provider is away, want 200: most go on", status)
	}

	p = startProvider(t, p.port(t)) // the same issuer, which has forgotten its tokens
	s.eventuallyIssues(t, p.loginFor(t, "bob", opaqueResource).AccessToken, "now that the provider is back")
	wantIssued(t, s, w, known, "alice")
	wantReason(t, wantRefused(t, s, unseen, http.StatusUnauthorized, "invalid_token"), "inactive")
}

// A provider that is down is not helped by a service that knocks all the time.
func TestADeadProviderIsLeftAlone(t *testing.T) {
	for _, row := range []struct {
		what, resource string
		unseen         func(payload string) string // a bearer that only the provider can judge
		most           int64                       // knocks in 5 s
	}{
		// Five failures, what was on its way by then, and one more now and then.
		{"opaque tokens", opaqueResource, func(string) string { return rand.Text() }, 20},
		{"keys that it may have by now", resource, func(payload string) string {
			head := encode(fmt.Sprintf(`{"alg":"RS256","typ":"at+jwt","kid":%q}`, rand.Text()))
			return head + "." + payload + "." + noise()
		}, 2},
	} {
		t.Run(row.what, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t, 0)
			w := newWorld(t, p.Issuer)
			if row.resource == opaqueResource {
				w.introspecting(t, time.Second)
			}
			s := startService(t, w.env)
			c := call(t, s)
			wantIssued(t, s, w, p.loginFor(t, "alice", row.resource).AccessToken, "alice")
			_, payload, _ := cut(p.login(t, "alice").AccessToken)
			p.stop(t)
			knocks := countKnocks(t, p.port(t))

			asked := allAtOnce(t, 8, 5*time.Second, func() error {
				got, err := c.try(t.Context(), bearing(row.unseen(payload)))
				if err == nil && got.problem().Code != "issuer_unavailable" {
					err = fmt.Errorf("got %v, want issuer_unavailable", got)
				}
				return err
			})
			if n := knocks(); n == 0 || n > row.most || asked < 100 {
				t.Errorf("%d connections for %d requests, want one at least, and at most %d for hundreds", n, asked, row.most)
			}
		})
	}
}

// allAtOnce lets callers ask side by side, each fifty times a second, and
// returns how often they did.
func allAtOnce(t *testing.T, callers int, duration time.Duration, ask func() error) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	var asked atomic.Int64
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if err := ask(); err != nil {
					t.Error(err)
					return
				}
				asked.Add(1)
			}
		})
	}
	calling.Wait()
	return asked.Load()
}

// eventuallyIssues waits until that bearer is good for a token.
func (s *service) eventuallyIssues(t *testing.T, bearer, when string) {
	t.Helper()
	process.Eventually(t, 30*time.Second, "a token "+when, func() error {
		if got := s.ask(t, bearer); got.status != http.StatusOK {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

// countKnocks takes connections on that port and hangs up, until it is asked how
// many there were, or the test ends.
func countKnocks(t *testing.T, port int) (knocks func() int64) {
	t.Helper()
	door, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			conn, err := door.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { door.Close(); waiting.Wait() })
	return func() int64 {
		door.Close()
		waiting.Wait()
		return n.Load()
	}
}
