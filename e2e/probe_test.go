package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// The probe passes the service, fails for whom it does not know, and is loud about
// what hands tokens to anybody, be it by an id that was no foreigner's.
func TestProbe(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	s := startService(t, l.env)
	anybody := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"token":"a-token-for-anybody","expires_in":3600}`)
	}))
	t.Cleanup(anybody.Close)
	alice, expired := l.issuer.Bearer("alice", nil), l.issuer.Bearer("alice", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	carol := l.issuer.Bearer("carol", nil)
	foreign := l.credentials["bob"]

	for _, row := range []struct {
		what, url, bearer, foreign string
		status                     int
		says                       []string // patterns of lines
	}{
		{"all is well", s.Listen, alice, foreign, 0, []string{
			`login +passed`, `no_bearer +passed`, `altered_bearer +passed`, `foreign_signature +passed`, `unsigned_bearer +passed`, `unknown_id +passed`, `foreign_id +passed`,
		}},
		{"somebody else's id that is alice's own", s.Listen, alice, l.credentials["alice"], 3, []string{`login +passed`, `foreign_id +EXPOSED`}},
		{"an expired bearer", s.Listen, expired, foreign, 1, []string{`login +failed +answered 401 invalid_token`, `foreign_signature +skipped`}},
		{"a bearer of somebody who has no credential", s.Listen, carol, foreign, 1, []string{`login +failed +answered 403 no_credential`, `foreign_signature +passed`}},
		{"a service that vends to anybody", anybody.URL, alice, foreign, 3, []string{`login +passed`, `no_bearer +EXPOSED`, `foreign_signature +EXPOSED`, `foreign_id +EXPOSED`}},
		{"nobody there", "http://127.0.0.1:1", alice, foreign, 1, []string{`login +failed +no answer`}},
	} {
		file, metrics := filepath.Join(t.TempDir(), "bearer"), filepath.Join(t.TempDir(), "probe.prom")
		writeFile(t, file, row.bearer+"\n")
		got := runBinary(t, nil, "probe", "-url", row.url, "-bearer-file", file, "-foreign-id", row.foreign, "-metrics", metrics)
		if got.status != row.status {
			t.Errorf("%s: status %d, want %d:\n%s%s", row.what, got.status, row.status, got.stdout, got.stderr)
		}
		for _, line := range row.says {
			if !regexp.MustCompile("(?m)^" + line).MatchString(got.stdout) {
				t.Errorf("%s: it does not say %s:\n%s%s", row.what, line, got.stdout, got.stderr)
			}
		}
		written, err := os.ReadFile(metrics)
		if passed := strings.Contains(string(written), `tokensvc_probe_passed{check="login"} 1`); err != nil || passed != strings.Contains(row.says[0], "passed") {
			t.Errorf("%s: %v, the metrics are\n%s", row.what, err, written)
		}
		for _, secret := range []string{row.bearer, "a-token-for-anybody", strings.Split(row.bearer, ".")[1]} {
			if strings.Contains(got.stdout+got.stderr+string(written), secret) {
				t.Errorf("%s: it tells %.8q…", row.what, secret)
			}
		}
	}
	if n := l.telnyx.Requests(telnyxtest.Token); n > 2 {
		t.Errorf("%d tokens minted, want those of alice's one credential only", n)
	}
}
