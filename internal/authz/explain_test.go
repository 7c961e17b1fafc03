package authz_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// newIdle returns a verifier that does not run.
func newIdle(t *testing.T, cfg authz.Config) *authz.Verifier {
	t.Helper()
	return must(authz.New(cfg))(t)
}

func explain(t *testing.T, v *authz.Verifier, bearer string) authz.Explanation {
	t.Helper()
	return v.Explain(t.Context(), secret.New(bearer))
}

// told is what an explanation says, in a word: the user key, or why not.
func told(e authz.Explanation) string {
	var invalid *authz.InvalidError
	switch {
	case e.Err == nil:
		return e.User
	case errors.As(e.Err, &invalid):
		return string(invalid.Reason)
	case errors.Is(e.Err, authz.ErrIssuerUnavailable):
		return "issuer_unavailable"
	}
	return e.Err.Error()
}

// It says what Verify says, at every place, and needs to be told none.
func TestAnExplanationIsWhatVerifySays(t *testing.T) {
	for _, place := range []string{"bearer", "header:X-Goog-Iap-Jwt-Assertion", "cookie:session"} {
		t.Run(place, func(t *testing.T) {
			clock := newClock()
			issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Now: clock.Now})
			cfg := issuerOf(issuer)
			cfg.Source = source(t, place)
			v := newIdle(t, authz.Config{Issuers: []authz.Issuer{cfg}, Now: clock.Now})
			whoseBearerIsAccepted(t, clock, issuer, func(bearer string) string { return told(explain(t, v, bearer)) })
			if e := explain(t, v, issuer.Bearer("alice", nil)); e.Source != cfg.Source || e.Issuer != "main" {
				t.Errorf("it has to be at %v of %q", e.Source, e.Issuer)
			}
		})
	}
}

// bound is a bearer's claim to be bound to a key.
var bound = map[string]any{"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}}

func TestAnExplanationOfBoundBearers(t *testing.T) {
	certificate := map[string]any{"cnf": map[string]any{"x5t#S256": strings.Repeat("A", 43)}}
	for name, row := range map[string]struct {
		mode   authz.DPoP
		claims map[string]any
		want   string
		proof  bool
	}{
		"off, and not bound":                 {authz.DPoPOff, nil, "main:alice", false},
		"off, and bound":                     {authz.DPoPOff, bound, "binding", false},
		"optional, and not bound":            {authz.DPoPOptional, nil, "main:alice", false},
		"optional, and bound":                {authz.DPoPOptional, bound, "main:alice", true},
		"optional, and bound to another way": {authz.DPoPOptional, certificate, "binding", false},
		"required, and not bound":            {authz.DPoPRequired, nil, "binding", false},
		"required, and bound":                {authz.DPoPRequired, bound, "main:alice", true},
	} {
		issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
		cfg := issuerOf(issuer)
		cfg.DPoP = row.mode
		v := newIdle(t, authz.Config{Issuers: []authz.Issuer{cfg}, PublicURL: "https://phone.example.com"})
		e := explain(t, v, issuer.Bearer("alice", row.claims))
		if told(e) != row.want || e.NeedsProof != row.proof {
			t.Errorf("%s: %s, needs a proof: %v", name, told(e), e.NeedsProof)
		}
	}
}

func TestWhoseAnExplainedBearerIs(t *testing.T) {
	one := oidctest.StartT(t, oidctest.Options{Audience: audience})
	two := oidctest.StartT(t, oidctest.Options{Audience: audience})
	first, second := issuerOf(one), issuerOf(two)
	second.Name, second.URL = "two", "https://Login.example.com/two"
	v := newIdle(t, authz.Config{Issuers: []authz.Issuer{first, second}})
	for name, row := range map[string]struct{ bearer, issuer, nearly string }{
		"its own":                 {one.Bearer("alice", nil), "main", ""},
		"its own, and expired":    {one.Bearer("alice", map[string]any{"exp": 1}), "main", ""},
		"its own, and forged":     {two.Bearer("alice", map[string]any{"iss": one.URL()}), "main", ""},
		"a stranger's":            {one.Bearer("alice", map[string]any{"iss": "https://evil.example"}), "", ""},
		"nobody's":                {one.Bearer("alice", map[string]any{"iss": nil}), "", ""},
		"a slash more":            {one.Bearer("alice", map[string]any{"iss": one.URL() + "/"}), "", "main"},
		"letters in another case": {one.Bearer("alice", map[string]any{"iss": "https://login.example.com/two"}), "", "two"},
		"no JWT":                  {"opaque", "", ""},
	} {
		e := explain(t, v, row.bearer)
		if e.Issuer != row.issuer || e.Nearly != row.nearly {
			t.Errorf("%s: of %q, nearly %q", name, e.Issuer, e.Nearly)
		}
	}
	if two.KeyFetches() != 0 {
		t.Errorf("the keys of an issuer were fetched whose bearer it was not")
	}
}

// Whatever it finds, Verify has to find out for itself.
func TestAnExplanationIsNotRemembered(t *testing.T) {
	issuer, v, _ := startAsked(t)
	bearer := issuer.Opaque("alice", nil)
	for range 2 {
		if got := told(explain(t, v, bearer)); got != "main:alice" {
			t.Fatal(got)
		}
	}
	if got := outcome(v, bearer); got != "main:alice" || issuer.Introspections() != 3 {
		t.Errorf("%s, and the issuer was asked %d times, want 3", got, issuer.Introspections())
	}
	issuer.Revoke(bearer)
	if got := told(explain(t, v, bearer)); got != "inactive" {
		t.Errorf("%s, which only Verify may still believe", got)
	}
	if got := outcome(v, bearer); got != "main:alice" {
		t.Errorf("%s: the refusal was remembered", got)
	}
}

func TestAnExplanationOfOpaqueBearers(t *testing.T) {
	one := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	two := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	first, second := askedOf(one), askedOf(two)
	second.Name, second.Source = "two", source(t, "cookie:session")

	v := newIdle(t, authz.Config{Issuers: []authz.Issuer{first}})
	if e := explain(t, v, one.Opaque("alice", nil)); told(e) != "main:alice" || e.Issuer != "main" {
		t.Errorf("%s of %q", told(e), e.Issuer)
	}
	if e := explain(t, v, two.Opaque("alice", nil)); told(e) != "inactive" || e.Issuer != "main" {
		t.Errorf("%s of %q", told(e), e.Issuer)
	}

	v = newIdle(t, authz.Config{Issuers: []authz.Issuer{first, second}})
	before := one.Introspections() + two.Introspections()
	if e := explain(t, v, one.Opaque("alice", nil)); !errors.Is(e.Err, authz.ErrWhichIssuer) {
		t.Errorf("one of two: %s", told(e))
	}
	if n := one.Introspections() + two.Introspections() - before; n != 0 {
		t.Errorf("%d issuers were told of a bearer that may be another's", n)
	}
	if e := explain(t, v, two.Bearer("alice", nil)); told(e) != "two:alice" {
		t.Errorf("a JWT, which names its issuer: %s", told(e))
	}
}

func TestAnExplanationWithoutTheIssuer(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	issuer.Break(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) })
	for name, cfg := range map[string]authz.Issuer{"keys": issuerOf(issuer), "introspection": askedOf(issuer)} {
		v := newIdle(t, authz.Config{Issuers: []authz.Issuer{cfg}})
		e := explain(t, v, issuer.Bearer("alice", nil))
		if told(e) != "issuer_unavailable" || !strings.Contains(e.Err.Error(), "status 502") {
			t.Errorf("%s: %v", name, e.Err)
		}
		if v.PublicKeys("main") != nil {
			t.Error("keys that were never had")
		}
		if cfg.Introspection != nil {
			continue
		}
		if got := told(explain(t, v, issuer.Bearer("alice", map[string]any{"exp": 1}))); got != "expired" {
			t.Errorf("what needs no key: %s", got)
		}
	}
}

// Without a user there is nothing to judge, and nobody is let in by mistake.
func TestAnExplanationJudges(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	cfg := issuerOf(issuer)
	cfg.Require = []authz.Requirement{require("group", "agents"), require("level", float64(7))}
	v, policy := newIdle(t, authz.Config{Issuers: []authz.Issuer{cfg}}), authz.NewPolicy([]authz.Issuer{cfg})

	carol := explain(t, v, issuer.Bearer("carol", map[string]any{"group": "agents", "level": 6}))
	want := []authz.Verdict{{Rule: "group: any_of [agents]", Met: true}, {Rule: "level: any_of [7]", Met: false}}
	if diff := cmp.Diff(want, carol.Verdicts(policy, time.Now())); diff != "" {
		t.Error(diff)
	}
	if _, err := carol.Judge(policy, time.Now()); !errors.Is(err, authz.ErrDenied) {
		t.Errorf("carol: %v", err)
	}
	forged := explain(t, v, issuer.Bearer("alice", map[string]any{"group": "agents", "level": 7})+"A")
	if _, err := forged.Judge(policy, time.Now()); told(forged) == "main:alice" || err == nil || forged.Verdicts(policy, time.Now()) != nil {
		t.Errorf("forged: %v", err)
	}
}

// The keys that an issuer publishes verify just as well from a file, and nothing
// else that it publishes gets there.
func TestPublicKeysOfAnIssuer(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	key := issuer.Key()
	issuer.Publish(oidctest.NewKey("another"), key)
	cfg := issuerOf(issuer)
	v := newIdle(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	bearer := issuer.Bearer("alice", nil)
	explain(t, v, bearer)
	set := v.PublicKeys("main")
	if strings.Contains(string(set), `"d"`) || strings.Count(string(set), `"kid"`) != 2 {
		t.Errorf("the set is %s", set)
	}
	issuer.Close()
	cfg.Keys = "file:" + filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(cfg.KeyFile(), set, 0o600); err != nil {
		t.Fatal(err)
	}
	v = newIdle(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	if got := told(explain(t, v, bearer)); got != "main:alice" {
		t.Error(got)
	}
	if v.PublicKeys("nobody") != nil {
		t.Error("keys of an issuer that is not there")
	}
}
