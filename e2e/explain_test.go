package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// agentsOnly is the rule of this file's labs.
var agentsOnly = setting{"TOKENSVC_OIDC_REQUIRE", "{groups: [agents], level: {at_least: 2}}"}

// someone's claims, who meets the rules or not.
var (
	anAgent   = map[string]any{"groups": []string{"agents"}, "level": 3}
	aVisitor  = map[string]any{"groups": []string{"visitors"}, "level": 3}
	aBeginner = map[string]any{"groups": []string{"agents"}, "level": 1}
)

func saying(claims map[string]any, name string, value any) map[string]any {
	all := map[string]any{name: value}
	for n, v := range claims {
		if n != name {
			all[n] = v
		}
	}
	return all
}

// explainer runs explain in a lab, with a folder of its own for kept keys.
type explainer struct {
	t     *testing.T
	env   []string
	cache string
}

func (l *lab) explainer(t *testing.T, settings ...setting) *explainer {
	t.Helper()
	x := &explainer{t: t, cache: t.TempDir()}
	x.env = append(x.env, "XDG_CACHE_HOME="+x.cache)
	for name, value := range l.with(settings...) {
		x.env = append(x.env, name+"="+value)
	}
	return x
}

// feed runs the binary with that on standard input.
func feed(t *testing.T, env []string, input string, args ...string) done {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append([]string{}, env...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed || ctx.Err() != nil {
		t.Fatalf("tokensvc %q: %v", args, errors.Join(err, ctx.Err()))
	}
	return done{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func (x *explainer) text(bearer string, args ...string) done {
	x.t.Helper()
	return feed(x.t, x.env, bearer, append([]string{"explain"}, args...)...)
}

// explained is what explain says in JSON.
type explained struct {
	Issuer, Source, Keys, Reason, User, Mode, Credential, Outcome, Detail, Cause, Do string

	KeysAt     string `json:"keys_at"`
	Verified   bool
	NeedsProof bool `json:"needs_proof"`
	Rules      []struct {
		Rule string
		Met  bool
	}
	Observed string `json:"would_deny"`
	status   int
}

func (x *explainer) json(bearer string, args ...string) explained {
	x.t.Helper()
	got := x.text(bearer, append([]string{"--json"}, args...)...)
	e := explained{status: got.status}
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil || got.stderr != "" {
		x.t.Fatalf("status %d, %v: %s%s", got.status, err, got.stdout, got.stderr)
	}
	if (e.Outcome == "issued") != (e.status == 0) || e.status > 1 {
		x.t.Errorf("status %d for %s", e.status, e.Outcome)
	}
	return e
}

// unmet are the rules that are not met.
func (e explained) unmet() string {
	var names []string
	for _, r := range e.Rules {
		if !r.Met {
			names = append(names, r.Rule)
		}
	}
	return strings.Join(names, "; ")
}

// What explain says of a bearer is what the service then does with it, and Telnyx
// hears nothing of it.
func TestExplainSaysWhatServeDoes(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "carol")
	x := l.explainer(t, agentsOnly)
	bearer := func(user string, claims map[string]any) string { return l.issuer.Bearer(user, claims) }
	stranger := oidctest.NewKey("no-such-key").Sign(nil, l.issuer.Claims("alice", anAgent))

	rows := map[string]struct {
		bearer, outcome, reason, unmet, do string
	}{
		"alice, an agent":         {bearer: bearer("alice", anAgent), outcome: "issued"},
		"carol, a visitor":        {bearer("carol", aVisitor), "denied", "", "groups: any_of [agents]", "issuers[].require"},
		"carol, a beginner":       {bearer("carol", aBeginner), "denied", "", "level: at_least 2", "issuers[].require"},
		"carol, who says nothing": {bearer("carol", nil), "denied", "", "groups: any_of [agents]; level: at_least 2", "issuers[].require"},
		"bob, who has nothing":    {bearer("bob", anAgent), "no_credential", "", "", "give main:bob a credential"},
		"expired":                 {bearer("alice", saying(anAgent, "exp", time.Now().Add(-time.Hour).Unix())), "invalid_token", "expired", "", "sign in again"},
		"another audience":        {bearer("alice", saying(anAgent, "aud", "billing")), "invalid_token", "audience", "", "issued for softphone (claim aud)"},
		"an unknown issuer":       {bearer("alice", saying(anAgent, "iss", "https://evil.example")), "invalid_token", "issuer", "", "a token of " + l.issuer.URL()},
		"the issuer with a slash": {bearer("alice", saying(anAgent, "iss", l.issuer.URL()+"/")), "invalid_token", "issuer", "", "a slash at the end"},
		"a key that nobody knows": {stranger, "invalid_token", "key", "", "of this very issuer"},
		"a bad signature":         {bearer("alice", anAgent) + "A", "invalid_token", "signature", "", ""},
		"nobody":                  {bearer("alice", saying(anAgent, "sub", nil)), "invalid_token", "user_claim", "", "the claim sub"},
		"bound to a key":          {bearer("alice", saying(anAgent, "cnf", map[string]any{"jkt": "x"})), "invalid_token", "binding", "", "issuers[].dpop, which is off"},
		"a logout token":          {l.issuer.Key().Sign(map[string]any{"typ": "logout+jwt"}, l.issuer.Claims("alice", anAgent)), "invalid_token", "type", "", "an access token"},
		"no JWT":                  {"hello", "invalid_token", "malformed", "", "the whole token"},
		"an answer around it":     {`{"access_token":"` + bearer("alice", anAgent) + `"}`, "invalid_token", "malformed", "", "not the JSON that it came in"},
	}
	got := map[string]explained{}
	for name, row := range rows {
		e := x.json(row.bearer)
		if e.Outcome != row.outcome || e.Reason != row.reason || e.unmet() != row.unmet || !strings.Contains(e.Do, row.do) {
			t.Errorf("%s: %+v", name, e)
		}
		if hasUser := e.User != ""; hasUser != e.Verified || e.Verified != (e.Reason == "") {
			t.Errorf("%s: user %q, verified: %v", name, e.User, e.Verified)
		}
		got[name] = e
	}
	if e := got["carol, a visitor"]; e.Credential != l.credentials["carol"] || e.User != "main:carol" || e.Source != "bearer" || e.Issuer != "main" || e.Mode != "enforce" {
		t.Errorf("carol: %+v", e)
	}
	if n := l.telnyx.Connections(); n != 0 {
		t.Errorf("%d connections to Telnyx, want none", n)
	}

	c := call(t, startService(t, l.with(agentsOnly)))
	for name, row := range rows {
		answer := c.send(bearing(row.bearer))
		if code := answer.problem().Code; answer.status != http.StatusOK && code != row.outcome || (answer.status == http.StatusOK) != (row.outcome == "issued") {
			t.Errorf("%s: explain says %s, the service %d %s", name, row.outcome, answer.status, code)
		}
		if detail := answer.problem().Detail; detail != got[name].Detail {
			t.Errorf("%s: explain says %q, the service %q", name, got[name].Detail, detail)
		}
	}
}

func TestExplainForEachKindOfIssuer(t *testing.T) {
	bound := map[string]any{"cnf": map[string]any{"jkt": strings.Repeat("A", 43)}}
	for name, row := range map[string]struct {
		settings []setting
		claims   map[string]any
		want     func(e explained) bool
		says     string
	}{
		"a header of its own": {
			[]setting{{"TOKENSVC_OIDC_SOURCE", "header:X-Goog-IAP-JWT-Assertion"}}, nil,
			func(e explained) bool { return e.Outcome == "issued" && e.Source == "header:X-Goog-Iap-Jwt-Assertion" },
			"sent in     header:X-Goog-Iap-Jwt-Assertion, the token alone",
		},
		"a cookie": {
			[]setting{{"TOKENSVC_OIDC_SOURCE", "cookie:session"}, {"TOKENSVC_CORS_ORIGINS", "https://phone.example.com"}}, nil,
			func(e explained) bool { return e.Outcome == "issued" && e.Source == "cookie:session" },
			"sent in     cookie:session, from a page of cors.origins",
		},
		"rules that are observed": {
			[]setting{agentsOnly, {"TOKENSVC_OIDC_MODE", "observe"}}, aVisitor,
			func(e explained) bool { return e.Outcome == "issued" && e.Observed == "groups: any_of [agents]" },
			"mode        observe: not refused, but would be by groups: any_of [agents]",
		},
		"a bearer that is bound": {
			[]setting{{"TOKENSVC_OIDC_DPOP", "optional"}, {"TOKENSVC_PUBLIC_URL", "https://phone.example.com"}}, bound,
			func(e explained) bool { return e.Outcome == "issued" && e.NeedsProof },
			"bound       to a key: a request needs a DPoP proof by it, which cannot be checked here",
		},
		"a bearer that should be": {
			[]setting{{"TOKENSVC_OIDC_DPOP", "required"}, {"TOKENSVC_PUBLIC_URL", "https://phone.example.com"}}, nil,
			func(e explained) bool { return e.Outcome == "invalid_token" && e.Reason == "binding" },
			"do          see issuers[].dpop, which is required",
		},
		"another device": {
			[]setting{{"TOKENSVC_DIRECTORY", "claim:phones"}},
			map[string]any{"phones": map[string]any{"mobile": "11111111-aaaa-4aaa-8aaa-000000000001"}},
			func(e explained) bool { return e.Outcome == "no_credential" },
			"do          have the issuer put the credential's UUID into the claim phones, for this device",
		},
	} {
		l := newLab(t, telnyxtest.Options{}, "alice")
		x := l.explainer(t, row.settings...)
		bearer := l.issuer.Bearer("alice", row.claims)
		if e := x.json(bearer); !row.want(e) {
			t.Errorf("%s: %+v", name, e)
		}
		if got := x.text(bearer).stdout; !strings.Contains(got, row.says+"\n") {
			t.Errorf("%s:\n%s", name, got)
		}
		if name == "another device" {
			if e := x.json(bearer, "-device", "mobile"); e.Outcome != "issued" || e.Credential != "11111111-aaaa-4aaa-8aaa-000000000001" {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

// Keys outlive the issuer's outage, for whoever asks for them, and only its own.
func TestExplainWithoutTheIssuer(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	x := l.explainer(t)
	bearer := l.issuer.Bearer("alice", nil)

	if e := x.json(bearer, "-offline"); e.Outcome != "issuer_unavailable" || e.Keys != "none" || !strings.Contains(e.Do, "once without -offline") {
		t.Errorf("nothing kept: %+v", e)
	}
	if n := l.issuer.KeyFetches(); n != 0 {
		t.Errorf("%d fetches in spite of -offline", n)
	}
	if e := x.json(bearer); e.Outcome != "issued" || e.Keys != "fetched" {
		t.Errorf("fetching: %+v", e)
	}
	key := l.issuer.Key()
	l.issuer.Close()

	before := time.Now()
	e := x.json(bearer, "-offline")
	if at, err := time.Parse(time.RFC3339, e.KeysAt); e.Outcome != "issued" || e.Keys != "kept" || err != nil || at.After(before) {
		t.Errorf("kept: %+v", e)
	}
	forged := oidctest.NewKey(key.ID).Sign(nil, l.issuer.Claims("alice", nil))
	if e := x.json(forged, "-offline"); e.Reason != "signature" {
		t.Errorf("forged: %+v", e)
	}
	if e := x.json(bearer); e.Outcome != "issuer_unavailable" || !strings.Contains(e.Cause, "connection refused") || !strings.Contains(e.Do, "with -offline") {
		t.Errorf("the issuer is down: %+v", e)
	}
	x.keptIsPublic(key)

	// What is kept for one issuer is nothing to another, nor is what it is not.
	elsewhere := &explainer{t, append(slices.Clone(x.env), "TOKENSVC_OIDC_KEYS="+l.issuer.URL()+"/keys"), x.cache}
	if e := elsewhere.json(bearer, "-offline"); e.Keys != "none" {
		t.Errorf("keys of another address: %+v", e)
	}
	for _, content := range []string{"", "{", `{"keys":[]}`, strings.Repeat("x", 2<<20)} {
		writeFile(t, x.kept(), content)
		if e := x.json(bearer, "-offline"); e.Outcome != "issuer_unavailable" || e.Keys != "none" {
			t.Errorf("kept is %.20q: %+v", content, e)
		}
	}
}

// kept is the file in which keys are kept.
func (x *explainer) kept() string {
	x.t.Helper()
	files, err := filepath.Glob(filepath.Join(x.cache, "tokensvc", "*"))
	if err != nil || len(files) != 1 {
		x.t.Fatalf("kept are %q, want one file; %v", files, err)
	}
	return files[0]
}

func (x *explainer) keptIsPublic(k oidctest.Key) {
	x.t.Helper()
	info, err := os.Stat(x.kept())
	if err != nil {
		x.t.Fatal(err)
	}
	text, err := os.ReadFile(x.kept())
	if err != nil {
		x.t.Fatal(err)
	}
	private, err := jose.JSONWebKey{Key: k.Private}.MarshalJSON()
	if err != nil {
		x.t.Fatal(err)
	}
	var secret struct{ D string }
	if err := json.Unmarshal(private, &secret); err != nil || secret.D == "" {
		x.t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || !strings.Contains(string(text), k.ID) || strings.Contains(string(text), secret.D) {
		x.t.Errorf("%v %s", info.Mode(), text)
	}
}

func TestExplainWithKeysInAFile(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	x := l.explainer(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: l.issuer.Key().Private.Public(), KeyID: l.issuer.Key().ID}}})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(set))
	bearer := l.issuer.Bearer("alice", nil)
	if e := x.json(bearer, "-keys", file); e.Outcome != "issued" || e.Keys != "file" {
		t.Errorf("%+v", e)
	}
	if e := x.json(oidctest.NewKey("other").Sign(nil, l.issuer.Claims("alice", nil)), "-keys", file); e.Reason != "key" {
		t.Errorf("another key: %+v", e)
	}
	if n := l.issuer.KeyFetches(); n != 0 {
		t.Errorf("%d fetches in spite of -keys", n)
	}
	for content, want := range map[string]string{"{}": "-keys: has no usable signing key", "": "-keys: is not a JWK set"} {
		writeFile(t, file, content)
		if got := x.text(bearer, "-keys", file); got.status != 2 || strings.TrimSpace(got.stderr) != want || got.stdout != "" {
			t.Errorf("%q: %+v", content, got)
		}
	}
}

func TestExplainOpaqueBearers(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	l.issuer.Register(oidctest.Client{ID: "tokensvc", Secret: markKey})
	file := filepath.Join(t.TempDir(), "secret")
	writeFile(t, file, markKey)
	x := l.explainer(t, setting{"TOKENSVC_OIDC_INTROSPECTION_CLIENT_ID", "tokensvc"}, setting{"TOKENSVC_OIDC_INTROSPECTION_CLIENT_SECRET_FILE", file})
	active, revoked := l.issuer.Opaque("alice", nil), l.issuer.Opaque("alice", nil)
	l.issuer.Revoke(revoked)

	if e := x.json(active); e.Outcome != "issued" || e.Keys != "asked" || e.User != "main:alice" {
		t.Errorf("active: %+v", e)
	}
	if e := x.json(revoked); e.Outcome != "invalid_token" || e.Reason != "inactive" {
		t.Errorf("revoked: %+v", e)
	}
	asked := l.issuer.Introspections()
	if e := x.json(active, "-offline"); e.Outcome != "issuer_unavailable" || !strings.Contains(e.Do, "its issuer is asked about each token") {
		t.Errorf("offline: %+v", e)
	}
	if n := l.issuer.Introspections() - asked; n != 0 {
		t.Errorf("asked %d times in spite of -offline", n)
	}
	l.issuer.BreakIntrospection(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.FormValue("token"), http.StatusBadGateway)
	})
	got := x.text(active)
	if got.status != 1 || !strings.Contains(got.stdout, "it answered status 502") {
		t.Errorf("the issuer is broken: %+v", got)
	}
	if said := got.stdout + got.stderr; strings.Contains(said, active) || strings.Contains(said, markKey) {
		t.Errorf("a secret is shown: %s", said)
	}
}

// Nothing of a bearer but what it says of its owner comes out, and nothing in it
// reaches the terminal as it is.
func TestExplainShowsNoSecret(t *testing.T) {
	l := newLab(t, telnyxtest.Options{APIKey: markKey}, "alice")
	x := l.explainer(t, agentsOnly)
	hidden := newCanaries()
	hide := func(bearer string) string {
		hidden.hideJWT("a bearer", bearer)
		return bearer
	}
	for _, claims := range []map[string]any{
		saying(anAgent, "nickname", markClaim),
		saying(aVisitor, "groups", markClaim),
		{"iss": "https://" + markClaim + ".example\x1b[2J"},
		{"aud": markClaim},
		{"sub": markClaim + "\x1b]0;owned\a"},
		{"exp": 1, "nickname": markClaim},
		{"cnf": map[string]any{"jkt": markClaim}},
	} {
		for _, args := range [][]string{nil, {"--json"}, {"-offline"}} {
			for _, prefix := range []string{"", "Bearer ", "dpop  "} {
				got := x.text(prefix+hide(l.issuer.Bearer("alice", claims))+"\r\n", args...)
				if got.status > 1 || got.stdout == "" {
					t.Errorf("%v: %+v", args, got)
				}
				hidden.wantNone(t, fmt.Sprint("explain ", args), got.stdout, got.stderr)
				if strings.ContainsAny(got.stdout+got.stderr, "\x1b\a\r") {
					t.Errorf("control characters in %q", got.stdout)
				}
			}
		}
	}
	l.issuer.Break(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "\x1b[2J")
		w.WriteHeader(http.StatusFound)
	})
	got := x.text(hide(l.issuer.Bearer("alice", anAgent)))
	hidden.wantNone(t, "explain", got.stdout, got.stderr)
	if got.status != 1 || strings.Contains(got.stdout, "\x1b") {
		t.Errorf("an issuer's own words: %+v", got)
	}
}

func TestExplainOfWhatIsNoBearer(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	x := l.explainer(t)
	for name, row := range map[string]struct {
		input  string
		status int
		want   string
	}{
		"nothing":              {"", 2, "there is no bearer on standard input"},
		"white space":          {" \r\n\t\n", 2, "there is no bearer on standard input"},
		"megabytes of it":      {strings.Repeat(" ", 10<<20), 2, "there is no bearer on standard input"},
		"a scheme alone":       {"Bearer \n", 2, "there is no bearer on standard input"},
		"10 MB":                {strings.Repeat("a", 10<<20), 1, "malformed: "},
		"10 MB with dots":      {strings.Repeat("aaaa.", 2<<20), 1, "malformed: "},
		"garbage":              {"\x00\xff\xfe\x1b[31m" + strings.Repeat("\x9b", 100), 1, "malformed: "},
		"a good one, and more": {l.issuer.Bearer("alice", nil) + "\n" + l.issuer.Bearer("alice", nil), 1, "malformed: "},
		"one after much space": {strings.Repeat(" ", 70<<10) + l.issuer.Bearer("alice", nil), 2, "there is no bearer on standard input"},
	} {
		got := x.text(row.input)
		if got.status != row.status || !strings.Contains(got.stdout+got.stderr, row.want) || !utf8.ValidString(got.stdout) || strings.ContainsAny(got.stdout+got.stderr, "\x00\x1b\u009b") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, args := range [][]string{{"-device", "Desk\x1b"}, {"bearer"}, {"-no-such-flag"}, {"-keys", "no-such-file"}} {
		if got := x.text(l.issuer.Bearer("alice", nil), args...); got.status != 2 || got.stdout != "" || got.stderr == "" {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// A configuration that serve would not start with explains nothing.
func TestExplainWithAWrongConfiguration(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	bearer := l.issuer.Bearer("alice", nil)
	got := feed(t, nil, bearer, "explain")
	if got.status != 2 || got.stdout != "" || strings.Count(got.stderr, "\n") != 3 || !strings.Contains(got.stderr, "TOKENSVC_OIDC_AUDIENCE: is required") {
		t.Errorf("nothing is configured: %+v", got)
	}
	writeFile(t, l.users, "users: {alice: "+marked+", bob: 7}\n")
	got = l.explainer(t).text(bearer)
	if got.status != 2 || got.stdout != "" || strings.Count(got.stderr, "a credential is a UUID") != 2 || strings.Contains(got.stderr, marked) {
		t.Errorf("users who cannot be: %+v", got)
	}
	writeFile(t, l.users, l.usersFile("alice"))
	l.env["TOKENSVC_OIDC_KEYS"] = "file:" + l.users + ".none"
	got = l.explainer(t).text(bearer)
	if got.status != 2 || !strings.Contains(got.stderr, "no such file") {
		t.Errorf("no keys: %+v", got)
	}
}
