package audit

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// What is what a record is about.
type What string

// What there are records of.
const (
	Token   What = "token"   // somebody asked for a token
	Admin   What = "admin"   // somebody asked for a change of the directory
	Started What = "started" // a run began
	Stopped What = "stopped" // a run ended
	Lost    What = "lost"    // records were lost
)

// A Record is what is written of a decision. Of what is empty there is nothing in the
// line.
type Record struct {
	What       What
	At         time.Time // is set by the Trail
	Outcome    string
	Reason     string // the class of what is wrong with a bearer
	User       string
	Issuer     string
	Device     string
	Credential string
	// TokenSHA256 is of the JWT, if one was handed over; else zero.
	TokenSHA256 [32]byte
	RequestID   string
	Client      netip.Addr
	// Rule is the one that decided, or would have if it were enforced.
	Rule   string
	Source string // where the token came from

	Actor  string // who asked for a change
	Target string // of whom
	Action string // which

	Version string // of a run
	Count   uint64 // of the lost
}

// maxText bounds each text, in bytes: some are a caller's.
const maxText = 1024

// appendTo appends the line but for its beginning, which has the number.
func (r *Record) appendTo(b []byte) []byte {
	b = append(b, `,"time":"`...)
	b = appendTime(b, r.At.UTC())
	b = append(b, '"')
	b = appendText(b, "what", string(r.What))
	b = appendText(b, "outcome", r.Outcome)
	b = appendText(b, "reason", r.Reason)
	b = appendText(b, "user", r.User)
	b = appendText(b, "issuer", r.Issuer)
	b = appendText(b, "device", r.Device)
	b = appendText(b, "credential", r.Credential)
	if r.TokenSHA256 != [32]byte{} {
		b = append(b, `,"token_sha256":"`...)
		b = hex.AppendEncode(b, r.TokenSHA256[:])
		b = append(b, '"')
	}
	b = appendText(b, "request_id", r.RequestID)
	if r.Client.IsValid() {
		var room [64]byte // a zone may have any length, and any letters
		b = appendText(b, "client", string(r.Client.AppendTo(room[:0])))
	}
	b = appendText(b, "rule", r.Rule)
	b = appendText(b, "source", r.Source)
	b = appendText(b, "actor", r.Actor)
	b = appendText(b, "target", r.Target)
	b = appendText(b, "action", r.Action)
	b = appendText(b, "version", r.Version)
	if r.Count > 0 {
		b = append(b, `,"count":`...)
		b = strconv.AppendUint(b, r.Count, 10)
	}
	return append(b, '}', '\n')
}

// appendTime appends a time, in UTC, with its milliseconds. There is a quick way to
// format RFC 3339 without them, and with all that there are, but none between: and every
// record has one.
func appendTime(b []byte, at time.Time) []byte {
	b = at.AppendFormat(b, time.RFC3339)
	milli := at.Nanosecond() / 1_000_000 % 1000
	b[len(b)-1] = '.' // instead of the Z, which comes last
	return append(b, byte('0'+milli/100), byte('0'+milli/10%10), byte('0'+milli%10), 'Z')
}

// appendText appends a member, or nothing if its text is empty. What is cut off of a
// text is told by an ellipsis.
func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	cut := len(text) > maxText
	if cut {
		text = whole(text[:maxText])
	}
	b = append(append(append(b, ',', '"'), name...), '"', ':', '"')
	b = appendEscaped(b, text)
	if cut {
		b = append(b, "…"...)
	}
	return append(b, '"')
}

// whole returns a text without the letter at its end of which the rest is cut off.
func whole(text string) string {
	for i := len(text) - 1; i >= 0 && i > len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRuneInString(text[i:]) {
				return text[:i]
			}
			break
		}
	}
	return text
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends a text as it stands between quotation marks: no line break, nothing
// that a terminal obeys, and nothing that is not UTF-8.
func appendEscaped(b []byte, text string) []byte {
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, text[start:i]...)
		size := 1
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		default:
			b, size = appendRune(b, text[i:])
		}
		i += size
		start = i
	}
	return append(b, text[start:]...)
}

// appendRune appends the letter that a text begins with, which is not of ASCII.
func appendRune(b []byte, text string) ([]byte, int) {
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case r == utf8.RuneError && size == 1:
		return append(b, `\ufffd`...), 1
	case r < 0xa0: // control characters too
		return append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&0xf]), size
	case r == '\u2028' || r == '\u2029': // line breaks to some
		return append(b, '\\', 'u', '2', '0', '2', hexDigits[r&0xf]), size
	}
	return append(b, text[:size]...), size
}
