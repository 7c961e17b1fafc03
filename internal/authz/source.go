package authz

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// A Source is the place in a request where an issuer's credential is. The zero
// Source is the Authorization header.
type Source struct {
	kind sourceKind
	name string // of the header, in canonical form, or of the cookie
}

type sourceKind int

const (
	inAuthorization sourceKind = iota
	inHeader
	inCookie
)

// taken are headers that mean something else, to us or to HTTP.
var taken = []string{"Authorization", "Cookie", "Dpop", "Host", "Origin", "X-Forwarded-For", "X-Request-Id"}

var errSource = errors.New("must be bearer, header:NAME or cookie:NAME, with a header that has no other meaning")

// ParseSource reads "bearer", the Authorization header; "header:NAME", a header
// whose whole value is the token; or "cookie:NAME".
func ParseSource(s string) (Source, error) {
	kind, name, _ := strings.Cut(s, ":")
	switch {
	case s == "bearer":
		return Source{}, nil
	case kind == "header" && isHeaderName(name):
		return Source{inHeader, textproto.CanonicalMIMEHeaderKey(name)}, nil
	case kind == "cookie" && cookieName.MatchString(name):
		return Source{inCookie, name}, nil
	}
	return Source{}, errSource
}

// IsCookie reports whether the source is a cookie, which needs an origin.
func (s Source) IsCookie() bool { return s.kind == inCookie }

func (s Source) String() string {
	switch s.kind {
	case inHeader:
		return "header:" + s.name
	case inCookie:
		return "cookie:" + s.name
	}
	return "bearer"
}

// What a header or a cookie may be called: a part of what RFC 9110 section 5.6.2
// allows. No underscore stands in a header's name, because proxies disagree on
// whether X_Name is X-Name.
var (
	headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	cookieName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// isHeaderName reports whether a token or a claim may stand in that header.
func isHeaderName(name string) bool {
	return headerName.MatchString(name) && !slices.Contains(taken, textproto.CanonicalMIMEHeaderKey(name))
}

// places are where the credentials of all issuers can be. What is not listed is
// not looked at.
type places struct {
	authorization bool
	dpop          bool // the scheme DPoP is known
	headers       []Source
	cookies       []Source
	origins       []string // that a cookie may come with
	proxy         *proxy   // or nil
}

// sent is the one credential of a request: a token and where it was, or the word
// of the trusted proxy.
type sent struct {
	source Source
	place  int // a number for the source: 0 for Authorization, then headers up and cookies down
	text   string
	dpop   bool // it claims to be bound to a key (RFC 9449 section 7.1)
	proxy  *proxy
}

// Format implements fmt.Formatter for every verb: the text is a secret.
func (sent) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// add makes an issuer's place one that is looked at.
func (p *places) add(i Issuer) {
	switch s := i.Source; {
	case s.kind == inAuthorization:
		p.authorization = true
		p.dpop = p.dpop || i.UsesDPoP()
	case s.kind == inHeader && !slices.Contains(p.headers, s):
		p.headers = append(p.headers, s)
	case s.kind == inCookie && !slices.Contains(p.cookies, s):
		p.cookies = append(p.cookies, s)
	}
}

// overlap reports whether a header of the proxy's is a token's place too.
func (p *places) overlap() bool {
	return p.proxy != nil && slices.ContainsFunc(p.headers, func(s Source) bool { return p.proxy.isOurs(s.name) })
}

// find returns the one credential that a request has.
func (p *places) find(e *Evidence) (sent, error) {
	found, count := sent{}, 0
	if !e.ProxyListener {
		found, count = p.token(e)
	}
	if p.proxy != nil {
		spoke, err := p.proxy.spoke(e)
		if err != nil {
			return sent{}, err
		}
		if spoke {
			found, count = sent{proxy: p.proxy}, count+1
		}
	}
	switch {
	case count > 1:
		return sent{}, ErrAmbiguous
	case found.text == "" && found.proxy == nil:
		return sent{}, ErrUnauthenticated
	case found.source.IsCookie() && !p.fromAllowedOrigin(e):
		return sent{}, invalid(ReasonOrigin)
	}
	return found, nil
}

// token returns the last token of a request, and how many there are of what
// might be one.
func (p *places) token(e *Evidence) (found sent, count int) {
	if p.authorization {
		values := e.Header["Authorization"]
		count += len(values)
		if len(values) > 0 {
			found = p.inAuthorization(values[0])
		}
	}
	for i, source := range p.headers {
		values := e.Header[source.name]
		count += len(values)
		if len(values) > 0 {
			found = sent{source: source, place: 1 + i, text: values[0]}
		}
	}
	for i, source := range p.cookies {
		count += countCookies(e.Header["Cookie"], source.name)
		// The standard library reads cookies only for whole requests.
		cookies := (&http.Request{Header: e.Header}).CookiesNamed(source.name)
		if len(cookies) > 0 {
			found = sent{source: source, place: -1 - i, text: cookies[0].Value}
		}
	}
	return found, count
}

// countCookies counts those that the standard library leaves out too, because of
// a character or because there are too many: others may not.
func countCookies(lines []string, name string) (count int) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if called, _, _ := strings.Cut(pair, "="); strings.TrimSpace(called) == name {
				count++
			}
		}
	}
	return count
}

// inAuthorization reads an Authorization header of the scheme Bearer or DPoP,
// which is compared without regard to case (RFC 9110 section 11.1) and as a
// whole, then spaces, then the token (RFC 6750 section 2.1, RFC 9449 section
// 7.1).
func (p *places) inAuthorization(value string) sent {
	scheme, token, _ := strings.Cut(value, " ")
	token = strings.Trim(token, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return sent{text: token}
	case p.dpop && strings.EqualFold(scheme, "DPoP"):
		return sent{text: token, dpop: true}
	}
	return sent{}
}

// fromAllowedOrigin reports whether the page that made the request may make it.
// A browser adds a cookie to what any page sends, so a cookie alone does not say
// that its owner wants anything; browsers do not let a page choose Origin.
func (p *places) fromAllowedOrigin(e *Evidence) bool {
	origins := e.Header["Origin"]
	return len(origins) == 1 && slices.Contains(p.origins, origins[0])
}
