package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// stranger is somebody else's service, good or bad: it answers a request for a
// token, or for one of a credential by its id.
type stranger struct {
	vend  func(bearer string) (status int, body string)
	vendV func(bearer, id string) (status int, body string)
}

const (
	handedOut = `{"token":"a-login-token","expires_in":3600}`
	foreign   = "5c7ac7d0-db65-4f11-98e1-eec0d1d5c6ae"
)

func refusing(outcome handler.Outcome) string { return `{"code":"` + string(outcome) + `"}` }

func refusingTelnyxly(outcome handler.Outcome) string {
	return `{"errors":[{"meta":{"outcome":"` + string(outcome) + `"}}]}`
}

// listening answers as a good service does where the stranger does not say
// otherwise.
func (s stranger) listening(t *testing.T, good string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/token", func(w http.ResponseWriter, r *http.Request) {
		bearer := r.Header.Get("Authorization")
		status, body := http.StatusUnauthorized, refusing(handler.InvalidToken)
		switch {
		case s.vend != nil:
			status, body = s.vend(bearer)
		case bearer == "":
			body = refusing(handler.Unauthenticated)
		case bearer == "Bearer "+good:
			status, body = http.StatusOK, handedOut
		}
		answerWith(w, status, body)
	})
	mux.HandleFunc("POST /v2/telephony_credentials/{id}/token", func(w http.ResponseWriter, r *http.Request) {
		status, body := http.StatusNotFound, refusingTelnyxly(handler.NotFound)
		if s.vendV != nil {
			status, body = s.vendV(r.Header.Get("Authorization"), r.PathValue("id"))
		}
		answerWith(w, status, body)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func answerWith(w http.ResponseWriter, status int, body string) {
	if status == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// claimsSomebody is all that a lax service looks at.
func claimsSomebody(bearer string) bool {
	parts := strings.Split(strings.TrimPrefix(bearer, "Bearer "), ".")
	var claims struct{ Sub string }
	return len(parts) == 3 && json.Unmarshal(decoded(parts[1]), &claims) == nil && claims.Sub == "alice"
}

// kindOf is the kind of key that a bearer names, and the key's name.
func kindOf(bearer string) (kind struct{ Alg, Kid string }) {
	head, _, _ := strings.Cut(strings.TrimPrefix(bearer, "Bearer "), ".")
	_ = json.Unmarshal(decoded(head), &kind)
	return kind
}

// A service shows what it is: each kind of carelessness by the check that is
// made for it.
func TestProbeFindsACarelessService(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone"})
	good := issuer.Bearer("alice", nil)
	altered, err := alter(secret.New(good))
	if err != nil {
		t.Fatal(err)
	}
	signature := good[strings.LastIndex(good, ".")+1:]
	vend := func(allowed func(bearer string) bool) func(string) (int, string) {
		return func(bearer string) (int, string) {
			switch {
			case bearer != "" && allowed(bearer):
				return http.StatusOK, handedOut
			case bearer == "":
				return http.StatusUnauthorized, refusing(handler.Unauthenticated)
			}
			return http.StatusUnauthorized, refusing(handler.InvalidToken)
		}
	}
	always := func(status int, body string) func(string) (int, string) {
		return func(string) (int, string) { return status, body }
	}
	toForeign := func(status int, body string) func(string, string) (int, string) {
		return func(_, id string) (int, string) {
			if id == foreign {
				return status, body
			}
			return http.StatusNotFound, refusingTelnyxly(handler.NotFound)
		}
	}
	for _, row := range []struct {
		what   string
		is     stranger
		status int
		says   string // a pattern that one line has
	}{
		{"all is well", stranger{}, exitOK, `^login +passed +got a token for 1h0m0s`},
		{"it vends to anybody", stranger{vend: always(http.StatusOK, handedOut)}, exitExposed, `^no_bearer +EXPOSED`},
		{"it reads claims and checks no signature", stranger{vend: vend(claimsSomebody)}, exitExposed, `^altered_bearer +EXPOSED`},
		{"it takes any key with the right name", stranger{vend: vend(func(bearer string) bool {
			return claimsSomebody(bearer) && kindOf(bearer) == kindOf(good) && bearer != "Bearer "+altered.Reveal()
		})}, exitExposed, `^foreign_signature +EXPOSED`},
		{"it takes alg none", stranger{vend: vend(func(bearer string) bool {
			return strings.HasSuffix(bearer, signature) || strings.HasSuffix(bearer, ".")
		})}, exitExposed, `^unsigned_bearer +EXPOSED`},
		{"it refuses without refusing", stranger{vend: always(http.StatusNoContent, "")}, exitExposed, `^no_bearer +EXPOSED`},
		{"it vends for anybody's credential", stranger{vendV: toForeign(http.StatusCreated, "a-login-token")}, exitExposed, `^foreign_id +EXPOSED`},
		{"it vends for credentials that nobody has", stranger{vendV: func(string, string) (int, string) { return http.StatusCreated, "t" }}, exitExposed, `^unknown_id +EXPOSED`},
		{"it says whose id it is", stranger{vendV: toForeign(http.StatusForbidden, refusingTelnyxly(handler.Denied))}, exitExposed, `^foreign_id +EXPOSED +answered 403 denied`},
		{"it asks Telnyx for somebody else's", stranger{vendV: toForeign(http.StatusBadGateway, refusingTelnyxly(handler.CredentialRejected))}, exitExposed, `^foreign_id +EXPOSED`},
		{"it says it in other words", stranger{vendV: toForeign(http.StatusNotFound, strings.ToUpper(refusingTelnyxly(handler.NotFound))+" ")}, exitFailed, `^foreign_id +failed`},
		{"the same outcome with another sentence", stranger{vendV: toForeign(http.StatusNotFound, refusingTelnyxly(handler.NotFound)+" ")}, exitExposed, `^foreign_id +EXPOSED`},
		{"the directory fails just then", stranger{vendV: toForeign(http.StatusServiceUnavailable, refusingTelnyxly(handler.DirectoryUnavailable))}, exitFailed, `^foreign_id +failed +answered 503 directory_unavailable`},
		{"Telnyx is down", stranger{vend: func(bearer string) (int, string) {
			if bearer == "Bearer "+good {
				return http.StatusServiceUnavailable, refusing(handler.UpstreamUnavailable)
			}
			return stranger{}.refuse(bearer)
		}}, exitFailed, `^login +failed +answered 503 upstream_unavailable`},
		{"the bearer has expired", stranger{vend: stranger{}.refuse}, exitFailed, `^altered_bearer +skipped`},
		{"everything is limited", stranger{vend: always(http.StatusTooManyRequests, refusing(handler.RateLimited))}, exitFailed, `^no_bearer +failed +answered 429 rate_limited`},
		{"an empty token", stranger{vend: always(http.StatusOK, `{"token":"","expires_in":1}`)}, exitExposed, `^login +failed +answered 200 without a token`},
		{"a token that has expired", stranger{vend: always(http.StatusOK, `{"token":"t","expires_in":0}`)}, exitExposed, `^login +failed +the token that was handed out has expired`},
		{"a login page", stranger{vend: always(http.StatusFound, "<html>")}, exitFailed, `^login +failed +answered 302, and not as tokensvc does`},
		{"words of its own", stranger{vend: always(http.StatusUnauthorized, `{"code":"\u001b[31mhello"}`)}, exitFailed, `^no_bearer +failed +answered 401, and not as tokensvc does`},
		{"an endless answer", stranger{vend: always(http.StatusOK, strings.Repeat(" ", probeBytes+1))}, exitFailed, `^login +failed +the answer did not arrive whole`},
	} {
		got := ranWith(t, nil, "probe", "-url", row.is.listening(t, good), "-bearer-file", bearerFile(t, good), "-foreign-id", foreign)
		if matched := regexp.MustCompile("(?m)" + row.says).MatchString(got.out); got.status != row.status || !matched {
			t.Errorf("%s: status %d, want %d and %s:\n%s%s", row.what, got.status, row.status, row.says, got.out, got.err)
		}
		for _, unwanted := range []string{good, signature, "a-login-token", "\x1b"} {
			if strings.Contains(got.out+got.err, unwanted) {
				t.Errorf("%s: it prints %.8q…", row.what, unwanted)
			}
		}
	}
}

// refuse is what a good service says to a bearer that does not verify.
func (stranger) refuse(bearer string) (int, string) {
	if bearer == "" {
		return http.StatusUnauthorized, refusing(handler.Unauthenticated)
	}
	return http.StatusUnauthorized, refusing(handler.InvalidToken)
}

func TestProbeWithoutAService(t *testing.T) {
	file := bearerFile(t, "opaque-bearer")
	deaf := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(deaf.Close)
	for _, row := range []struct {
		what   string
		args   []string
		status int
		says   string
	}{
		{"nobody there", []string{"-url", "http://" + freeAddress(t), "-bearer-file", file}, exitFailed, "connection refused"},
		{"nobody answers", []string{"-url", deaf.URL, "-bearer-file", file, "-timeout", "50ms"}, exitFailed, "no answer: not in time"},
		{"no address", []string{"-bearer-file", file}, exitUsage, "-url is required"},
		{"in the clear", []string{"-url", "http://phones.example.com", "-bearer-file", file}, exitUsage, "-url must be https"},
		{"no bearer", []string{"-url", deaf.URL}, exitUsage, "-bearer-file: name the file"},
		{"no file", []string{"-url", deaf.URL, "-bearer-file", file + "2"}, exitUsage, "-bearer-file: there is no such file"},
		{"an empty file", []string{"-url", deaf.URL, "-bearer-file", bearerFile(t, "\n")}, exitUsage, "the token is empty"},
		{"two bearers", []string{"-url", deaf.URL, "-bearer-file", bearerFile(t, "one\ntwo")}, exitUsage, "without spaces"},
		{"no time", []string{"-url", deaf.URL, "-bearer-file", file, "-timeout", "0s"}, exitUsage, "-timeout must be more than 0"},
		{"all day", []string{"-url", deaf.URL, "-bearer-file", file, "-timeout", "24h"}, exitUsage, "at most 1m0s"},
		{"an argument", []string{deaf.URL}, exitUsage, "takes no arguments"},
		{"metrics nowhere", []string{"-url", deaf.URL, "-bearer-file", file, "-timeout", "50ms", "-metrics", file + "/no/probe.prom"}, exitFailed, "-metrics: the file cannot be written"},
	} {
		got := ranWith(t, nil, append([]string{"probe"}, row.args...)...)
		if said := got.out + got.err; got.status != row.status || !strings.Contains(said, row.says) {
			t.Errorf("%s: status %d, %q, want %d and %q", row.what, got.status, said, row.status, row.says)
		}
	}
}

// A bearer that is no JWT can still be altered, and nothing else.
func TestProbeWithAnOpaqueBearer(t *testing.T) {
	got := ranWith(t, nil, "probe", "-url", stranger{}.listening(t, "opaque-bearer"), "-bearer-file", bearerFile(t, "opaque-bearer"))
	for _, line := range []string{`^altered_bearer +passed`, `^foreign_signature +skipped +the bearer is no signed JWT`, `^foreign_id +skipped`} {
		if got.status != exitOK || !regexp.MustCompile("(?m)"+line).MatchString(got.out) {
			t.Errorf("status %d, want %d and %s:\n%s", got.status, exitOK, line, got.out)
		}
	}
}

// Of whichever kind the issuer's keys are, the forged bearer says what the good one
// says, and its signature is another.
func TestForgeriesLookLikeTheBearer(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"} {
		good := secretJWT(`{"alg":"` + algorithm + `","kid":"k1","typ":"at+jwt"}`)
		forged, err := signAnew(good)
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		parts, err := partsOf(forged)
		if err != nil || parts[1] != strings.Split(good.Reveal(), ".")[1] {
			t.Errorf("%s: the forged bearer's claims are others: %v", algorithm, err)
			continue
		}
		var header struct{ Alg, Kid, Typ string }
		if err := json.Unmarshal(decoded(parts[0]), &header); err != nil || header.Alg != algorithm || header.Kid != "k1" || header.Typ != "at+jwt" {
			t.Errorf("%s: the forged bearer's header is %+v", algorithm, header)
		}
	}
	if _, err := signAnew(secretJWT(`{"alg":"HS256"}`)); err == nil {
		t.Error("there is a forged bearer of a kind that needs a shared secret")
	}
}

func TestProbeMetrics(t *testing.T) {
	found := []finding{
		{"login", failed, "", 1500 * time.Millisecond},
		{"no_bearer", passed, "", time.Second},
		{"altered_bearer", exposed, "", time.Second},
		{"unsigned_bearer", skipped, "", 0},
	}
	path := filepath.Join(t.TempDir(), "probe.prom")
	for range 2 { // the second replaces the first
		if err := replaceMetrics(path, found, time.Unix(1700000000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`tokensvc_probe_passed{check="login"} 0`, `tokensvc_probe_passed{check="no_bearer"} 1`, `tokensvc_probe_passed{check="altered_bearer"} 0`,
		`tokensvc_probe_exposed{check="login"} 0`, `tokensvc_probe_exposed{check="altered_bearer"} 1`,
		`tokensvc_probe_seconds{check="login"} 1.5`, `tokensvc_probe_finished_timestamp_seconds 1700000000`,
	} {
		if !strings.Contains(string(got), line+"\n") {
			t.Errorf("there is no line %s in:\n%s", line, got)
		}
	}
	if strings.Contains(string(got), "unsigned_bearer") {
		t.Error("what was skipped has a value")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file's mode is %v, want one that a collector can read", info.Mode())
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files, want no other left over", len(left))
	}
}

// secretJWT has that header, some claims, and a signature that is none.
func secretJWT(header string) secret.Text {
	encoded := base64.RawURLEncoding.EncodeToString
	return secret.New(encoded([]byte(header)) + "." + encoded([]byte(`{"sub":"alice"}`)) + "." + encoded([]byte("none")))
}

func bearerFile(t *testing.T, bearer string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bearer")
	if err := os.WriteFile(path, []byte(bearer+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
