package e2e_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// refusal is what a caller is told.
type refusal struct {
	status    int
	code      string
	challenge string // WWW-Authenticate, after the realm
}

// What callers are told whose request alone is at fault.
var (
	unauthenticated = refusal{status: http.StatusUnauthorized, code: "unauthenticated"}
	manyBearers     = refusal{http.StatusUnauthorized, "unauthenticated", `, error="invalid_request"`}
	badRequest      = refusal{status: http.StatusBadRequest, code: "bad_request"}
	notFound        = refusal{status: http.StatusNotFound, code: "not_found"}
	wrongMethod     = refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed"}
	tooLarge        = refusal{status: http.StatusRequestEntityTooLarge, code: "too_large"}
	wrongType       = refusal{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type"}
	noCredential    = refusal{status: http.StatusForbidden, code: "no_credential"}
)

func invalid(reason string) refusal {
	return refusal{http.StatusUnauthorized, "invalid_token", `, error="invalid_token", error_description="` + reason + `"`}
}

func wantRefusal(t *testing.T, got answer, want refusal) {
	t.Helper()
	wantProblem(t, got, want.status, want.code)
	challenge := ""
	if want.status == http.StatusUnauthorized {
		challenge = `Bearer realm="tokensvc"` + want.challenge
	}
	if told := got.header.Get("WWW-Authenticate"); told != challenge {
		t.Errorf("WWW-Authenticate is %s, want %s", told, challenge)
	}
}

// Nobody gets a token who should not, and everybody is told why in the words of
// the contract.
func TestAttacksAreRefused(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	s := startService(t, l.env)
	c := call(t, s)

	good := l.issuer.Bearer("alice", nil)
	head, payload, signature := cut(good)
	claiming := func(extra map[string]any) change { return bearing(l.issuer.Bearer("alice", extra)) }
	headed := func(h map[string]any) change { return bearing(l.issuer.Key().Sign(h, l.issuer.Claims("alice", nil))) }
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	kid := l.issuer.Key().ID
	from := bearing(good)
	trap := newTrap(t)
	pointing := map[string]any{"jku": trap.URL + "/keys", "x5u": trap.URL + "/chain.pem"}
	slowHeader := begin(t, s, "POST /v1/token HTTP/1.1\r\nHost: tokensvc\r\nAuthorization: Bearer "+good)
	slowBody := begin(t, s, "POST /v1/token HTTP/1.1\r\nHost: tokensvc\r\nAuthorization: Bearer "+good+
		"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")

	for _, row := range []struct {
		what    string
		changes []change
		want    refusal
	}{
		{"no Authorization at all", nil, unauthenticated},
		{"two Authorization headers, both good", []change{authorization("Bearer "+good, "Bearer "+good)}, manyBearers},
		{"two Authorization headers, the first empty", []change{authorization("", "Bearer "+good)}, manyBearers},
		{"an empty Authorization", []change{authorization("")}, unauthenticated},
		{"a password", []change{authorization("Basic YWxpY2U6cGFzc3dvcmQ=")}, unauthenticated},
		{"the bearer under another scheme", []change{authorization("DPoP " + good)}, unauthenticated},
		{"the scheme alone", []change{authorization("Bearer")}, unauthenticated},
		{"the scheme and a space", []change{authorization("Bearer ")}, unauthenticated},
		{"the scheme and the token without a space", []change{authorization("Bearer" + good)}, unauthenticated},
		{"the token without a scheme", []change{authorization(good)}, unauthenticated},
		{"the token in the query", []change{asking("POST", "/v1/token"), query("access_token", good)}, unauthenticated},
		{"the token in a cookie", []change{header("Cookie", "access_token="+good)}, unauthenticated},
		{"the name in a header", []change{header("X-Forwarded-User", "alice")}, unauthenticated},

		{"not a JWT", []change{bearing("opaque-token")}, invalid("malformed")},
		{"two tokens in one header", []change{authorization("Bearer " + good + ", Bearer " + good)}, invalid("malformed")},
		{"a token of 75 KB", []change{bearing(good + strings.Repeat("A", 75<<10))}, invalid("malformed")},
		{"a token without a signature", []change{bearing(head + "." + payload + ".")}, invalid("malformed")},
		{"alg none, and no signature", []change{bearing(encode(`{"alg":"none"}`) + "." + payload + ".")}, invalid("malformed")},
		{"alg none, and a signature", []change{bearing(encode(`{"alg":"none"}`) + "." + payload + "." + signature)}, invalid("algorithm")},
		{"alg NoNe, and a signature", []change{bearing(encode(`{"alg":"NoNe"}`) + "." + payload + "." + signature)}, invalid("algorithm")},
		{"HS256, signed with the public key", []change{bearing(hs256(t, l.issuer.Key(), payload))}, invalid("algorithm")},
		{"a wrong key under the right name", []change{bearing(oidctest.NewKey(kid).Sign(nil, l.issuer.Claims("alice", nil)))}, invalid("signature")},
		{"the right key's name, and a bad signature", []change{bearing(head + "." + payload + "." + flip(signature))}, invalid("signature")},
		{"bob's claims under alice's signature", []change{bearing(head + "." + encodeJSON(t, l.issuer.Claims("bob", nil)) + "." + signature)}, invalid("signature")},
		{"a key that is to be fetched, under the right name", []change{bearing(oidctest.NewKey(kid).Sign(pointing, l.issuer.Claims("alice", nil)))}, invalid("signature")},
		{"an issuer that is to be asked", []change{claiming(map[string]any{"iss": trap.URL})}, invalid("issuer")},
		{"a key that it brings along", []change{bearing(embedded(t, l.issuer))}, invalid("signature")},
		{"a key that nobody knows", []change{bearing(oidctest.NewKey("no-such-key").Sign(nil, l.issuer.Claims("alice", nil)))}, invalid("key")},
		// Old enough that its key, if it were the issuer's, would be known.
		{"a key that is to be fetched, under a name of its own", []change{bearing(oidctest.NewKey("mine").Sign(pointing, l.issuer.Claims("alice", map[string]any{"iat": in(-time.Minute)})))}, invalid("key")},
		{"another issuer", []change{claiming(map[string]any{"iss": "https://evil.example"})}, invalid("issuer")},
		{"no issuer", []change{claiming(map[string]any{"iss": nil})}, invalid("issuer")},
		{"the issuer with a slash more", []change{claiming(map[string]any{"iss": l.issuer.URL() + "/"})}, invalid("issuer")},
		{"no audience", []change{claiming(map[string]any{"aud": nil})}, invalid("audience")},
		{"another audience", []change{claiming(map[string]any{"aud": "billing"})}, invalid("audience")},
		{"the audience with a letter more", []change{claiming(map[string]any{"aud": audience + "s"})}, invalid("audience")},
		{"an ID token of another client", []change{claiming(map[string]any{"aud": "web", "azp": audience, "nonce": "n"})}, invalid("audience")},
		{"expired", []change{claiming(map[string]any{"exp": in(-time.Minute)})}, invalid("expired")},
		{"not yet valid", []change{claiming(map[string]any{"nbf": in(time.Minute)})}, invalid("not_yet_valid")},
		{"issued tomorrow", []change{claiming(map[string]any{"iat": in(24 * time.Hour)})}, invalid("not_yet_valid")},
		{"no expiry", []change{claiming(map[string]any{"exp": nil})}, invalid("no_expiry")},
		{"a critical header", []change{headed(map[string]any{"crit": []string{"exp"}})}, invalid("critical")},
		{"a logout token", []change{headed(map[string]any{"typ": "logout+jwt"})}, invalid("type")},
		{"a DPoP proof", []change{headed(map[string]any{"typ": "dpop+jwt"})}, invalid("type")},
		{"no subject", []change{claiming(map[string]any{"sub": nil})}, invalid("user_claim")},
		{"a subject with a line break", []change{claiming(map[string]any{"sub": "alice\nbob"})}, invalid("user_claim")},

		{"a subject that nobody knows", []change{claiming(map[string]any{"sub": "mallory"})}, noCredential},
		{"alice in capitals", []change{claiming(map[string]any{"sub": "Alice"})}, noCredential},
		{"alice's user key for a subject", []change{claiming(map[string]any{"sub": "main:alice"})}, noCredential},

		{"a body that is no JSON", []change{from, sendingJSON(`device=desk`)}, badRequest},
		{"a body that is a list", []change{from, sendingJSON(`["desk"]`)}, badRequest},
		{"a body that is null", []change{from, sendingJSON(`null`)}, badRequest},
		{"a body of two values", []change{from, sendingJSON(`{} {}`)}, badRequest},
		{"an unknown member", []change{from, sendingJSON(`{"user":"bob"}`)}, badRequest},
		{"bob's credential in the body", []change{from, sendingJSON(`{"credential":"` + l.credentials["bob"] + `"}`)}, badRequest},
		{"Device with a capital", []change{from, sendingJSON(`{"Device":"desk"}`)}, badRequest},
		{"a device with a slash", []change{from, sendingJSON(`{"device":"../bob"}`)}, badRequest},
		{"a device with a capital", []change{from, sendingJSON(`{"device":"Desk"}`)}, badRequest},
		{"a device that is a number", []change{from, sendingJSON(`{"device":7}`)}, badRequest},
		{"a device that is null", []change{from, sendingJSON(`{"device":null}`)}, badRequest},
		{"a device that is empty", []change{from, sendingJSON(`{"device":""}`)}, badRequest},
		{"a device of 65 characters", []change{from, sendingJSON(`{"device":"` + strings.Repeat("d", 65) + `"}`)}, badRequest},
		{"a body of 2 MB", []change{from, sendingJSON(strings.Repeat(" ", 2<<20))}, tooLarge},
		{"a form", []change{from, sending("application/x-www-form-urlencoded", "device=desk")}, wrongType},
		{"JSON that is said to be text", []change{from, sending("text/plain", `{"device":"desk"}`)}, wrongType},
		{"JSON that is said to be nothing", []change{from, sending("", `{"device":"desk"}`)}, wrongType},

		{"GET", []change{from, asking("GET", "/v1/token")}, wrongMethod},
		{"PUT", []change{from, asking("PUT", "/v1/token")}, wrongMethod},
		{"a method that nobody has heard of", []change{from, asking("TAKE", "/v1/token")}, wrongMethod},
		{"a path that there is not", []change{from, asking("POST", "/v1/tokens")}, notFound},
		{"a slash at the end", []change{from, asking("POST", "/v1/token/")}, notFound},
		{"GET with a slash at the end", []change{from, asking("GET", "/v1/token/")}, notFound},
		{"a path that climbs", []change{from, asking("POST", "/x/../v1/token")}, notFound},
	} {
		t.Run(row.what, func(t *testing.T) {
			got := c.send(row.changes...)
			wantRefusal(t, got, row.want)
			if got.problem().Retryable {
				t.Error("it is said to be worth trying again")
			}
			if allow := got.header.Values("Allow"); row.want == wrongMethod && (len(allow) != 1 || allow[0] != "POST") {
				t.Errorf("Allow is %q, want POST", allow)
			}
		})
	}
	t.Run("what is for operators only", func(t *testing.T) {
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			wantRefusal(t, do(t, httpClient, newRequest(t, http.MethodGet, s.Listen+path, nil)), notFound)
		}
	})
	t.Run("a header that is too large", func(t *testing.T) {
		const start = "POST /v1/token HTTP/1.1\r\nHost: tokensvc\r\nAuthorization: Bearer "
		// As much as is read of a header, and no more: what is left unread when
		// the service hangs up can take the answer with it.
		got, err := begin(t, s, start+strings.Repeat("A", 84<<10-len(start))).answer(t)
		if err != nil {
			t.Fatal(err)
		}
		if got.status != http.StatusRequestHeaderFieldsTooLarge || strings.ContainsAny(got.body, "{<") || got.header.Get("Connection") != "close" {
			t.Errorf("got %v, want a bare 431 and the end of the connection", got)
		}
	})
	t.Run("a bearer of 10 MB", func(t *testing.T) {
		b := begin(t, s, "POST /v1/token HTTP/1.1\r\nHost: tokensvc\r\nAuthorization: Bearer ")
		go func() { _, _ = io.WriteString(b.conn, strings.Repeat("A", 10<<20)+"\r\n\r\n") }() // not all of it is read
		got, err := b.answer(t)
		if err == nil && got.status != http.StatusRequestHeaderFieldsTooLarge || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, %v, want 431, or the connection to end under it", got, err)
		}
	})
	t.Run("a header without an end", func(t *testing.T) {
		if got, err := slowHeader.answer(t); err == nil {
			t.Errorf("got %v, want the connection to end", got)
		}
	})
	t.Run("a body without an end", func(t *testing.T) {
		got, err := slowBody.answer(t)
		if err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, got, badRequest)
		if got.header.Get("Connection") != "close" {
			t.Error("the connection stays open, want Connection: close")
		}
	})
	trap.wantNobody(t)

	if n := l.telnyx.Requests(telnyxtest.Token); n != 0 {
		t.Errorf("%d tokens minted, want none", n)
	}
	l.wantToken(t, "alice", c.send(from))
}

// begun is a request on a connection of its own, of which all has been sent that
// ever will be.
type begun struct{ conn net.Conn }

func begin(t *testing.T, s *service, text string) begun {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.Listen, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return begun{conn}
}

// answer waits for what the service says to it, or for its hanging up.
func (b begun) answer(t *testing.T) (answer, error) {
	t.Helper()
	if err := b.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(b.conn), nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the service still waits")
	}
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	if res.Close {
		res.Header.Set("Connection", "close")
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, responseLimit))
	return answer{status: res.StatusCode, header: res.Header, body: string(body)}, err
}

// A request id is the caller's own if it can do no harm to a log.
func TestRequestID(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	s := startService(t, l.env)
	c := call(t, s)

	for _, row := range []struct {
		what, id string
		kept     bool
	}{
		{"a UUID", "0190a5e6-6f4b-7c3e-8d2a-1b2c3d4e5f60", true},
		{"64 characters", strings.Repeat("a", 64), true},
		{"every kind of character", "Az09._-", true},
		{"65 characters", strings.Repeat("a", 65), false},
		{"nothing", "", false},
		{"a space", "a b", false},
		{"a tab", "a\tb", false},
		{"a next-line character", "a\u0085b", false},
		{"an escaped line break", `a\nb`, false},
		{"quotes", `"a"`, false},
		{"markup", "<script>", false},
	} {
		t.Run(row.what, func(t *testing.T) {
			for _, got := range []answer{
				c.send(header("X-Request-Id", row.id)),
				c.send(header("X-Request-Id", row.id), bearing(l.issuer.Bearer("alice", nil))),
			} {
				id := got.header.Get("X-Request-Id")
				if (id == row.id) != row.kept || id == "" {
					t.Errorf("%q becomes %q; kept should be %v", row.id, id, row.kept)
				}
				if in := got.problem().RequestID; in != id {
					t.Errorf("request_id %q, X-Request-Id %q: want the same", in, id)
				}
				if !row.kept {
					s.request(t, id)
				}
			}
		})
	}
}

func TestPlainTextIsTheBareToken(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	c := call(t, startService(t, l.env))
	alice := bearing(l.issuer.Bearer("alice", nil))

	for accept, plain := range map[string]bool{
		"text/plain":                         true,
		"text/plain, application/json;q=0.5": true,
		"":                                   false,
		"*/*":                                false,
		"application/json, text/plain":       false,
		"text/plain;q=0.1, application/json": false,
		"image/png":                          false,
	} {
		got := c.send(alice, header("Accept", accept))
		if owner, _ := l.telnyx.CredentialOf(got.body); (owner == l.credentials["alice"]) != plain {
			t.Errorf("Accept: %s: got %s; the bare token should be %v", accept, got.header.Get("Content-Type"), plain)
		}
		if plain && !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
			t.Errorf("Accept: %s: Content-Type %q", accept, got.header.Get("Content-Type"))
		}
		if !plain {
			l.wantToken(t, "alice", got)
		}
	}
	wantRefusal(t, c.send(header("Accept", "text/plain")), unauthenticated) // a problem is never plain
}

func TestBrowsersOfOtherOrigins(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	c := call(t, startService(t, l.with(setting{"TOKENSVC_CORS_ORIGINS", "https://phone.example.com,http://localhost:3000"})))
	alice := bearing(l.issuer.Bearer("alice", nil))
	preflight := func(origin string) answer {
		return c.send(asking("OPTIONS", "/v1/token"), header("Origin", origin),
			header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "authorization,content-type"))
	}

	for origin, allowed := range map[string]bool{
		"https://phone.example.com":         true,
		"http://localhost:3000":             true,
		"https://evil.example":              false,
		"https://phone.example.com.evil.io": false,
		"https://phone.example.com:8443":    false,
		"http://phone.example.com":          false,
		"https://x.phone.example.com":       false,
		"null":                              false,
	} {
		t.Run(origin, func(t *testing.T) {
			want := ""
			if allowed {
				want = origin
			}
			pre, given, refused := preflight(origin), c.send(alice, header("Origin", origin)), c.send(header("Origin", origin))
			for what, got := range map[string]answer{"preflight": pre, "a token": given, "a refusal": refused} {
				if told := got.header.Get("Access-Control-Allow-Origin"); told != want {
					t.Errorf("%s: Access-Control-Allow-Origin %q, want %q", what, told, want)
				}
				if vary := got.header.Values("Vary"); !strings.Contains(strings.Join(vary, ","), "Origin") {
					t.Errorf("%s: Vary %q, want Origin in it", what, vary)
				}
				if got.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s: cookies are allowed", what)
				}
			}
			l.wantToken(t, "alice", given) // CORS is not authentication
			wantRefusal(t, refused, unauthenticated)
			if pre.status >= 300 {
				t.Errorf("preflight answers %d", pre.status)
			}
			for name, value := range map[string]string{
				"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "authorization", "Access-Control-Max-Age": "3600",
			} {
				if told := pre.header.Get(name); allowed && !strings.Contains(strings.ToLower(told), strings.ToLower(value)) || !allowed && told != "" {
					t.Errorf("preflight: %s %q", name, told)
				}
			}
			for _, name := range []string{"Retry-After", "X-Request-Id", "WWW-Authenticate"} {
				exposed := refused.header.Get("Access-Control-Expose-Headers")
				if strings.Contains(strings.ToLower(exposed), strings.ToLower(name)) != allowed {
					t.Errorf("Access-Control-Expose-Headers %q; %s should be there: %v", exposed, name, allowed)
				}
			}
		})
	}
	t.Run("no origin, as from a phone", func(t *testing.T) {
		got := c.send(alice)
		l.wantToken(t, "alice", got)
		if told := got.header.Get("Access-Control-Allow-Origin"); told != "" {
			t.Errorf("Access-Control-Allow-Origin %q, want none", told)
		}
	})
}

// Who a caller says to be in X-Forwarded-For counts only when a proxy of ours
// says it.
func TestWhoseForwardedForCounts(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	const claimed = "203.0.113.7"

	for _, row := range []struct {
		what    string
		trusted []setting
		sent    []string
		client  string
	}{
		{"from anybody", nil, []string{claimed}, "127.0.0.1"},
		{"from a stranger to our proxies", []setting{{"TOKENSVC_TRUSTED_PROXIES", "10.0.0.0/8"}}, []string{claimed}, "127.0.0.1"},
		{"from a proxy of ours", []setting{{"TOKENSVC_TRUSTED_PROXIES", "127.0.0.0/8"}}, []string{claimed}, claimed},
		{"from a proxy of ours, behind what the caller made up", []setting{{"TOKENSVC_TRUSTED_PROXIES", "127.0.0.0/8"}}, []string{"198.51.100.1, " + claimed}, claimed},
	} {
		t.Run(row.what, func(t *testing.T) {
			s := startService(t, l.with(row.trusted...))
			got := call(t, s).send(bearing(l.issuer.Bearer("alice", nil)), header("X-Forwarded-For", row.sent...))
			l.wantToken(t, "alice", got)
			if client := s.request(t, got.header.Get("X-Request-Id"))["client"]; client != row.client {
				t.Errorf("the log says that the client is %v, want %s", client, row.client)
			}
		})
	}
}

func TestBasePath(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	s := startService(t, l.with(setting{"TOKENSVC_BASE_PATH", "/phone/tokens"}))
	c := call(t, s)
	alice := bearing(l.issuer.Bearer("alice", nil))
	below := &caller{t, checked(t, prefixed{"/phone/tokens", &http.Transport{DisableKeepAlives: true}}), s.Listen}

	l.wantToken(t, "alice", below.send(alice))
	wantRefusal(t, below.send(), unauthenticated)
	wantRefusal(t, below.send(alice, asking("GET", "/v1/token")), wrongMethod)
	if got := below.send(asking("GET", "/openapi.yaml")); got.status != http.StatusOK {
		t.Errorf("the contract below the base path: %d", got.status)
	}
	if got := below.send(asking("GET", "/client.js")); got.status != http.StatusOK {
		t.Errorf("the module below the base path: %d", got.status)
	}
	if got := below.send(alice, asking("POST", "/v2/telephony_credentials/me/token")); got.status != http.StatusCreated {
		t.Errorf("Telnyx's own operation below the base path: %v", got)
	}
	for _, path := range []string{"/phone/tokens", "/phone/tokens/", "/phone/v1/token", "/"} {
		wantRefusal(t, c.send(alice, asking("POST", path)), notFound)
	}
	above := newRequest(t, http.MethodPost, s.Listen+"/v1/token", nil) // where the contract knows no 404
	alice(above)
	wantRefusal(t, do(t, httpClient, above), notFound)
}

// prefixed sends requests to below a base path, where the contract, which is
// asked before, does not see it.
type prefixed struct {
	base string
	next http.RoundTripper
}

func (p prefixed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Path = p.base + r.URL.Path
	return p.next.RoundTrip(r)
}

// Whatever Telnyx does, the caller is told which of a few things it was, and
// whether to try again.
func TestTelnyxsFaultsHaveNames(t *testing.T) {
	const (
		limited     = "upstream_limited"
		unavailable = "upstream_unavailable"
		timeout     = "upstream_timeout"
		rejected    = "upstream_rejected"
		credential  = "credential_rejected"
	)
	rows := []struct {
		what   string
		fault  telnyxtest.Fault
		status int
		code   string
		retry  string // Retry-After; "+" is any
	}{
		{"too many requests", telnyxtest.Fault{Status: 429}, 503, limited, "+"},
		{"too many requests, come in 7 s", telnyxtest.Fault{Status: 429, RetryAfter: "7"}, 503, limited, "7"},
		{"too many requests, come tomorrow", telnyxtest.Fault{Status: 429, RetryAfter: "86400"}, 503, limited, "300"},
		{"500", telnyxtest.Fault{Status: 500}, 503, unavailable, "+"},
		{"500 without a body", telnyxtest.Fault{Status: 500, Shape: telnyxtest.Empty}, 503, unavailable, "+"},
		{"502 with a page", telnyxtest.Fault{Status: 502, Shape: telnyxtest.HTML}, 503, unavailable, "+"},
		{"503", telnyxtest.Fault{Status: 503}, 503, unavailable, "+"},
		{"503, come in 9 s", telnyxtest.Fault{Status: 503, RetryAfter: "9"}, 503, unavailable, "9"},
		{"504", telnyxtest.Fault{Status: 504}, 504, timeout, "+"},
		{"no answer", telnyxtest.Fault{Shape: telnyxtest.Hang}, 504, timeout, "+"},
		{"half an answer, and then none", telnyxtest.Fault{Shape: telnyxtest.HangBody}, 504, timeout, "+"},
		{"a reset connection", telnyxtest.Fault{Shape: telnyxtest.Reset}, 503, unavailable, "+"},
		{"a connection reset in the answer", telnyxtest.Fault{Shape: telnyxtest.ResetBody}, 503, unavailable, "+"},
		{"a closed connection", telnyxtest.Fault{Shape: telnyxtest.Close}, 503, unavailable, "+"},
		{"an answer that is not HTTP", telnyxtest.Fault{Shape: telnyxtest.MalformedStatus}, 502, rejected, ""},
		{"a success without a token", telnyxtest.Fault{Status: 201, Shape: telnyxtest.Empty}, 502, rejected, ""},
		{"a maintenance page for a token", telnyxtest.Fault{Status: 201, Shape: telnyxtest.HTML}, 502, rejected, ""},
		{"a maintenance page with 200", telnyxtest.Fault{Shape: telnyxtest.HTML}, 502, rejected, ""},
		{"text that is no token", telnyxtest.Fault{Shape: telnyxtest.NotJWT}, 502, rejected, ""},
		{"JSON for a token", telnyxtest.Fault{Shape: telnyxtest.JSONInstead}, 502, rejected, ""},
		{"a body without end", telnyxtest.Fault{Shape: telnyxtest.Endless}, 502, rejected, ""},
		{"a redirect", telnyxtest.Fault{Shape: telnyxtest.Redirect}, 502, rejected, ""},
		{"our key is not accepted", telnyxtest.Fault{Status: 401}, 502, rejected, ""},
		{"our key may not do this", telnyxtest.Fault{Status: 403}, 502, rejected, ""},
		{"no such credential", telnyxtest.Fault{Status: 404}, 502, credential, ""},
		{"the credential cannot be used", telnyxtest.Fault{Status: 422}, 502, credential, ""},
		{"the credential cannot be used, errors as an object", telnyxtest.Fault{Status: 422, Shape: telnyxtest.ErrorsObject}, 502, credential, ""},
		{"a bad request", telnyxtest.Fault{Status: 400}, 502, credential, ""},
	}
	var users []string
	for i := range rows {
		users = append(users, "user-"+strconv.Itoa(i))
	}
	l := newLab(t, telnyxtest.Options{}, append(users, "alice")...)
	// A busy machine takes its time even where nothing hangs. Whoever waits for
	// what hangs need not wait for long. Neither waits for the 7 s of a row.
	const patient, hasty = "5s", "1s"

	for i, row := range rows {
		t.Run(row.what, func(t *testing.T) {
			patience := patient
			if row.fault.Shape == telnyxtest.Hang || row.fault.Shape == telnyxtest.HangBody {
				patience = hasty
			}
			// A service for each: what Telnyx asks for is kept to by all calls after it.
			s := startService(t, l.with(setting{"TELNYX_TIMEOUT", patience}))
			c := call(t, s)
			user := bearing(l.issuer.Bearer(users[i], nil))
			row.fault.Op = telnyxtest.Token
			l.telnyx.Inject(row.fault)
			got := c.send(user)
			l.telnyx.ClearFaults()
			wantProblem(t, got, row.status, row.code)
			if retry := got.header.Get("Retry-After"); retry != row.retry && (row.retry != "+" || retry == "") {
				t.Errorf("Retry-After %q, want %q", retry, row.retry)
			}
			if outcome := s.request(t, got.header.Get("X-Request-Id"))["outcome"]; outcome != row.code {
				t.Errorf("the log says %v, want %s", outcome, row.code)
			}
			if row.fault.Status == http.StatusTooManyRequests && row.fault.RetryAfter != "" {
				wantProblem(t, c.send(user), row.status, row.code) // without asking it
				return
			}
			l.wantToken(t, users[i], c.send(user)) // no failure is kept
		})
	}
	c := call(t, startService(t, l.env))
	t.Run("a token and a line break", func(t *testing.T) {
		l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Newline})
		defer l.telnyx.ClearFaults()
		l.wantToken(t, "alice", c.send(bearing(l.issuer.Bearer("alice", nil))))
	})
	t.Run("Telnyx gone altogether, for whoever has a token", func(t *testing.T) {
		l.telnyx.Close()
		l.wantToken(t, "alice", c.send(bearing(l.issuer.Bearer("alice", nil))))
	})
}

func TestIssuerThatIsDown(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	l.issuer.Break(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	s := launchService(t, l.env)
	c := call(t, s)
	alice := bearing(l.issuer.Bearer("alice", nil))

	s.wantLive(t)
	if status := s.ready(t); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d, want 503 without keys", status)
	}
	got := c.send(alice)
	wantProblem(t, got, http.StatusServiceUnavailable, "issuer_unavailable")
	if !got.problem().Retryable {
		t.Error("it is said not to be worth trying again")
	}
	wantRefusal(t, c.send(bearing(l.issuer.Bearer("alice", map[string]any{"aud": "billing"}))), invalid("audience")) // needs no key
	l.issuer.Break(nil)
	s.AwaitReady(t)
	l.wantToken(t, "alice", c.send(alice))
}

func TestRulesDecide(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	c := call(t, startService(t, l.with(setting{"TOKENSVC_OIDC_REQUIRE", "{groups: [agents, leads], email_verified: true}"})))

	for _, row := range []struct {
		what    string
		claims  map[string]any
		allowed bool
	}{
		{"an agent", map[string]any{"groups": []string{"agents"}, "email_verified": true}, true},
		{"a lead, who is more", map[string]any{"groups": []string{"staff", "leads"}, "email_verified": true}, true},
		{"a visitor", map[string]any{"groups": []string{"visitors"}, "email_verified": true}, false},
		{"an agent without a verified address", map[string]any{"groups": []string{"agents"}}, false},
		{"an agent whose address is verified in words", map[string]any{"groups": []string{"agents"}, "email_verified": "true"}, false},
		{"agents in capitals", map[string]any{"groups": []string{"Agents"}, "email_verified": true}, false},
		{"nobody in particular", nil, false},
	} {
		t.Run(row.what, func(t *testing.T) {
			got := c.send(bearing(l.issuer.Bearer("alice", row.claims)))
			if row.allowed {
				l.wantToken(t, "alice", got)
			} else {
				wantRefusal(t, got, refusal{status: http.StatusForbidden, code: "denied"})
			}
		})
	}
}

func TestOneUsersShare(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	c := call(t, startService(t, l.with(setting{"TOKENSVC_LIMITS_USER_PER_MINUTE", "30"}, setting{"TOKENSVC_LIMITS_USER_BURST", "3"})))
	alice := func() answer { return c.send(bearing(l.issuer.Bearer("alice", nil))) } // a new bearer is no new share

	for range 3 {
		l.wantToken(t, "alice", alice())
	}
	got, told := alice(), time.Now()
	wantProblem(t, got, http.StatusTooManyRequests, "rate_limited")
	for range 20 {
		wantProblem(t, alice(), http.StatusTooManyRequests, "rate_limited") // and asking does not make it worse
	}
	l.wantToken(t, "bob", c.send(bearing(l.issuer.Bearer("bob", nil))))

	wait, err := strconv.Atoi(got.header.Get("Retry-After"))
	if err != nil || wait < 1 || wait > 2 { // one share comes back every 2 s
		t.Fatalf("Retry-After %q, want 1 or 2", got.header.Get("Retry-After"))
	}
	due := told.Add(time.Duration(wait) * time.Second)
	process.Eventually(t, 10*time.Second, "another share", func() error {
		kept := time.Now().After(due) // whoever comes after that has waited as told
		got := alice()
		if got.status != http.StatusOK {
			if kept {
				t.Errorf("told to wait %d s, and refused after %v: %v", wait, time.Since(told), got)
			}
			return errors.New(got.String())
		}
		l.wantToken(t, "alice", got)
		return nil
	})
}

func query(name, value string) change {
	return func(r *http.Request) { r.URL.RawQuery = url.Values{name: {value}}.Encode() }
}

// cut returns the three parts of a bearer.
func cut(jws string) (head, payload, signature string) {
	parts := strings.Split(jws, ".")
	return parts[0], parts[1], parts[2]
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func encodeJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return encode(string(text))
}

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
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	signed := encode(fmt.Sprintf(`{"alg":"HS256","typ":"JWT","kid":%q}`, k.ID)) + "." + payload
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// embedded is a bearer that brings the key it wants to be checked with.
func embedded(t *testing.T, issuer *oidctest.Issuer) string {
	t.Helper()
	k := oidctest.NewKey(issuer.Key().ID)
	text, err := jose.JSONWebKey{Key: k.Private.Public()}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var jwk map[string]any
	if err := json.Unmarshal(text, &jwk); err != nil {
		t.Fatal(err)
	}
	return k.Sign(map[string]any{"jwk": maps.Clone(jwk)}, issuer.Claims("alice", nil))
}
