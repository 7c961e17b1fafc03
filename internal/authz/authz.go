// Package authz answers two questions about a request to vend a token: who is
// asking, and may they have one.
//
// It trusts the issuers it was configured with, for what their published keys
// verify or what they answer when asked, and nothing else: no URL, key or
// algorithm is ever taken from a token. It knows nothing of HTTP servers or of
// Telnyx.
package authz

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what an issuer's configuration may say.
const (
	DefaultAudienceClaim = "aud"
	DefaultUserClaim     = "sub"
	KeysFromDiscovery    = "discovery"
	DefaultClockSkew     = 30 * time.Second
	MaxClockSkew         = 5 * time.Minute
	MaxUserValue         = 256 // bytes of the user claim's value
)

// DefaultAlgorithms is every algorithm that can be allowed: asymmetric ones
// only (RFC 7518 section 3.1, RFC 8037 section 3.1), because with HMAC a
// published key would be a signing key.
var DefaultAlgorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA",
}

// An Issuer vouches for people: an OpenID Connect provider whose tokens are
// accepted, or a trusted proxy.
type Issuer struct {
	// Name is our own short name for the issuer, the first part of its users'
	// keys: lower case letters, digits and dashes, at most 32. Changing it
	// makes everybody somebody else.
	Name string
	// Source is where in a request the issuer's token is: in one place only.
	// Default the Authorization header.
	Source Source
	// Proxy makes the issuer a trusted proxy, which sends no token but headers
	// of its own. URL, Source, Audiences and what else is about tokens are then
	// not to be set. Default nil.
	Proxy *Proxy
	// DPoP says whether bearers may or must be bound to a key of the caller's (RFC
	// 9449). Only for the Authorization header. Default DPoPOff.
	DPoP DPoP
	// URL is the issuer identifier, compared with the iss claim byte by byte.
	// https, or http on a loopback address. Discovery reads
	// URL/.well-known/openid-configuration.
	URL string
	// Audiences are the accepted values of the audience claim. At least one:
	// without it, a token meant for any other service of the issuer would do.
	Audiences []string
	// AudienceClaim names the claim that holds the audience, a string or a list
	// of them. Default "aud". Some issuers' access tokens have none and say in
	// another claim whom they are for: those of Amazon Cognito in "client_id".
	AudienceClaim string
	// Keys says where the issuer's keys are: "discovery", which is the default,
	// the URL of a JWK set for an issuer that has no discovery, or "file:PATH"
	// for one that cannot be reached. https, or http on a loopback address. A
	// file is read by New and ReloadKeys and never otherwise, however many keys
	// are asked for that it does not have.
	Keys string
	// Introspection has the issuer asked about each bearer, which then need not
	// be a JWT. There are no keys and algorithms then. Default: it is not asked.
	Introspection *Introspection
	// UserClaim names the claim whose value identifies the user. Default "sub".
	// "email" counts only when email_verified is true.
	UserClaim string
	// Algorithms are the accepted signature algorithms, a subset of
	// DefaultAlgorithms, which is also the default.
	Algorithms []string
	// ClockSkew is how far the issuer's clock may differ from ours. Default
	// 30 s, at most 5 min. A negative value means none.
	ClockSkew time.Duration
	// Require lists what the claims must say besides. All of it must hold.
	Require []Requirement
	// Mode says whether Require is enforced, which is the default, or only
	// observed.
	Mode Mode
}

// A Problem is one thing wrong with an Issuer. Field is the configuration key
// it is about; Text names no secret.
type Problem struct {
	Field string
	Text  string
}

var issuerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Problems returns everything that is wrong with the issuer's configuration,
// so that it can be reported at once, or nothing.
func (i Issuer) Problems() []Problem {
	var all []Problem
	report := func(field, format string, args ...any) {
		all = append(all, Problem{field, fmt.Sprintf(format, args...)})
	}
	if !issuerName.MatchString(i.Name) {
		report("name", "must be 1 to 32 lower case letters, digits and inner dashes")
	}
	if i.Proxy != nil {
		i.Proxy.problems(i, report)
		i.noTokens(report)
	} else {
		i.tokenProblems(report)
	}
	if i.ClockSkew > MaxClockSkew {
		report("clock_skew", "must be at most %v", MaxClockSkew)
	}
	for _, r := range i.Require {
		if err := r.Check(); err != nil {
			report("require", "%v", err)
		}
	}
	if i.Mode != "" && i.Mode != ModeEnforce && i.Mode != ModeObserve {
		report("mode", "must be %s or %s", ModeEnforce, ModeObserve)
	}
	return all
}

type reporter func(field, format string, args ...any)

// tokenProblems is about an issuer of tokens.
func (i Issuer) tokenProblems(report reporter) {
	if err := CheckURL(i.URL); err != nil {
		report("issuer", "%v", err)
	}
	if len(i.Audiences) == 0 || slices.Contains(i.Audiences, "") {
		report("audience", "is required: the value of aud in tokens meant for this service")
	}
	if err := i.checkKeys(); err != nil {
		report("keys", "must be discovery, file:PATH or the URL of a JWK set, which %v", err)
	}
	for _, alg := range i.Algorithms {
		if !slices.Contains(DefaultAlgorithms, alg) {
			report("algorithms", "must be among %s", strings.Join(DefaultAlgorithms, ", "))
			break
		}
	}
	switch {
	case !slices.Contains([]DPoP{"", DPoPOff, DPoPOptional, DPoPRequired}, i.DPoP):
		report("dpop", "must be off, optional or required")
	case i.UsesDPoP() && i.Source != Source{}:
		report("dpop", "goes with the source bearer only")
	}
	if i.Introspection != nil {
		i.Introspection.problems(report)
		i.problemsBesideIntrospection(report)
	}
}

// noTokens reports what a proxy's entry says of tokens, of which there are none:
// whoever wrote it expects them to be looked at.
func (i Issuer) noTokens(report reporter) {
	for _, f := range []struct {
		field string
		isSet bool
	}{
		{"issuer", i.URL != ""},
		{"audience", len(i.Audiences) > 0},
		{"source", i.Source != Source{}},
		{"audience_claim", i.AudienceClaim != ""},
		{"keys", i.Keys != ""},
		{"introspection", i.Introspection != nil},
		{"algorithms", len(i.Algorithms) > 0},
		{"dpop", i.UsesDPoP()},
	} {
		if f.isSet {
			report(f.field, "does not go with proxy, which sends no token")
		}
	}
}

// problemsBesideIntrospection reports what somebody may count on that is not
// looked at when the issuer is asked.
func (i Issuer) problemsBesideIntrospection(report reporter) {
	if i.Keys != "" && i.Keys != KeysFromDiscovery {
		report("keys", "has no meaning with introspection: leave it out")
	}
	if len(i.Algorithms) > 0 {
		report("algorithms", "has no meaning with introspection: leave it out")
	}
}

// checkKeys says why Keys is none of what it may be.
func (i Issuer) checkKeys() error {
	if i.Keys == "" || i.Keys == KeysFromDiscovery || i.KeyFile() != "" {
		return nil
	}
	return CheckURL(i.Keys)
}

// KeyFile returns the path of the file that holds the issuer's keys, or nothing
// if they are fetched.
func (i Issuer) KeyFile() string {
	path, isFile := strings.CutPrefix(i.Keys, "file:")
	if !isFile {
		return ""
	}
	return path
}

func (i Issuer) withDefaults() Issuer {
	if i.Keys == "" {
		i.Keys = KeysFromDiscovery
	}
	if i.AudienceClaim == "" {
		i.AudienceClaim = DefaultAudienceClaim
	}
	if i.UserClaim == "" {
		i.UserClaim = DefaultUserClaim
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = DefaultAlgorithms
	}
	if i.ClockSkew == 0 {
		i.ClockSkew = DefaultClockSkew
	}
	i.ClockSkew = max(i.ClockSkew, 0)
	i.Introspection = i.Introspection.withDefaults()
	return i
}

// CheckURL refuses an address that keys or discovery must not be read from:
// anything but https, except http on a loopback address, and anything with
// user information, query or fragment. The error does not repeat the address.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return errors.New("is required")
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("must be an absolute URL")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return errors.New("must have no user information, query or fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("must be https: plain http is accepted on loopback addresses only")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be https")
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// A Principal is a verified caller. It is shared between requests: nobody
// changes it.
type Principal struct {
	Issuer    string         // the issuer's configured name
	Subject   string         // the sub claim, empty if there is none
	User      string         // the user key: "<issuer name>:<value of the user claim>"
	UserClaim string         // the name of that claim
	Claims    map[string]any // as decoded from JSON; numbers are float64
	ExpiresAt time.Time      // of the bearer; zero if its issuer does not say, or is a proxy
}

// usableUserValue reports whether a claim's value can stand in a user key:
// short, printable, nothing that could break a line of a log or a file.
func usableUserValue(s string) bool {
	if s == "" || len(s) > MaxUserValue || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
