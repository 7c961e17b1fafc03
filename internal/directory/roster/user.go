package roster

import (
	"errors"
	"slices"
	"strings"

	"github.com/tokensvc/tokensvc/internal/directory"
)

// ErrNoIssuer says that a user is written with a colon, and what stands before it
// is not the name of an issuer.
var ErrNoIssuer = errors.New("what stands before the colon is no issuer of this configuration; write ISSUER:VALUE")

// UserKey is directory.ParseUserKey for somebody who is put into the directory.
// Here a colon always ends an issuer's name: a key of an issuer that was renamed, or
// is misspelt, would otherwise be the whole value of the only issuer, and whoever
// can have that value there would be given somebody else's credential.
func UserKey(text string, issuers []string) (string, error) {
	issuer, value, prefixed := strings.Cut(text, ":")
	switch {
	case prefixed && !slices.Contains(issuers, issuer):
		return "", ErrNoIssuer
	case prefixed && value == "":
		return "", ErrNoValue
	}
	return directory.ParseUserKey(text, issuers)
}

// ErrNoValue says that a user is written as an issuer's name and a colon alone.
var ErrNoValue = errors.New("behind the issuer's name and the colon there is no value; write ISSUER:VALUE")
