package directory_test

import (
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
)

func TestWhoIsMeantByAUserKey(t *testing.T) {
	one, several := []string{"main"}, []string{"acme", "partner"}
	for _, row := range []struct {
		says    string
		text    string
		issuers []string
		want    string // "" is an error
	}{
		{"with one issuer its name may be left out", "alice", one, "main:alice"},
		{"or not", "main:alice", one, "main:alice"},
		{"a colon in a name is no issuer's", "urn:x:carol", one, "main:urn:x:carol"},
		{"another issuer's name belongs to the value", "acme:alice", one, "main:acme:alice"},
		{"a value that looks like a key needs the issuer", "main:main:alice", one, "main:main:alice"},
		{"an issuer without a value is a value", "main:", one, "main:main:"},
		{"with several issuers", "partner:bob", several, "partner:bob"},
		{"a value with a colon", "acme:urn:x:carol", several, "acme:urn:x:carol"},
		{"the longest", strings.Repeat("a", directory.MaxUserValue), one, "main:" + strings.Repeat("a", directory.MaxUserValue)},
		{"letters of any script", "zoë 象", one, "main:zoë 象"},
		{"with several issuers one must be named", "bob", several, ""},
		{"a stranger's issuer", "evil:bob", several, ""},
		{"an issuer's name in another case", "ACME:bob", several, ""},
		{"an issuer without a person", "acme:", several, ""},
		{"nobody", "", one, ""},
		{"no issuers at all", "alice", nil, ""},
		{"one too long", strings.Repeat("a", directory.MaxUserValue+1), one, ""},
		{"one too long behind its issuer", "main:" + strings.Repeat("a", directory.MaxUserValue+1), one, ""},
		{"space around", " alice", one, ""},
		{"space behind the issuer", "main: alice", one, ""},
		{"a line break", "al\nice", one, ""},
		{"a NUL", "al\x00ice", one, ""},
		{"half a character", "al\xffice", one, ""},
		{"a character that is not seen", "al\u200bice", one, ""},
	} {
		got, err := directory.ParseUserKey(row.text, row.issuers)
		if got != row.want || (err == nil) != (row.want != "") {
			t.Errorf("%s: %q, %v, want %q", row.says, got, err, row.want)
		}
		if err != nil && row.text != "" && strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: the error repeats the text: %v", row.says, err)
		}
	}
}
