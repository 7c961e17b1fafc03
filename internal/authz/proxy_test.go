package authz_test

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/secret"
)

const proxySecret = "only-the-proxy-knows"

// trustedProxy is a proxy at 192.0.2.0/24 that knows the secret.
func trustedProxy() authz.Issuer {
	return authz.Issuer{Name: "sso", UserClaim: "email", Proxy: &authz.Proxy{
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")},
		Secret:   func() secret.Text { return secret.New(proxySecret) },
	}}
}

// fromProxy is what the proxy sends, and besides these headers.
func fromProxy(lines ...string) authz.Evidence {
	return sent(append([]string{"X-Proxy-Secret", proxySecret, "X-Forwarded-Email", "alice@example.com"}, lines...)...)
}

func from(address string, e authz.Evidence) authz.Evidence {
	e.RemoteAddr = address
	return e
}

func TestWhoseWordIsTaken(t *testing.T) {
	phones := oidctest.StartT(t, oidctest.Options{Audience: audience})
	p := door{t, newVerifier(t, authz.Config{Issuers: []authz.Issuer{trustedProxy(), issuerOf(phones)}})}
	const alice, user, email, known = "sso:alice@example.com", "X-Forwarded-User", "X-Forwarded-Email", "X-Proxy-Secret"

	p.allow(alice, "the proxy's", fromProxy())
	p.allow(alice, "the proxy's, with all it has to say", fromProxy(user, "0b5c", "X-Forwarded-Groups", "agents,leads", "X-Forwarded-Preferred-Username", "alice"))
	p.allow(alice, "the proxy's, with a header left empty", fromProxy(user, ""))
	p.allow(alice, "the proxy's, over IPv6", from("[2001:db8::7]:4711", fromProxy()))
	p.allow(alice, "the proxy's, over IPv4 as IPv6", from("[::ffff:192.0.2.7]:4711", fromProxy()))
	p.allow("main:bob", "a bearer's owner, without the proxy", sent("Authorization", "Bearer "+phones.Bearer("bob", nil)))

	p.deny("proxy", "a stranger's who knows the secret", from("198.51.100.7:4711", fromProxy()))
	p.deny("proxy", "a neighbour's without the secret", sent(email, "alice@example.com"))
	p.deny("proxy", "a neighbour's with a wrong secret", sent(email, "alice@example.com", known, proxySecret+"!"))
	p.deny("proxy", "a neighbour's with an empty secret", sent(email, "alice@example.com", known, ""))
	p.deny("proxy", "a neighbour's with half the secret", sent(email, "alice@example.com", known, proxySecret[:16]))
	p.deny("proxy", "two secrets", fromProxy(known, proxySecret))
	p.deny("proxy", "an address that is none", from("", fromProxy()))
	p.deny("proxy", "two people", fromProxy(email, "bob@example.com"))
	p.deny("proxy", "nobody and somebody", sent(known, proxySecret, email, "", email, "bob@example.com"))
	p.deny("proxy", "two of what is not the user", fromProxy(user, "a", user, "b"))
	p.deny("proxy", "a look-alike", fromProxy("X_Forwarded_Email", "bob@example.com"))
	p.deny("proxy", "a look-alike in lower case", fromProxy("x_forwarded-email", "bob@example.com"))
	p.deny("proxy", "a look-alike alone", sent("X_Forwarded_User", "bob"))
	p.deny("proxy", "a look-alike of the secret", sent(email, "alice@example.com", "X_Proxy_Secret", proxySecret))
	p.deny("proxy", "a look-alike beside a bearer", sent("X_Forwarded_User", "bob", "Authorization", "Bearer "+phones.Bearer("bob", nil)))
	p.allow(alice, "the longest header", fromProxy("X-Forwarded-Groups", strings.Repeat("a", 48<<10)))
	p.deny("proxy", "a longer one", fromProxy("X-Forwarded-Groups", strings.Repeat("a", 48<<10+1)))
	p.deny("user_claim", "nobody's", sent(known, proxySecret))
	p.deny("user_claim", "an empty name", sent(known, proxySecret, email, ""))
	p.deny("user_claim", "a name with a line break", sent(known, proxySecret, email, "alice\nbob"))
	p.deny("user_claim", "a name that is too long", sent(known, proxySecret, email, strings.Repeat("a", authz.MaxUserValue+1)))
	p.deny("ambiguous", "the proxy's, with a bearer", fromProxy("Authorization", "Bearer "+phones.Bearer("alice", nil)))
	p.deny("ambiguous", "the proxy's, with any Authorization", fromProxy("Authorization", "Basic eDp5"))
	p.deny("ambiguous", "a bearer's owner with forged headers", sent(email, "alice@example.com", "Authorization", "Bearer "+phones.Bearer("bob", nil)))
}

func TestAProxyWithAListenerOfItsOwnIsBelievedOnlyThere(t *testing.T) {
	phones := oidctest.StartT(t, oidctest.Options{Audience: audience})
	p := door{t, newVerifier(t, authz.Config{Issuers: []authz.Issuer{trustedProxy(), issuerOf(phones)}, ProxyListener: true})}
	there := func(e authz.Evidence) authz.Evidence {
		e.ProxyListener = true
		return e
	}
	bearer := sent("Authorization", "Bearer "+phones.Bearer("bob", nil))

	p.allow("sso:alice@example.com", "the proxy there", there(fromProxy()))
	p.allow("sso:alice@example.com", "the proxy there, which passes on what the browser sent", there(fromProxy("Authorization", "Basic eDp5")))
	p.allow("main:bob", "a bearer here", bearer)
	p.deny("proxy", "the proxy here", fromProxy())
	p.deny("proxy", "a stranger there", there(from("198.51.100.7:4711", fromProxy())))
	p.deny("unauthenticated", "a bearer there", there(sent("Authorization", "Bearer "+phones.Bearer("bob", nil))))
}

func TestAProxyMayShowACertificate(t *testing.T) {
	issuer := trustedProxy()
	issuer.Proxy.Secret, issuer.Proxy.ClientNames = nil, []string{"proxy.internal"}
	p := door{t, newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuer}})}
	showing := func(names ...string) authz.Evidence {
		e := sent("X-Forwarded-Email", "alice@example.com")
		e.Certificate = &x509.Certificate{DNSNames: names}
		return e
	}
	p.allow("sso:alice@example.com", "with its name", showing("other.internal", "proxy.internal"))
	p.deny("proxy", "of somebody else", showing("other.internal"))
	p.deny("proxy", "without a name", showing())
	p.deny("proxy", "no certificate", sent("X-Forwarded-Email", "alice@example.com"))
	p.deny("proxy", "its name, from elsewhere", from("198.51.100.7:4711", showing("proxy.internal")))
}

func TestWhatAProxySaysBecomesClaims(t *testing.T) {
	issuer := trustedProxy()
	issuer.UserClaim = ""
	issuer.Proxy.Headers = map[string]string{"sub": "x-pomerium-claim-sub", "groups": "X-Pomerium-Claim-Groups"}
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuer}})
	who, err := v.Verify(context.Background(), sent("X-Proxy-Secret", proxySecret, "X-Pomerium-Claim-Sub", "alice", "X-Pomerium-Claim-Groups", "agents, leads,,"))
	if err != nil {
		t.Fatal(err)
	}
	groups, _ := who.Claims["groups"].([]any)
	if who.User != "sso:alice" || who.Subject != "alice" || !slices.Equal(groups, []any{"agents", "leads"}) {
		t.Errorf("got %+v", who)
	}
	who, err = v.Verify(context.Background(), sent("X-Proxy-Secret", proxySecret, "X-Pomerium-Claim-Sub", "alice", "X-Pomerium-Claim-Groups", ""))
	if err != nil {
		t.Fatal(err)
	}
	if groups, there := who.Claims["groups"]; there {
		t.Errorf("a claim that was left empty is %v", groups)
	}
}

func secretOf(length int) func() secret.Text {
	return func() secret.Text { return secret.New(strings.Repeat("s", length)) }
}

func TestAProxyIsRefusedUnlessItCanBeTrusted(t *testing.T) {
	for name, change := range map[string]func(*authz.Issuer){
		"no network":                      func(i *authz.Issuer) { i.Proxy.Networks = nil },
		"neither secret nor names":        func(i *authz.Issuer) { i.Proxy.Secret = nil },
		"both secret and names":           func(i *authz.Issuer) { i.Proxy.ClientNames = []string{"proxy.internal"} },
		"a short secret":                  func(i *authz.Issuer) { i.Proxy.Secret = secretOf(authz.MinProxySecret - 1) },
		"a header with a meaning":         func(i *authz.Issuer) { i.Proxy.Headers = map[string]string{"email": "Authorization"} },
		"a header with an underscore":     func(i *authz.Issuer) { i.Proxy.Headers = map[string]string{"email": "X_Email"} },
		"a header for two claims":         func(i *authz.Issuer) { i.Proxy.Headers = map[string]string{"email": "X-A", "sub": "x-a"} },
		"a default header for the secret": func(i *authz.Issuer) { i.Proxy.SecretHeader = "x-forwarded-user" },
		"no header for the user":          func(i *authz.Issuer) { i.Proxy.Headers = map[string]string{"sub": "X-Forwarded-User"} },
		"a rule on what never comes":      func(i *authz.Issuer) { i.Require = []authz.Requirement{{Claim: "roles", AnyOf: []any{"a"}}} },
		"a list that never comes":         func(i *authz.Issuer) { i.Proxy.Lists = []string{"roles"} },
		"the secret's header":             func(i *authz.Issuer) { i.Proxy.Headers = map[string]string{"email": "X-Proxy-Secret"} },
		"an audience":                     func(i *authz.Issuer) { i.Audiences = []string{audience} },
		"an issuer URL":                   func(i *authz.Issuer) { i.URL = "https://login.example.com" },
		"a source":                        func(i *authz.Issuer) { i.Source = source(t, "cookie:x") },
		"a name that is none":             func(i *authz.Issuer) { i.Name = "" },
	} {
		issuer := trustedProxy()
		change(&issuer)
		if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{issuer}}); err == nil {
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), proxySecret) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
	shortest := trustedProxy()
	shortest.Proxy.Secret = secretOf(authz.MinProxySecret)
	if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{shortest}}); err != nil {
		t.Errorf("a secret of %d bytes: %v", authz.MinProxySecret, err)
	}
	behind := authz.Issuer{Name: "iap", URL: "https://login.example.com", Audiences: []string{audience}, Source: source(t, "header:X-Forwarded-Groups")}
	if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{trustedProxy(), behind}}); err == nil {
		t.Error("a header is the proxy's, and a token's place")
	}
	second := trustedProxy()
	second.Name = "other"
	if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{trustedProxy(), second}}); err == nil {
		t.Error("two proxies are accepted")
	}
}

func TestTheLogIsToldWhatTheCallerIsNot(t *testing.T) {
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{trustedProxy()}})
	for says, e := range map[string]authz.Evidence{
		"outside proxy.networks":                       from("198.51.100.7:1", fromProxy()),
		"it has no X-Proxy-Secret":                     sent("X-Forwarded-Email", "alice@example.com"),
		"X-Proxy-Secret is not what secret_file holds": sent("X-Forwarded-Email", "alice@example.com", "X-Proxy-Secret", "another-secret-of-somebody"),
		"X-Proxy-Secret is there twice":                fromProxy("X-Proxy-Secret", proxySecret),
		"X-Forwarded-Email is there twice":             fromProxy("X-Forwarded-Email", "bob@example.com"),
		"an underscore where":                          fromProxy("X_Forwarded_Email", "bob@example.com"),
		"X-Forwarded-Groups is too long":               fromProxy("X-Forwarded-Groups", strings.Repeat("agents,", 8000)),
	} {
		_, err := v.Verify(t.Context(), e)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), proxySecret) || strings.Contains(err.Error(), "another-secret") {
			t.Errorf("got %v, want it to say %q and no secret", err, says)
		}
	}
}

func FuzzProxyHeaders(f *testing.F) {
	v := newVerifier(f, authz.Config{Issuers: []authz.Issuer{trustedProxy()}})
	f.Add("X-Forwarded-Email", "alice@example.com", "X_Proxy_Secret", "what-nobody-is-told", "192.0.2.7:1")
	f.Add("x-forwarded-email", "a\x00", "X-Forwarded-Groups", ",,a", "[::1]:0")
	f.Fuzz(func(t *testing.T, name, value, name2, value2, remote string) {
		e := authz.Evidence{Header: http.Header{name: {value}}, RemoteAddr: remote}
		e.Header[name2] = append(e.Header[name2], value2)
		who, err := v.Verify(t.Context(), e)
		if err == nil && !strings.Contains(value+value2, proxySecret) {
			t.Fatalf("%s is believed, and knows no secret", who.User)
		}
		// With the secret, whatever is believed can stand in a log and a file.
		e.Header["X-Proxy-Secret"] = []string{proxySecret}
		if who, err = v.Verify(t.Context(), from("192.0.2.7:1", e)); err == nil && strings.ContainsAny(who.User, "\r\n\x00") {
			t.Fatalf("user key %q", who.User)
		}
	})
}
