package store

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tokensvc/tokensvc/internal/directory"
)

// ErrInvalid says that what a caller gives can be in no books: too long, empty,
// not printable, or a page or a batch of an impossible size. Callers check what
// people type; this is the second line, and PostgreSQL would choke on a NUL.
var ErrInvalid = errors.New("not a value for the directory")

// An invalidError is an ErrInvalid that says what is wrong.
type invalidError struct{ problem string }

func invalid(format string, args ...any) error { return &invalidError{fmt.Sprintf(format, args...)} }

func (e *invalidError) Error() string { return ErrInvalid.Error() + ": " + e.problem }
func (e *invalidError) Unwrap() error { return ErrInvalid }

// maxIssuerBytes is the longest name that an issuer can have.
const maxIssuerBytes = 32

// Bounds of texts.
const (
	// MaxKeyBytes bounds a user's key: an issuer's name, a colon and a value.
	MaxKeyBytes = maxIssuerBytes + len(":") + directory.MaxUserValue
	// MaxNameBytes bounds a user's name.
	MaxNameBytes = 256
	// MaxSIPUsernameBytes bounds what Telnyx may call a credential.
	MaxSIPUsernameBytes = 256
)

// printable reports whether the text is up to most bytes of printable characters,
// or empty.
func printable(text string, most int) bool {
	return len(text) <= most && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// joiners part and join letters within a word, as names in Persian and in Indic
// scripts need, and parts of an emoji. They have no look of their own, so in a key
// they could make two people look like one.
var joiners = strings.NewReplacer("\u200C", "", "\u200D", "")

// IsName reports whether a user may be called so: up to MaxNameBytes of printable
// characters and joiners. It may be empty.
func IsName(text string) bool {
	return len(text) <= MaxNameBytes && utf8.ValidString(text) && printable(joiners.Replace(text), MaxNameBytes)
}

// IsSIPUsername reports whether a credential may be called so: up to
// MaxSIPUsernameBytes of printable characters without spaces. It may be empty.
func IsSIPUsername(text string) bool {
	return printable(text, MaxSIPUsernameBytes) && !strings.Contains(text, " ")
}

func checkKey(key string) error {
	if key == "" || !printable(key, MaxKeyBytes) {
		return invalid("a user's key is 1 to %d bytes of printable characters", MaxKeyBytes)
	}
	return nil
}

func checkName(name string) error {
	if !IsName(name) {
		return invalid("a name is at most %d bytes of printable characters", MaxNameBytes)
	}
	return nil
}

func checkDevice(device directory.Device) error {
	if _, err := directory.ParseDevice(string(device)); err != nil {
		return invalid("%v", err)
	}
	return nil
}
