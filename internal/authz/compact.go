package authz

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
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
	ok = isCanonical(header) && isCanonical(payload) && isCanonical(signature)
	return header, payload, ok
}

func isBase64URL(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// isCanonical reports whether a part is the one text for what it encodes. The last
// character may have bits that are not used, and a decoder that does not mind
// them has many texts for one token.
func isCanonical(part string) bool {
	if part == "" || strings.Contains(part, ".") {
		return false
	}
	last := strings.IndexByte(base64URL, part[len(part)-1])
	switch len(part) % 4 {
	case 2:
		return last&0b1111 == 0
	case 3:
		return last&0b11 == 0
	}
	return len(part)%4 == 0
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// claimedIssuer returns what a JWT says is its issuer, or nothing.
func claimedIssuer(text string) string {
	_, payload, ok := compactForm(text)
	if !ok || !payloadBounds.hold(payload) {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(decoded, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// resemblesJOSE reports whether a text is a JWT, or an encrypted one, or what is
// left of one when something was added or cut off: decoded from wherever, one of
// its parts has a member that only such have. An opaque token may have dots too.
func resemblesJOSE(text string) bool {
	if !strings.Contains(text, ".") {
		return false
	}
	for part := range strings.SplitSeq(text, ".") {
		for from := range min(4, len(part)) {
			whole := part[from : len(part)-(len(part)-from)%4]
			decoded, _ := base64.RawURLEncoding.DecodeString(whole) // as far as it goes
			if slices.ContainsFunc(joseMembers, func(m []byte) bool { return bytes.Contains(decoded, m) }) {
				return true
			}
		}
	}
	return false
}

var joseMembers = [][]byte{[]byte(`"alg"`), []byte(`"enc"`), []byte(`"iss"`)}

// opaqueForm reports whether text is what a bearer may be (RFC 6750 section 2.1),
// and not an answer or an assignment in which one stands.
func opaqueForm(text string) bool {
	return b64token.MatchString(text)
}

var b64token = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// Bounds of the JSON in a bearer, which anybody can send: to decode nine thousand
// objects inside of one another takes a thousand times as long as a usual
// bearer, and megabytes. A header has room for a chain of certificates, and a
// payload for some thousand groups.
var (
	headerBounds  = jsonBounds{bytes: 8 << 10, depth: 4, values: 128, members: 64}
	payloadBounds = jsonBounds{bytes: MaxBearerBytes, depth: 16, values: 4096, members: 512}
)

type jsonBounds struct {
	bytes   int // of its base64url form
	depth   int // of objects and lists inside of one another
	values  int // in all of them together
	members int // of all objects together, which are the dearest
}

// hold reports whether a base64url part is within the bounds. It counts, and
// leaves to the decoder whether what it counts is JSON.
func (b jsonBounds) hold(part string) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || len(part) > b.bytes {
		return false
	}
	depth, values, members, inString := 0, 0, 0, false
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
		case c == ':':
			members++
		}
		if depth > b.depth || values > b.values || members > b.members {
			return false
		}
	}
	return true
}
