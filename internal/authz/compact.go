package authz

import (
	"encoding/base64"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// compactForm returns the header and the payload of what is three base64url
// parts, none empty (RFC 7515 section 7.1). The JWS library skips line breaks
// inside a part; we do not.
func compactForm(text string) (header, payload string, ok bool) {
	if strings.ContainsFunc(text, func(r rune) bool { return r != '.' && !isBase64URL(r) }) {
		return "", "", false
	}
	header, rest, _ := strings.Cut(text, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	ok = header != "" && payload != "" && signature != "" && !strings.Contains(signature, ".")
	return header, payload, ok
}

func isBase64URL(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// claimedIssuer returns what a JWT says is its issuer, and whether the text is a
// JWT in form: three parts, of which the first is a header. An opaque token may
// have dots in it too.
func claimedIssuer(text string) (issuer string, isJWT bool) {
	head, payload, ok := compactForm(text)
	if !ok || !headerBounds.hold(head) {
		return "", false
	}
	var header, claims map[string]any
	if !decodePart(head, &header) || header == nil {
		return "", false
	}
	if payloadBounds.hold(payload) && decodePart(payload, &claims) {
		issuer, _ = claims["iss"].(string)
	}
	return issuer, true
}

func decodePart(part string, into *map[string]any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

// opaqueForm reports whether text can be an access token of whatever kind (RFC
// 6749 appendix A.12), without the spaces that no header leaves in it.
func opaqueForm(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Bounds of the JSON in a bearer, which anybody can send: to decode nine thousand
// objects inside of one another takes a thousand times as long as a usual
// bearer, and megabytes. A header has room for a chain of certificates, and a
// payload for some thousand groups.
var (
	headerBounds  = jsonBounds{bytes: 8 << 10, depth: 4, values: 128}
	payloadBounds = jsonBounds{bytes: MaxBearerBytes, depth: 16, values: 4096}
)

type jsonBounds struct {
	bytes  int // of its base64url form
	depth  int // of objects and lists inside of one another
	values int // in all of them together
}

// hold reports whether a base64url part is within the bounds. It counts, and
// leaves to the decoder whether what it counts is JSON.
func (b jsonBounds) hold(part string) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || len(part) > b.bytes {
		return false
	}
	depth, values, inString := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++ // whatever is escaped ends no string
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth, values = depth+1, values+1
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if depth > b.depth || values > b.values {
			return false
		}
	}
	return true
}
