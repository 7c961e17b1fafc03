package directory_test

import (
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
)

func TestTheLongestUserThereCanBe(t *testing.T) {
	const issuer = "an-issuer-whose-name-has-32-char"
	user := strings.Repeat("a", directory.MaxUserValue)
	for _, key := range []string{user, issuer + ":" + user} {
		d, err := openFile(t, "users: {? "+key+" : "+one+"}\n", issuer)
		if err != nil {
			t.Errorf("%.40s…: %v", key, err)
			continue
		}
		if got := found(d, directory.Query{User: issuer + ":" + user, Device: "default"}); got != one {
			t.Errorf("%.40s…: %s, want %s", key, got, one)
		}
	}
}
