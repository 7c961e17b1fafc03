package directory

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxUserValue bounds in bytes what stands behind the issuer's name and the colon
// in a user key. It is what a verified user can have at most: an entry beyond it
// could never be anybody's.
const MaxUserValue = 256

var errUserValue = fmt.Errorf("a user is 1 to %d bytes of printable characters, without space around them", MaxUserValue)

// ParseUserKey returns the user key in full, as "<issuer name>:<value>", of what
// somebody has written. issuers are the names of those that are configured: with
// only one, its name may be left out, and a part before a colon that is not its
// name belongs to the value. The error does not repeat the text.
func ParseUserKey(text string, issuers []string) (string, error) {
	issuer, value, prefixed := strings.Cut(text, ":")
	switch {
	case prefixed && value != "" && slices.Contains(issuers, issuer):
	case len(issuers) == 1:
		issuer, value = issuers[0], text
	default:
		return "", fmt.Errorf("with several issuers a user key begins with one of their names and a colon: %s", strings.Join(issuers, ", "))
	}
	if !usableUserValue(value) {
		return "", errUserValue
	}
	return issuer + ":" + value, nil
}

func usableUserValue(s string) bool {
	return s != "" && len(s) <= MaxUserValue && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
