package authz

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses duplicate names
)

// token is a parsed bearer of which nothing has been verified, or what an issuer
// answered about one; then there is no jws.
type token struct {
	jws       *jose.JSONWebSignature
	algorithm string
	keyID     string
	claims    map[string]any
	size      int // bytes of what the claims were read from
	issuer    string
	subject   string
	audiences []string
	expiresAt time.Time
	notBefore time.Time // zero if the claim is absent
	issuedAt  time.Time // zero if the claim is absent
}

var allAlgorithms = func() (all []jose.SignatureAlgorithm) {
	for _, a := range DefaultAlgorithms {
		all = append(all, jose.SignatureAlgorithm(a))
	}
	return all
}()

// bearerTypes are the typ headers of a token that is meant to be a bearer,
// without an "application/" before them (RFC 7519 section 5.1, RFC 9068 section
// 2.1). Any other says that the token is something else: a logout token, a DPoP
// proof, a security event, all of which an issuer signs with the same key.
var bearerTypes = []string{"", "jwt", "at+jwt"}

// parse reads a compact JWS whose payload is a JWT claims set (RFC 7515 section
// 7.1, RFC 7519 section 7.2).
func parse(text string) (*token, error) {
	head, payload, ok := compactForm(text)
	if !ok || !headerBounds.hold(head) || !payloadBounds.hold(payload) {
		return nil, invalid(ReasonMalformed)
	}
	jws, err := jose.ParseSignedCompact(text, allAlgorithms)
	if unexpected := (*jose.ErrUnexpectedSignatureAlgorithm)(nil); errors.As(err, &unexpected) {
		return nil, invalid(ReasonAlgorithm)
	}
	if err != nil {
		return nil, invalid(ReasonMalformed)
	}
	header := jws.Signatures[0].Protected
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return nil, invalid(ReasonCritical)
	}
	if !isBearerType(header.ExtraHeaders[jose.HeaderType]) {
		return nil, invalid(ReasonType)
	}
	t := &token{jws: jws, algorithm: header.Algorithm, keyID: header.KeyID}
	if err := t.readClaims(jws.UnsafePayloadWithoutVerification()); err != nil {
		return nil, err
	}
	return t, nil
}

func isBearerType(header any) bool {
	if header == nil {
		return true
	}
	typ, ok := header.(string)
	if !ok {
		return false
	}
	return slices.Contains(bearerTypes, strings.TrimPrefix(strings.ToLower(typ), "application/"))
}

func (t *token) readClaims(payload []byte) error {
	if !t.decode(payload) || !t.readRegistered() {
		return invalid(ReasonMalformed)
	}
	if t.expiresAt.IsZero() {
		return invalid(ReasonNoExpiry)
	}
	return nil
}

func (t *token) decode(payload []byte) bool {
	t.size = len(payload)
	return json.Unmarshal(payload, &t.claims) == nil && t.claims != nil
}

// readRegistered reports whether the claims that we know have their types. Where
// the audience is depends on the issuer: readAudience comes later.
func (t *token) readRegistered() bool {
	var ok [5]bool
	t.issuer, ok[0] = optionalString(t.claims["iss"])
	t.subject, ok[1] = optionalString(t.claims["sub"])
	t.expiresAt, ok[2] = numericDate(t.claims["exp"])
	t.notBefore, ok[3] = numericDate(t.claims["nbf"])
	t.issuedAt, ok[4] = numericDate(t.claims["iat"])
	return !slices.Contains(ok[:], false)
}

func (t *token) readAudience(claim string) (ok bool) {
	t.audiences, ok = stringOrList(t.claims[claim])
	return ok
}

func optionalString(claim any) (string, bool) {
	s, ok := claim.(string)
	return s, ok || claim == nil
}

func stringOrList(claim any) ([]string, bool) {
	list, ok := claim.([]any)
	if !ok {
		s, ok := optionalString(claim)
		return []string{s}, ok
	}
	all := make([]string, len(list))
	for i, entry := range list {
		if all[i], ok = entry.(string); !ok {
			return nil, false
		}
	}
	return all, true
}

// lastSecond is the end of the year 9999, beyond which RFC 3339 cannot go.
const lastSecond = 253402300799

// numericDate reads seconds since the epoch, fractions allowed (RFC 7519
// section 2). An absent claim is the zero time.
func numericDate(claim any) (time.Time, bool) {
	if claim == nil {
		return time.Time{}, true
	}
	seconds, ok := claim.(float64)
	if !ok || seconds < 0 || seconds > lastSecond {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC(), true
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// anyOf reports whether the two lists share a non-empty entry.
func anyOf(accepted, got []string) bool {
	return slices.ContainsFunc(got, func(s string) bool { return s != "" && contains(accepted, s) })
}
