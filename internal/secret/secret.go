// Package secret holds text that must not travel sideways: an API key, a
// bearer, a login token. A Text prints, logs and marshals as [redacted]
// whatever verb or encoder is used; only Reveal gives its value, so every
// place that handles one in the clear can be found by searching for that
// word.
package secret

import "fmt"

const redacted = "[redacted]"

// Text is a secret string. The zero value is the empty secret.
type Text struct {
	// A pointer, because fmt does not call methods on unexported fields: a
	// Text inside somebody's unexported field prints as an address, where a
	// plain string would print as itself.
	value *string
}

// New wraps s.
func New(s string) Text { return Text{value: &s} }

// Reveal returns the secret in the clear, to be put on the wire and nowhere
// else.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// Len returns how many bytes the secret has.
func (t Text) Len() int { return len(t.Reveal()) }

// Empty reports whether there is nothing to keep secret.
func (t Text) Empty() bool { return t.Len() == 0 }

// Format implements fmt.Formatter for every verb.
func (t Text) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText implements encoding.TextMarshaler, and so JSON and YAML.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }
