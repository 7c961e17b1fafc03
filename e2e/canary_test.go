package e2e_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/handler/contracttest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// The marks, each within a secret, so that a part of the secret is found too.
const (
	markKey      = "KEY0canary0of0the0api0key"
	markPassword = "canary-of-the-sip-password"
	markClaim    = "canary-of-a-claim"
	markToken    = "canary-of-a-login-token"
	markAnswer   = "canary-of-what-telnyx-said"
	markBody     = "canary-of-a-body"
)

// canaries is everything that must not come out, and whose it is.
type canaries struct {
	mu     sync.Mutex
	hidden map[string]string // text to what it is
}

func newCanaries() *canaries {
	c := &canaries{hidden: map[string]string{}}
	for what, mark := range map[string]string{
		"the API key": markKey, "a SIP password": markPassword, "a claim": markClaim,
		"a login token's claim": markToken, "Telnyx's own words": markAnswer, "the caller's own words": markBody,
	} {
		c.hide(what, mark)
		c.hide(what+" in base64", base64.StdEncoding.EncodeToString([]byte(mark))[:len(mark)])
		c.hide(what+" in hex", hex.EncodeToString([]byte(mark)))
	}
	return c
}

func (c *canaries) hide(what, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hidden[text] = what
}

// hideJWT hides a token, each of its parts, and the beginnings of its payload and
// signature: somebody may have thought that so little does no harm.
func (c *canaries) hideJWT(what, jwt string) {
	head, payload, signature := cut(jwt)
	c.hide(what, jwt)
	c.hide(what+"'s header", head)
	c.hide(what+"'s payload", payload)
	c.hide(what+"'s signature", signature)
	c.hide("the beginning of "+what+"'s signature", signature[:16])
}

// wantNone wants no secret in a text but those allowed.
func (c *canaries) wantNone(t *testing.T, where, text string, allowed ...string) {
	t.Helper()
	for _, a := range allowed {
		text = strings.ReplaceAll(text, a, "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for secret, what := range c.hidden {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("%s shows %s: …%s", where, what, text[max(0, at-100):at])
		}
	}
}

// Whatever becomes of a request, no secret comes out but a login token, and that
// to its owner.
func TestNoOutcomeShowsASecret(t *testing.T) {
	var users []string // one for each way in which Telnyx fails, so that none has a token that is kept
	for i := range 11 {
		users = append(users, fmt.Sprint("unlucky-", i))
	}
	l := newLab(t, telnyxtest.Options{APIKey: markKey, SIPPassword: markPassword, TokenMark: markToken},
		append(users, "alice", "audrey", "bob", "dave", "erin", "olga", "often")...)
	records := filepath.Join(t.TempDir(), "audit.jsonl")
	s := startService(t, l.with(
		setting{"TOKENSVC_LOG_LEVEL", "debug"},
		setting{"TOKENSVC_AUDIT_FILE", records},
		setting{"TOKENSVC_OIDC_REQUIRE", "{groups: agents}"},
		setting{"TELNYX_TIMEOUT", "500ms"},
		setting{"TOKENSVC_LIMITS_IN_FLIGHT", "1"},
		setting{"TOKENSVC_LIMITS_USER_BURST", "3"},
		setting{"TOKENSVC_LIMITS_USER_PER_MINUTE", "1"},
		setting{"TOKENSVC_CORS_ORIGINS", "https://phone.example.com"},
	))
	c := call(t, s)
	hidden := newCanaries()
	serial := 0
	bearer := func(user string, extra map[string]any) string {
		serial++
		claims := map[string]any{"groups": []string{"agents"}, "nickname": markClaim, "jti": fmt.Sprint(markClaim, serial)}
		maps.Copy(claims, extra)
		jwt := l.issuer.Bearer(user, claims)
		hidden.hideJWT("the bearer of "+user, jwt)
		return jwt
	}
	good := func(user string) change { return bearing(bearer(user, nil)) }
	said := func(got answer) string { return fmt.Sprint(got.status, got.header, got.body) }
	refused := func(code string, changes ...change) {
		t.Helper()
		got := c.send(changes...)
		if got.problem().Code != code {
			t.Errorf("got %v, want %s", got, code)
		}
		hidden.wantNone(t, "the answer "+code, said(got))
	}
	failing := func(code string, f telnyxtest.Fault) {
		t.Helper()
		f.Op, f.Mark = telnyxtest.Token, markAnswer
		l.telnyx.Inject(f)
		refused(code, good(users[0]))
		l.telnyx.ClearFaults()
		users = users[1:]
	}

	tokens := map[string]string{}
	for _, user := range []string{"alice", "bob"} {
		got := c.send(good(user))
		l.wantToken(t, user, got)
		tokens[user] = got.token()
		hidden.hideJWT("the login token of "+user, got.token())
		hidden.wantNone(t, "the answer issued", said(got), got.token())
		plain := c.send(good(user), header("Accept", "text/plain"), header("Origin", "https://phone.example.com"))
		hidden.wantNone(t, "the plain answer issued", said(plain), tokens[user])
		hidden.wantNone(t, "whoami", said(c.send(good(user), asking("GET", "/v1/whoami"))))
	}
	operated := c.send(good("olga"), operating("me"))
	if operated.status != http.StatusCreated {
		t.Errorf("in Telnyx's way: %v", operated)
	}
	hidden.hideJWT("the login token of olga", operated.body)
	hidden.wantNone(t, "Telnyx's own operation", said(operated), operated.body)
	for _, id := range []string{"me", "me:" + markBody + "%20", markBody, markKey, bearer("mallory", nil)} {
		got := c.send(good(fmt.Sprint("mallory-", len(id))), operating(id))
		if got.status/100 != 4 {
			t.Errorf("%.20s: %v", id, got)
		}
		hidden.wantNone(t, "a refusal in Telnyx's way", said(got))
	}
	hidden.wantNone(t, "a bearer that Telnyx's way refuses", said(c.send(bearing(bearer("alice", nil)+"."+markClaim), operating(bearer("alice", nil)))))

	refused("unauthenticated", authorization("Basic "+bearer("alice", nil)))
	refused("unauthenticated", query("access_token", bearer("alice", nil)))
	refused("unauthenticated", header("X-Request-Id", bearer("alice", nil)), header("Cookie", "bearer="+bearer("alice", nil)))
	refused("unauthenticated", authorization("Bearer "+bearer("alice", nil), "Bearer "+bearer("alice", nil)))
	refused("invalid_token", bearing(bearer("alice", nil)+"."+markClaim))
	refused("invalid_token", bearing(flipped(hidden, bearer("alice", nil))))
	for name, value := range map[string]any{
		"iss": "https://" + markClaim + ".example", "aud": markClaim, "exp": 1, "nbf": time.Now().Add(time.Hour).Unix(), "sub": markClaim + "\n",
	} {
		refused("invalid_token", bearing(bearer("alice", map[string]any{name: value})))
	}
	refused("denied", bearing(bearer("alice", map[string]any{"groups": []string{markClaim}})))
	refused("no_credential", good("mallory"))
	refused("bad_request", good("erin"), sendingJSON(`{"device":"`+markBody+` "}`))
	refused("bad_request", good("erin"), sendingJSON(`{"`+markBody+`":1}`))
	refused("too_large", good("erin"), sendingJSON(strings.Repeat(markBody, 500)))
	refused("unsupported_media_type", good("dave"), sending("text/"+markBody, markBody))
	refused("not_found", good("alice"), asking("POST", "/v1/"+bearer("alice", nil)))
	refused("method_not_allowed", good("alice"), asking("PUT", "/v1/token"))
	refused("method_not_allowed", asking(bearer("alice", nil), "/v1/token"))
	refused("method_not_allowed", asking(markKey, "/v1/token"))
	refused("method_not_allowed", asking(markBody, "/v1/"+markBody))
	for range 3 {
		l.wantToken(t, "often", c.send(good("often")))
	}
	refused("rate_limited", good("often"))
	// So that an outage, of which there would be three in a row, is none: then Telnyx is
	// not asked.
	failing("upstream_unavailable", telnyxtest.Fault{Status: 500, Shape: telnyxtest.HTML})
	failing("credential_rejected", telnyxtest.Fault{Status: 422, Shape: telnyxtest.ErrorsObject})
	failing("upstream_unavailable", telnyxtest.Fault{Shape: telnyxtest.ResetBody})
	failing("credential_rejected", telnyxtest.Fault{Status: 404})
	failing("upstream_timeout", telnyxtest.Fault{Shape: telnyxtest.HangBody})
	failing("upstream_rejected", telnyxtest.Fault{Status: 401})
	failing("upstream_rejected", telnyxtest.Fault{Shape: telnyxtest.HTML})
	failing("upstream_rejected", telnyxtest.Fault{Shape: telnyxtest.JSONInstead})
	failing("upstream_rejected", telnyxtest.Fault{Shape: telnyxtest.MalformedStatus})
	failing("upstream_rejected", telnyxtest.Fault{Shape: telnyxtest.MalformedHeader})

	failing("upstream_limited", telnyxtest.Fault{Status: 429, RetryAfter: "1"})
	<-time.After(1100 * time.Millisecond) // as it asks

	t.Run("audit_unavailable", func(t *testing.T) { // a folder is where the records would be
		old := records + ".1"
		if err := errors.Join(os.Rename(records, old), os.Mkdir(records, 0o700)); err != nil {
			t.Fatal(err)
		}
		wantSink := func(series string) {
			process.Eventually(t, 10*time.Second, series, func() error {
				c.send() // a refusal, whose record finds out
				if !strings.Contains(metrics(t, s), series+"\n") {
					return errors.New("it is otherwise")
				}
				return nil
			})
		}
		wantSink("tokensvc_audit_up 0")
		refused("audit_unavailable", good("audrey"))
		if err := os.Remove(records); err != nil {
			t.Fatal(err)
		}
		wantSink("tokensvc_audit_up 1")
		for _, file := range []string{old, records} {
			text, err := os.ReadFile(file)
			if err != nil || len(text) == 0 {
				t.Errorf("%d bytes, %v, want records", len(text), err)
			}
			hidden.wantNone(t, "the records", string(text))
		}
	})
	t.Run("overloaded, and canceled", func(t *testing.T) {
		before := l.telnyx.Requests(telnyxtest.Token)
		l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Hang})
		ctx, leave := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		dave := good("dave")
		waiting.Go(func() {
			if _, err := c.try(ctx, dave); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want to have left", err)
			}
		})
		process.Eventually(t, 5*time.Second, "dave's mint", func() error { return wantRequests(l, before+1) })
		refused("overloaded", good("alice"))
		leave()
		waiting.Wait()
		process.Eventually(t, 5*time.Second, "canceled in the metrics", func() error { return wantCounted(t, s, "canceled") })
		l.telnyx.ClearFaults()
	})
	t.Run("issuer_unavailable", func(t *testing.T) { // last: for half a minute nobody asks the issuer again
		l.issuer.Break(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, markAnswer, http.StatusBadGateway) })
		stranger := oidctest.NewKey("canary-key").Sign(nil, l.issuer.Claims("alice", nil))
		hidden.hideJWT("the bearer of an unknown key", stranger)
		refused("issuer_unavailable", bearing(stranger))
	})
	t.Run("what net/http itself refuses", func(t *testing.T) {
		for _, raw := range []string{
			"POST /v1/token HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer " + bearer("alice", nil) + "\r\n\r\n",
			"POST /v1/token HTTP/1.1\r\nHost: a\r\nBearer " + bearer("alice", nil) + "\r\n\r\n",
			"POST /v1/token HTTP/1.1\r\nHost: " + bearer("alice", nil) + " " + markBody + "\r\n\r\n",
			"POST /v1/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + markBody + "\r\n\r\n",
			"POST /v1/token HTTP/9.9 " + bearer("alice", nil) + "\r\n\r\n",
			"POST /v1/token HTTP/1.1\r\nHost: a\r\nExpect: " + markBody + "\r\n\r\n",
			"POST %zz" + bearer("alice", nil) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		} {
			status, text := sendRaw(t, s, raw)
			if status < 400 || status == http.StatusUnauthorized {
				t.Errorf("%.40q is answered %d", raw, status)
			}
			hidden.wantNone(t, fmt.Sprintf("the answer to %.40q", raw), text)
		}
	})

	// What cannot be brought about from outside with a users file, for which see
	// TestADatabaseShowsNoSecret, and internal is a bug.
	unreachable := []string{"conflict", "directory_unavailable", "internal", "precondition_failed", "provisioning"}
	want := unreachable
	for _, o := range contracttest.Load(t).Doc.Components.Schemas["Outcome"].Value.Enum {
		if !slices.Contains(unreachable, fmt.Sprint(o)) {
			want = append(want, fmt.Sprint(o))
		}
	}
	slices.Sort(want)
	counted := outcomes(t, s)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(append(counted, unreachable...)))); diff != "" {
		t.Errorf("outcomes that were seen (-want +got):\n%s", diff)
	}

	hidden.wantNone(t, "/metrics", metrics(t, s))
	hidden.wantNone(t, "/readyz", do(t, s.client, newRequest(t, http.MethodGet, s.Ops+"/readyz", nil)).body)
	hidden.wantNone(t, "/openapi.yaml", c.send(asking("GET", "/openapi.yaml")).body)
	s.Signal(t, syscall.SIGHUP)
	s.Signal(t, syscall.SIGTERM)
	if err := s.AwaitExit(t); err != nil {
		t.Errorf("%v, want exit status 0", err)
	}
	hidden.wantNone(t, "the log", s.Output())
	if lines := len(s.Logged("request")); lines < 40 {
		t.Errorf("%d requests in the log, so it proves nothing", lines)
	}
}

// A dump of all goroutines, which SIGQUIT asks for and a crash prints, holds
// addresses and no text.
func TestACrashShowsNoSecret(t *testing.T) {
	l := newLab(t, telnyxtest.Options{APIKey: markKey, SIPPassword: markPassword, TokenMark: markToken}, "alice", "bob", "carol")
	s := startService(t, l.env)
	c := call(t, s)
	hidden := newCanaries()
	bearer := func(user string) string {
		jwt := l.issuer.Bearer(user, map[string]any{"nickname": markClaim})
		hidden.hideJWT("the bearer of "+user, jwt)
		return jwt
	}
	got := c.send(bearing(bearer("alice")))
	l.wantToken(t, "alice", got)
	hidden.hideJWT("the login token of alice", got.token())

	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Hang})
	var waiting sync.WaitGroup
	for _, user := range []string{"bob", "carol"} {
		held := bearing(bearer(user))
		waiting.Go(func() { _, _ = c.try(t.Context(), held) }) // in flight when it ends, so never answered
	}
	process.Eventually(t, 5*time.Second, "two mints", func() error { return wantRequests(l, 3) })
	s.Signal(t, syscall.SIGQUIT)
	if err := s.AwaitExit(t); err == nil || err.Error() != "exit status 2" {
		t.Errorf("after SIGQUIT: %v, want the exit status of a crash", err)
	}
	s.AwaitAnyExit(t)
	waiting.Wait()
	if !strings.Contains(s.Output(), "goroutine ") || !strings.Contains(s.Output(), "vending.(*Machine)") {
		t.Error("no goroutines in the output, so it proves nothing")
	}
	hidden.wantNone(t, "the crash", s.Output())
}

func flipped(hidden *canaries, jwt string) string {
	head, payload, signature := cut(jwt)
	forged := head + "." + payload + "." + flip(signature)
	hidden.hide("a forged bearer", forged)
	return forged
}

// metrics is what the service tells Prometheus.
func metrics(t *testing.T, s *service) string {
	t.Helper()
	client := checked(t, &http.Transport{DisableKeepAlives: true})
	return do(t, client, newRequest(t, http.MethodGet, s.Ops+"/metrics", nil)).body
}

var counter = regexp.MustCompile(`(?m)^tokensvc_requests_total\{outcome="(\w+)",route="[^"]+"\} ([1-9]\d*)$`)

// outcomes returns those that have been counted, each once.
func outcomes(t *testing.T, s *service) []string {
	t.Helper()
	seen := map[string]bool{}
	for _, match := range counter.FindAllStringSubmatch(metrics(t, s), -1) {
		seen[match[1]] = true
	}
	return slices.Collect(maps.Keys(seen))
}

func wantCounted(t *testing.T, s *service, outcome string) error {
	t.Helper()
	if !slices.Contains(outcomes(t, s), outcome) {
		return fmt.Errorf("%s has not been counted", outcome)
	}
	return nil
}

// sendRaw sends what no client of ours would, and returns all that comes back.
func sendRaw(t *testing.T, s *service, raw string) (status int, text string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.Listen, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, fmt.Sprint(res.Status, res.Header, string(body))
}
