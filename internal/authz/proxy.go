package authz

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Bounds of what a proxy may say.
const (
	DefaultProxySecretHeader = "X-Proxy-Secret"
	MinProxySecret           = 16 // bytes

	maxProxyValue = 48 << 10 // bytes of one header: more than a thousand groups
)

// DefaultProxyHeaders are the headers that oauth2-proxy sets, by claim.
var DefaultProxyHeaders = map[string]string{
	"sub":                "X-Forwarded-User",
	"email":              "X-Forwarded-Email",
	"preferred_username": "X-Forwarded-Preferred-Username",
	"groups":             "X-Forwarded-Groups",
}

// A Proxy is a proxy in front of us that has people log in and says who they are
// in headers that are not signed. It is believed by where the request comes from
// and by what only the proxy has: either alone is too easily somebody else's,
// such as any other machine in the same network.
type Proxy struct {
	// Networks are where the proxy connects from. At least one.
	Networks []netip.Prefix
	// Secret is what the proxy sends in SecretHeader, at least MinProxySecret
	// bytes. It is asked for at every request. nil if ClientNames are set.
	Secret func() secret.Text
	// SecretHeader is the header with the secret. Default
	// DefaultProxySecretHeader.
	SecretHeader string
	// ClientNames are the DNS names of which the proxy's verified client
	// certificate must have one. Empty if Secret is set.
	ClientNames []string
	// Headers maps a claim to the header that holds it. Default
	// DefaultProxyHeaders.
	Headers map[string]string
	// Lists are the claims whose header is a list, its values separated by
	// commas. Default groups.
	Lists []string
}

// problems reports what is wrong, by field, with the proxy of an issuer.
func (p Proxy) problems(i Issuer, report reporter) {
	if len(p.Networks) == 0 {
		report("proxy.networks", "is required: where the proxy connects from")
	}
	if (p.Secret == nil) == (len(p.ClientNames) == 0) {
		report("proxy.secret_file", "or proxy.client_names is required, exactly one of them: a network alone proves nothing")
	}
	if p.SecretHeader != "" && !isHeaderName(p.SecretHeader) {
		report("proxy.secret_header", "must be the name of a header")
	}
	lists := p.Lists
	p = p.withDefaults()
	p.reachProblems(i, lists, report)
	seen := map[string]bool{textproto.CanonicalMIMEHeaderKey(p.SecretHeader): true}
	for _, claim := range slices.Sorted(maps.Keys(p.Headers)) {
		name := textproto.CanonicalMIMEHeaderKey(p.Headers[claim])
		if claim == "" || !isHeaderName(name) || seen[name] {
			report("proxy.headers", "must map claims to headers, each of its own and none with another meaning")
			break
		}
		seen[name] = true
	}
}

// reachProblems reports what asks for a claim that no header becomes: it would
// refuse everybody.
func (p Proxy) reachProblems(i Issuer, lists []string, report reporter) {
	has := func(claim string) bool { return p.Headers[claim] != "" }
	if user := i.withDefaults().UserClaim; !has(user) {
		report("proxy.headers", "has no header for the claim that says who somebody is, which is user_claim")
	}
	for _, r := range i.Require {
		if r.Claim != "" && !has(r.Claim) {
			report("require", "asks for a claim for which proxy.headers has no header")
			break
		}
	}
	for _, claim := range lists {
		if !has(claim) {
			report("proxy.lists", "names a claim for which proxy.headers has no header")
			break
		}
	}
}

// Uses reports whether the source is one of the headers in which the proxy speaks.
// No issuer's tokens can be there.
func (p Proxy) Uses(s Source) bool {
	if s.kind != inHeader {
		return false
	}
	p = p.withDefaults()
	if p.Secret != nil && textproto.CanonicalMIMEHeaderKey(p.SecretHeader) == s.name {
		return true
	}
	for _, header := range p.Headers {
		if textproto.CanonicalMIMEHeaderKey(header) == s.name {
			return true
		}
	}
	return false
}

func (p Proxy) withDefaults() Proxy {
	if p.SecretHeader == "" {
		p.SecretHeader = DefaultProxySecretHeader
	}
	if len(p.Headers) == 0 {
		p.Headers = DefaultProxyHeaders
	}
	if p.Lists == nil {
		p.Lists = []string{"groups"}
	}
	return p
}

// proxy is the trusted proxy at work.
type proxy struct {
	issuer       Issuer
	trust        Proxy
	onlyListener bool              // it is believed on its own listener only
	secretHeader string            // canonical
	claims       map[string]string // canonical header to claim
}

var errProxySecret = errors.New("must be 16 bytes or more")

// newProxy takes an issuer without Problems.
func newProxy(i Issuer, onlyListener bool) (*proxy, error) {
	trust := i.Proxy.withDefaults()
	p := &proxy{
		issuer: i, trust: trust, onlyListener: onlyListener,
		secretHeader: textproto.CanonicalMIMEHeaderKey(trust.SecretHeader),
		claims:       make(map[string]string),
	}
	if trust.Secret != nil && len(trust.Secret().Reveal()) < MinProxySecret {
		return nil, errProxySecret
	}
	for claim, header := range trust.Headers {
		p.claims[textproto.CanonicalMIMEHeaderKey(header)] = claim
	}
	return p, nil
}

// spoke reports whether a request has headers that only the proxy may send. The
// error is about names that differ from those by an underscore: another program
// between the proxy and us may have taken the one for the other.
func (p *proxy) spoke(e *Evidence) (bool, error) {
	spoke := false
	for name := range e.Header {
		if p.isOurs(name) {
			spoke = true
			continue
		}
		if strings.Contains(name, "_") && p.isOurs(textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			return false, notFromProxy("a header's name has an underscore where one of the proxy's has a dash")
		}
	}
	return spoke, nil
}

// notFromProxy tells the operator which of many things it was: to the caller, who
// may be a stranger, they are one.
func notFromProxy(why string) error { return fmt.Errorf("%w: %s", invalid(ReasonProxy), why) }

func (p *proxy) isOurs(name string) bool {
	_, ok := p.claims[name]
	return ok || name == p.secretHeader && p.trust.Secret != nil
}

// principal is who the proxy says it is.
func (p *proxy) principal(e *Evidence) (*Principal, error) {
	if err := p.recognize(e); err != nil {
		return nil, err
	}
	claims := make(map[string]any, len(p.claims))
	for header, claim := range p.claims {
		values := e.Header[header]
		switch {
		case len(values) == 0 || len(values) == 1 && values[0] == "":
			continue // a proxy may leave a claim empty that a person lacks
		case len(values) > 1:
			return nil, notFromProxy(header + " is there twice")
		case len(values[0]) > maxProxyValue:
			return nil, notFromProxy(header + " is too long")
		case slices.Contains(p.trust.Lists, claim):
			claims[claim] = listOf(values[0])
		default:
			claims[claim] = values[0]
		}
	}
	value, ok := claims[p.issuer.UserClaim].(string)
	if !ok || !usableUserValue(value) {
		return nil, invalid(ReasonUserClaim)
	}
	subject, _ := claims["sub"].(string)
	return &Principal{
		Issuer:    p.issuer.Name,
		Subject:   subject,
		User:      p.issuer.Name + ":" + value,
		UserClaim: p.issuer.UserClaim,
		Claims:    claims,
	}, nil
}

func listOf(value string) []any {
	var all []any
	for entry := range strings.SplitSeq(value, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			all = append(all, entry)
		}
	}
	return all
}

// recognize returns nil if a request comes from the proxy itself.
func (p *proxy) recognize(e *Evidence) error {
	switch {
	case p.onlyListener && !e.ProxyListener:
		return notFromProxy("it came to another listener than proxy_listen")
	case !p.isFromNetwork(e.RemoteAddr):
		return notFromProxy("it came from outside proxy.networks")
	case p.trust.Secret == nil:
		return p.recognizeCertificate(e.Certificate)
	}
	switch sent := e.Header[p.secretHeader]; {
	case len(sent) == 0:
		return notFromProxy("it has no " + p.secretHeader)
	case len(sent) > 1:
		return notFromProxy(p.secretHeader + " is there twice")
	case !sameSecret(sent[0], p.trust.Secret().Reveal()):
		return notFromProxy(p.secretHeader + " is not what secret_file holds")
	}
	return nil
}

func (p *proxy) recognizeCertificate(cert *x509.Certificate) error {
	if cert == nil {
		return notFromProxy("it has no client certificate")
	}
	known := func(name string) bool { return slices.Contains(p.trust.ClientNames, name) }
	if !slices.ContainsFunc(cert.DNSNames, known) {
		return notFromProxy("its client certificate has none of proxy.client_names")
	}
	return nil
}

func (p *proxy) isFromNetwork(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	from := at.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.trust.Networks, func(n netip.Prefix) bool { return n.Contains(from) })
}

// sameSecret compares in a time that depends on neither text, nor on their
// lengths. An empty secret, which is none, is the same as nothing.
func sameSecret(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
