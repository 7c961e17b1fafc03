package authz_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

// source is a place that must be one.
func source(t testing.TB, text string) authz.Source {
	t.Helper()
	s, err := authz.ParseSource(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// why is what Verify said of a request, in a word: the user key, or why not.
func why(v *authz.Verifier, e authz.Evidence) string {
	who, err := v.Verify(context.Background(), e)
	var invalid *authz.InvalidError
	switch {
	case err == nil:
		return who.User
	case errors.As(err, &invalid):
		return string(invalid.Reason)
	case errors.Is(err, authz.ErrUnauthenticated):
		return "unauthenticated"
	case errors.Is(err, authz.ErrAmbiguous):
		return "ambiguous"
	case errors.Is(err, authz.ErrIssuerUnavailable):
		return "issuer_unavailable"
	}
	return err.Error()
}

// door is who is let in, row by row.
type door struct {
	t *testing.T
	v *authz.Verifier
}

func (p door) allow(user, name string, e authz.Evidence) {
	p.t.Helper()
	if got := why(p.v, e); got != user {
		p.t.Errorf("%s: %s, want it to be %s", name, got, user)
	}
}

func (p door) deny(reason, name string, e authz.Evidence) {
	p.t.Helper()
	if got := why(p.v, e); got != reason {
		p.t.Errorf("%s: %s, want %s", name, got, reason)
	}
}

// sent is the evidence of a request with these headers, name and value in turn.
// Names stand as they come, so that a test can send what Go would not.
func sent(lines ...string) authz.Evidence {
	h := http.Header{}
	for i := 0; i+1 < len(lines); i += 2 {
		name := lines[i]
		if !strings.Contains(name, "_") {
			name = http.CanonicalHeaderKey(name)
		}
		h[name] = append(h[name], lines[i+1])
	}
	return authz.Evidence{Header: h, Method: http.MethodPost, Path: "/v1/token", RemoteAddr: "192.0.2.7:4711"}
}

func TestWhatCountsAsABearer(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	p := door{t, newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}})}
	token := issuer.Bearer("alice", nil)
	const header = "Authorization"

	p.allow("main:alice", "a bearer", sent(header, "Bearer "+token))
	p.allow("main:alice", "a scheme in lower case", sent(header, "bearer "+token))
	p.allow("main:alice", "two spaces", sent(header, "Bearer  "+token))
	p.deny("malformed", "what follows stays in it", sent(header, "Bearer "+token+" more"))
	p.deny("malformed", "a line break in it", sent(header, "Bearer "+strings.Replace(token, ".", ".\n", 1)))
	p.deny("unauthenticated", "no header", sent())
	p.deny("unauthenticated", "an empty header", sent(header, ""))
	p.deny("unauthenticated", "only a scheme", sent(header, "Bearer"))
	p.deny("unauthenticated", "a scheme and a space", sent(header, "Bearer "))
	p.deny("unauthenticated", "no scheme", sent(header, token))
	p.deny("unauthenticated", "no space", sent(header, "Bearer"+token))
	p.deny("unauthenticated", "another scheme", sent(header, "Basic "+token))
	p.deny("unauthenticated", "a scheme that begins so", sent(header, "Bearerish "+token))
	p.deny("unauthenticated", "DPoP, which no issuer has", sent(header, "DPoP "+token))
	p.deny("ambiguous", "two headers", sent(header, "Bearer "+token, header, "Bearer "+token))
	p.deny("ambiguous", "two headers, one of them empty", sent(header, "Bearer "+token, header, ""))
	p.deny("unauthenticated", "a header that is not configured", sent("X-Token", token))
	p.deny("unauthenticated", "a cookie that is not configured", sent("Cookie", "token="+token))
}

func FuzzAuthorization(f *testing.F) {
	issuer := oidctest.StartT(f, oidctest.Options{Audience: audience})
	v := newVerifier(f, authz.Config{Issuers: []authz.Issuer{issuerOf(issuer)}})
	f.Add("Bearer abc", "a=b; c=d")
	f.Add("bearer", "=;")
	f.Fuzz(func(t *testing.T, header, cookie string) {
		if who, err := v.Verify(t.Context(), sent("Authorization", header, "Cookie", cookie)); err == nil {
			t.Fatalf("%q is %s", header, who.User)
		}
	})
}

func TestWhoseTokenInAHeaderOfItsOwnIsAccepted(t *testing.T) {
	const assertion = "X-Goog-Iap-Jwt-Assertion"
	phones := oidctest.StartT(t, oidctest.Options{Audience: audience})
	iap := oidctest.StartT(t, oidctest.Options{Audience: audience})
	behind := authz.Issuer{Name: "iap", URL: iap.URL(), Audiences: []string{audience}, Source: source(t, "header:x-goog-iap-jwt-assertion")}
	p := door{t, newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(phones), behind}})}
	bearer, asserted := phones.Bearer("alice", nil), iap.Bearer("alice", nil)

	p.allow("iap:alice", "an assertion", sent(assertion, asserted))
	p.allow("iap:alice", "an assertion, verified before", sent(assertion, asserted))
	p.allow("main:alice", "a bearer of another issuer", sent("Authorization", "Bearer "+bearer))
	p.deny("issuer", "the assertion as a bearer, verified before or not", sent("Authorization", "Bearer "+asserted))
	p.deny("issuer", "the bearer as an assertion, verified before or not", sent(assertion, bearer))
	p.deny("ambiguous", "both", sent(assertion, asserted, "Authorization", "Bearer "+bearer))
	p.deny("ambiguous", "an assertion and any Authorization", sent(assertion, asserted, "Authorization", "Basic eDp5"))
	p.deny("ambiguous", "two assertions", sent(assertion, asserted, assertion, asserted))
	p.deny("unauthenticated", "an empty assertion", sent(assertion, ""))
	p.deny("malformed", "a scheme before it", sent(assertion, "Bearer "+asserted))
	p.deny("unauthenticated", "a name with underscores", sent("X_Goog_Iap_Jwt_Assertion", asserted))
	p.deny("audience", "an assertion for another service", sent(assertion, iap.Bearer("alice", map[string]any{"aud": "other"})))
}

func TestWhoseCookieIsAccepted(t *testing.T) {
	const page = "https://phone.example.com"
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	web := authz.Issuer{Name: "web", URL: issuer.URL(), Audiences: []string{audience}, Source: source(t, "cookie:__Host-session")}
	p := door{t, newVerifier(t, authz.Config{Issuers: []authz.Issuer{web}, Origins: []string{page}})}
	cookie := "__Host-session=" + issuer.Bearer("alice", nil)

	p.allow("web:alice", "from an allowed page", sent("Cookie", cookie, "Origin", page))
	p.allow("web:alice", "from an allowed page, verified before", sent("Cookie", cookie, "Origin", page))
	p.allow("web:alice", "among other cookies", sent("Cookie", "theme=dark; "+cookie+"; odd=[]{}", "Origin", page))
	p.deny("origin", "verified before, but without an origin", sent("Cookie", cookie))
	p.deny("origin", "from another page", sent("Cookie", cookie, "Origin", "https://evil.example.com"))
	p.deny("origin", "from a page whose name begins so", sent("Cookie", cookie, "Origin", page+".evil.example.com"))
	p.deny("origin", "from the same page without TLS", sent("Cookie", cookie, "Origin", "http://phone.example.com"))
	p.deny("origin", "from a sandboxed page", sent("Cookie", cookie, "Origin", "null"))
	p.deny("origin", "from two pages", sent("Cookie", cookie, "Origin", page, "Origin", page))
	p.deny("ambiguous", "twice in one header", sent("Cookie", cookie+"; "+cookie, "Origin", page))
	p.deny("ambiguous", "twice in two headers", sent("Cookie", cookie, "Cookie", cookie, "Origin", page))
	p.deny("ambiguous", "twice, once with what no cookie may have", sent("Cookie", cookie+`; __Host-session=a\b`, "Origin", page))
	p.deny("ambiguous", "twice, once without a value", sent("Cookie", cookie+"; __Host-session", "Origin", page))
	p.deny("unauthenticated", "with what no cookie may have", sent("Cookie", cookie+`\`, "Origin", page))
	p.deny("unauthenticated", "among more cookies than are read", sent("Cookie", strings.Repeat("a=b; ", 3100)+cookie, "Origin", page))
	p.deny("unauthenticated", "a name in another case", sent("Cookie", strings.ToLower(cookie), "Origin", page))
	p.deny("unauthenticated", "as a bearer, which no issuer has", sent("Authorization", "Bearer "+issuer.Bearer("alice", nil), "Origin", page))
	p.deny("unauthenticated", "an empty cookie", sent("Cookie", "__Host-session=", "Origin", page))
}

func TestWhereACredentialCanBe(t *testing.T) {
	for text, want := range map[string]string{
		"bearer":                 "bearer",
		"header:x-assertion":     "header:X-Assertion",
		"cookie:CF_Auth":         "cookie:CF_Auth",
		"":                       "",
		"Bearer":                 "",
		"header":                 "",
		"header:":                "",
		"header:authorization":   "",
		"header:Cookie":          "",
		"header:dpop":            "",
		"header:Host":            "",
		"header:x-request-id":    "",
		"header:X_Assertion":     "",
		"header:X Assertion":     "",
		"header:X-Assertion\r\n": "",
		"cookie:a=b":             "",
		"cookie:a;b":             "",
		"query:token":            "",
	} {
		got := ""
		if s, err := authz.ParseSource(text); err == nil {
			got = s.String()
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
