package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const apiKey = "KEYnever-to-be-seen-anywhere"

// world is what stands around the service: the fake Telnyx with a credential
// for each user, and the variables that point the service at all of it.
type world struct {
	telnyx      *telnyxtest.Server
	credentials map[string]string // by user
	env         map[string]string
}

func newWorld(t *testing.T, issuer string) *world {
	t.Helper()
	w := &world{telnyx: telnyxtest.StartT(t, telnyxtest.Options{APIKey: apiKey}), credentials: map[string]string{}}
	var users strings.Builder
	users.WriteString("users:\n")
	for _, user := range []string{"alice", "bob", "lobby"} {
		id := w.telnyx.AddCredential(telnyxtest.Credential{})
		w.credentials[user] = id
		fmt.Fprintf(&users, "  %s: %s\n", user, id)
	}
	file := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(file, []byte(users.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = map[string]string{
		"TELNYX_API_KEY":         apiKey,
		"TELNYX_BASE_URL":        w.telnyx.URL(),
		"TOKENSVC_OIDC_ISSUER":   issuer,
		"TOKENSVC_OIDC_AUDIENCE": audience,
		"TOKENSVC_DIRECTORY":     "file:" + file,
	}
	return w
}

// issued is the answer to POST /v1/token.
type issued struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
	ExpiresIn int       `json:"expires_in"`
	RefreshIn int       `json:"refresh_in"`
	Device    string    `json:"device"`
	RequestID string    `json:"request_id"`
}

// wantIssued asks for a token and holds the whole answer to the contract, and
// the token to user's own credential.
func wantIssued(t *testing.T, s *service, w *world, bearer, user string) {
	t.Helper()
	res := s.ask(t, bearer)
	if res.status != http.StatusOK {
		t.Fatalf("POST /v1/token as %s: %v", user, res)
	}
	var fields map[string]json.RawMessage
	var got issued
	if err := json.Unmarshal([]byte(res.body), &fields); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(res.body), &got); err != nil {
		t.Fatal(err)
	}
	s.hide(got.Token)

	want := []string{"device", "expires_at", "expires_in", "refresh_in", "request_id", "token"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if owner, _ := w.telnyx.CredentialOf(got.Token); owner != w.credentials[user] {
		t.Errorf("the token is for credential %q, want %s's %q", owner, user, w.credentials[user])
	}
	if got.Device != "default" {
		t.Errorf("device %q, want default", got.Device)
	}
	left := time.Until(got.ExpiresAt)
	if off := left - time.Duration(got.ExpiresIn)*time.Second; off.Abs() > 10*time.Second || left <= 0 {
		t.Errorf("expires_at %v is %v away, expires_in says %d s", got.ExpiresAt, left, got.ExpiresIn)
	}
	if part := float64(got.RefreshIn) / float64(got.ExpiresIn); part < 0.74 || part > 0.86 {
		t.Errorf("refresh_in %d is %.2f of expires_in, want 0.75 to 0.85", got.RefreshIn, part)
	}
	if id := res.header.Get("X-Request-Id"); id == "" || id != got.RequestID {
		t.Errorf("request_id %q, X-Request-Id %q: want the same", got.RequestID, id)
	}
	if c := res.header.Get("Cache-Control"); c != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", c)
	}
}

// wantRefused asks for a token and wants a problem document with that status
// and code. It returns the headers.
func wantRefused(t *testing.T, s *service, bearer string, status int, code string) http.Header {
	t.Helper()
	res := s.ask(t, bearer)
	var problem struct{ Code string }
	if err := json.Unmarshal([]byte(res.body), &problem); err != nil {
		t.Fatalf("POST /v1/token: %v: not a problem document: %v", res, err)
	}
	if res.status != status || problem.Code != code {
		t.Fatalf("POST /v1/token: %v, want %d %s", res, status, code)
	}
	if typ := res.header.Get("Content-Type"); typ != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json", typ)
	}
	return res.header
}

func wantReason(t *testing.T, header http.Header, reason string) {
	t.Helper()
	challenge := header.Get("WWW-Authenticate")
	if !strings.Contains(challenge, `error="invalid_token"`) || !strings.Contains(challenge, reason) {
		t.Errorf("WWW-Authenticate %q, want invalid_token and the reason %s", challenge, reason)
	}
}

func TestMachineGetsItsToken(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	s := startService(t, w.env)

	wantIssued(t, s, w, p.clientCredentials(t, "lobby"), "lobby")
}

func TestPersonGetsTheirToken(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	s := startService(t, w.env)

	alice := p.login(t, "alice")
	wantIssued(t, s, w, alice.AccessToken, "alice")
	wantIssued(t, s, w, alice.AccessToken, "alice")
	if n := w.telnyx.Requests(telnyxtest.Token); n != 1 {
		t.Errorf("%d tokens minted for two requests, want 1", n)
	}
	wantIssued(t, s, w, p.login(t, "bob").AccessToken, "bob")
}

func TestRefused(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	s := startService(t, w.env)

	t.Run("an ID token, which is for the softphone and not for us", func(t *testing.T) {
		header := wantRefused(t, s, p.login(t, "alice").IDToken, http.StatusUnauthorized, "invalid_token")
		wantReason(t, header, "audience")
	})
	t.Run("somebody unknown to the directory", func(t *testing.T) {
		wantRefused(t, s, p.clientCredentials(t, "stranger"), http.StatusForbidden, "no_credential")
	})
	t.Run("a token with another's name written into it", func(t *testing.T) {
		parts := strings.Split(p.clientCredentials(t, "stranger"), ".")
		other := strings.Split(p.clientCredentials(t, "lobby"), ".")
		header := wantRefused(t, s, parts[0]+"."+other[1]+"."+parts[2], http.StatusUnauthorized, "invalid_token")
		wantReason(t, header, "signature")
	})
	if n := w.telnyx.Requests(telnyxtest.Token); n != 0 {
		t.Errorf("%d tokens minted, want none", n)
	}
}

func TestKeyRotationIsFollowed(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	s := startService(t, w.env)
	wantIssued(t, s, w, p.clientCredentials(t, "lobby"), "lobby")

	before := p.login(t, "alice").AccessToken
	p.rotate(t, "keep")
	wantIssued(t, s, w, p.clientCredentials(t, "lobby"), "lobby")
	wantIssued(t, s, w, before, "alice") // its key is still published
}

func TestWithdrawnKeyIsForgotten(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	// Or, for half a minute, a bearer may be of a newer key than was seen last.
	w.env["TOKENSVC_OIDC_CLOCK_SKEW"] = "0s"
	s := startService(t, w.env)

	before := p.login(t, "alice").AccessToken
	p.rotate(t, "drop")
	wantIssued(t, s, w, p.clientCredentials(t, "lobby"), "lobby")
	header := wantRefused(t, s, before, http.StatusUnauthorized, "invalid_token")
	wantReason(t, header, "key")
}

func TestKnownKeysOutliveTheProvider(t *testing.T) {
	p := startProvider(t, 0)
	w := newWorld(t, p.Issuer)
	s := startService(t, w.env)

	alice := p.login(t, "alice").AccessToken // not shown to the service before
	p.stop(t)
	wantIssued(t, s, w, alice, "alice")
	if status := s.ready(t); status != http.StatusOK {
		t.Errorf("/readyz answers %d while the provider is away, want 200: its keys are known", status)
	}
}

func TestStartedWhileTheProviderIsAway(t *testing.T) {
	p := startProvider(t, 0)
	before := p.clientCredentials(t, "lobby")
	p.stop(t)

	w := newWorld(t, p.Issuer)
	s := launchService(t, w.env)
	header := wantRefused(t, s, before, http.StatusServiceUnavailable, "issuer_unavailable")
	if header.Get("Retry-After") == "" {
		t.Error("no Retry-After, want one: it is worth trying again")
	}
	s.wantLive(t)
	if status := s.ready(t); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d, want 503 before any keys are known", status)
	}

	p = startProvider(t, p.port(t)) // the same issuer, with new keys
	s.AwaitReady(t)
	wantIssued(t, s, w, p.clientCredentials(t, "lobby"), "lobby")
	wantRefused(t, s, before, http.StatusUnauthorized, "invalid_token")
}
