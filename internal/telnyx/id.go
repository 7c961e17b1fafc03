package telnyx

import (
	"errors"
	"strings"
)

// A CredentialID names a telephony credential at Telnyx. It is a lower-case
// UUID and can be compared; the zero value names none.
type CredentialID struct{ text string }

var errNotUUID = errors.New("a credential id must be a UUID: 8-4-4-4-12 hexadecimal digits")

// ParseCredentialID reads a UUID in its usual form, in either case. The error
// does not repeat the text: it may be anything, a secret put into the wrong
// field included.
func ParseCredentialID(text string) (CredentialID, error) {
	if len(text) != 36 {
		return CredentialID{}, errNotUUID
	}
	for i := range len(text) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (text[i] == '-') || !dash && !isHex(text[i]) {
			return CredentialID{}, errNotUUID
		}
	}
	return CredentialID{strings.ToLower(text)}, nil
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

// String returns the id in lower case, or nothing for the zero value.
func (id CredentialID) String() string { return id.text }

// IsZero reports whether id names no credential.
func (id CredentialID) IsZero() bool { return id.text == "" }
