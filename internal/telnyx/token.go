package telnyx

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// MaxTokenBytes bounds the answer of the token call. Telnyx's tokens have
// about 590 bytes.
const MaxTokenBytes = 16 << 10

// A LoginToken is the JWT that a softphone registers with. It is signed with
// a key that Telnyx keeps (HS512), so nobody but Telnyx can verify it: here it
// is only read.
type LoginToken struct {
	JWT       secret.Text
	ExpiresAt time.Time // the exp claim, UTC, whole seconds; it may be past
	// SHA256 is of the JWT, by which it may be told of without being told. It is
	// computed once, as a token is handed out many times.
	SHA256 [sha256.Size]byte
}

// What exp may say, in seconds: 2015 to 2100. Outside of it somebody counts
// in milliseconds, or sends no time at all.
const (
	minExpiry = 1420070400
	maxExpiry = 4102444800
)

var (
	errTokenSize    = errors.New("not a login token: empty or longer than 16 KiB")
	errTokenParts   = errors.New("not a login token: it is not three base64url parts")
	errTokenHeader  = errors.New("not a login token: the header is not a JSON object with an alg")
	errTokenPayload = errors.New("not a login token: the payload is not a JSON object")
	errTokenExpiry  = errors.New("not a login token: exp is missing or not a time between 2015 and 2100")
)

// ParseLoginToken reads a login token, white space around it aside: a JWT in
// compact form whose expiry is stated. Telnyx has answered with other
// lifetimes than the documented 24 hours, so exp is read and never assumed.
// The error repeats nothing of the text.
func ParseLoginToken(text string) (LoginToken, error) {
	text = strings.Trim(text, " \t\r\n")
	if text == "" || len(text) > MaxTokenBytes {
		return LoginToken{}, errTokenSize
	}
	header, payload, err := splitToken(text)
	if err != nil {
		return LoginToken{}, err
	}
	if !namesAlgorithm(header) {
		return LoginToken{}, errTokenHeader
	}
	expires, err := expiry(payload)
	if err != nil {
		return LoginToken{}, err
	}
	return LoginToken{JWT: secret.New(text), ExpiresAt: expires, SHA256: sha256.Sum256([]byte(text))}, nil
}

// splitToken decodes the first two parts and checks the third.
func splitToken(text string) (header, payload []byte, err error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, nil, errTokenParts
	}
	var decoded [3][]byte
	for i, part := range parts {
		// The decoder would skip line breaks inside of a part.
		if part == "" || strings.ContainsAny(part, "\r\n") {
			return nil, nil, errTokenParts
		}
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return nil, nil, errTokenParts
		}
	}
	return decoded[0], decoded[1], nil
}

// The members are read by a decoder that takes names exactly: the usual one would
// take "ALG" for "alg".

func namesAlgorithm(header []byte) bool {
	var members struct {
		Alg string `json:"alg"`
	}
	return json.Unmarshal(header, &members) == nil && members.Alg != ""
}

func expiry(payload []byte) (time.Time, error) {
	var claims struct {
		Exp json.RawMessage `json:"exp"`
	}
	if len(payload) == 0 || payload[0] == 'n' || json.Unmarshal(payload, &claims) != nil { // null is no object
		return time.Time{}, errTokenPayload
	}
	var seconds float64 // RFC 7519 allows fractions
	if json.Unmarshal(claims.Exp, &seconds) != nil || seconds < minExpiry || seconds > maxExpiry {
		return time.Time{}, errTokenExpiry
	}
	return time.Unix(int64(seconds), 0).UTC(), nil
}
