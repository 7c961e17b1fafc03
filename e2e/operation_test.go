package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// webTest is where the npm packages are that tests use.
const webTest = "../web/test"

// sdkAnswer is what Telnyx's SDK makes of an answer.
type sdkAnswer struct {
	Token string

	Name, Message string // of what it throws
	Status        int
	Errors        []struct {
		Code, Title, Detail string
		Meta                struct{ Outcome string }
	}
}

// said is an answer in a word or two: the credential of a token, or why there is none.
func (a sdkAnswer) said(l *lab) string {
	if id, ok := l.telnyx.CredentialOf(a.Token); ok {
		return id
	}
	if len(a.Errors) == 1 {
		return a.Name + " " + a.Errors[0].Code + " " + a.Errors[0].Meta.Outcome
	}
	return a.Name + " " + a.Message
}

// withSDK has Telnyx's npm SDK ask the service for tokens of these ids, in Node or, if
// args are a browser and a page, there.
func withSDK(t *testing.T, s *service, bearer string, ids []string, args ...string) []sdkAnswer {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		process.Skip(t, "node is not installed: Telnyx's SDK runs in it")
	}
	if _, err := os.Stat(filepath.Join(webTest, "node_modules", "telnyx")); err != nil {
		process.Skip(t, "web/test/node_modules is missing: run `npm ci` in web/test")
	}
	wanted, err := json.Marshal(map[string]any{"baseURL": s.Listen + "/v2", "apiKey": bearer, "ids": ids})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), browserPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, append([]string{"telnyx.mjs"}, args...)...)
	cmd.Dir, cmd.Stdin = webTest, bytes.NewReader(wanted)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("telnyx.mjs: %v\n%s", errors.Join(err, ctx.Err()), stderr.String())
	}
	var answers []sdkAnswer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(ids) {
		t.Fatalf("telnyx.mjs gave %d answers of %d, %v", len(answers), len(ids), err)
	}
	for _, a := range answers {
		s.hide(a.Token)
	}
	return answers
}

const unknownID = "6d5f3a3c-5a3e-4d6b-9f57-0a4b5f3c2d1e"

func TestTelnyxsOwnSDK(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob", "often")
	mobile := l.telnyx.AddCredential(telnyxtest.Credential{})
	writeFile(t, l.users, "users:\n  alice: {default: "+l.credentials["alice"]+", mobile: "+mobile+"}\n  bob: "+l.credentials["bob"]+"\n")
	s := startService(t, l.with(setting{"TOKENSVC_OIDC_REQUIRE", "{groups: agents}"}))
	agent := map[string]any{"groups": []string{"agents"}}
	for _, row := range []struct {
		who, bearer string
		asks        map[string]string // id to what the SDK says
	}{
		{"alice", l.issuer.Bearer("alice", agent), map[string]string{
			"me":                   l.credentials["alice"],
			"me:mobile":            mobile,
			l.credentials["alice"]: l.credentials["alice"],
			mobile:                 mobile,
			l.credentials["bob"]:   "NotFoundError 10005 not_found",
			unknownID:              "NotFoundError 10005 not_found",
			"../me":                "NotFoundError 10005 not_found", // the SDK escapes the slash
			"me:tablet":            "PermissionDeniedError 10010 no_credential",
			"me:Mobile":            "BadRequestError 10015 bad_request",
		}},
		{"somebody whom a rule denies", l.issuer.Bearer("bob", nil), map[string]string{"me": "PermissionDeniedError 10010 denied"}},
		{"a forger", l.issuer.Bearer("alice", agent) + "x", map[string]string{"me": "AuthenticationError 10009 invalid_token"}},
	} {
		var ids []string
		for id := range row.asks {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for i, got := range withSDK(t, s, row.bearer, ids) {
			if said, want := got.said(l), row.asks[ids[i]]; said != want {
				t.Errorf("%s asks for %s and gets %s, want %s", row.who, ids[i], said, want)
			}
		}
	}
	if n := len(s.Logged("request")); n != 11 { // the SDK tries nothing again that is not worth it
		t.Errorf("%d requests, want 11", n)
	}
}

// What is not worth trying again is not tried again, though the SDK would after any
// status from 500 on.
func TestTelnyxsOwnSDKTriesAgainWhatIsWorthIt(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	s := startService(t, l.with(setting{"TELNYX_TIMEOUT", "2s"}))
	asked := func() int { return len(s.Logged("request")) }

	l.telnyx.RemoveCredential(l.credentials["bob"])
	got := withSDK(t, s, l.issuer.Bearer("bob", nil), []string{"me"})[0]
	if said := got.said(l); said != "InternalServerError 10007 credential_rejected" || asked() != 1 {
		t.Errorf("with a deleted credential the SDK says %s after %d requests, want one", said, asked())
	}
	before := asked()
	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: http.StatusInternalServerError, Times: 2})
	got = withSDK(t, s, l.issuer.Bearer("alice", nil), []string{"me"})[0]
	if said := got.said(l); said != l.credentials["alice"] {
		t.Errorf("after a minute in which Telnyx failed the SDK says %s after %d requests", said, asked()-before)
	}
}

func TestTelnyxsOwnSDKInABrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		process.Skip(t, "chromium is not installed: the SDK runs in it")
	}
	files := http.NewServeMux()
	files.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>a softphone</title>")
	})
	sdk := http.StripPrefix("/sdk/", http.FileServer(http.Dir(filepath.Join(webTest, "node_modules", "telnyx"))))
	files.HandleFunc("/sdk/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".mjs") {
			w.Header().Set("Content-Type", "text/javascript")
		}
		sdk.ServeHTTP(w, r)
	})
	page := httptest.NewServer(files)
	t.Cleanup(page.Close)
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	s := startService(t, l.with(setting{"TOKENSVC_CORS_ORIGINS", page.URL}))
	got := withSDK(t, s, l.issuer.Bearer("alice", nil), []string{"me", l.credentials["bob"]}, chromium, page.URL+"/")
	for i, want := range []string{l.credentials["alice"], "NotFoundError 10005 not_found"} {
		if said := got[i].said(l); said != want {
			t.Errorf("in a page the SDK says %s, want %s", said, want)
		}
	}
}

// operating asks in Telnyx's way for a token of that id, which may be percent-encoded.
func operating(id string) change {
	return func(r *http.Request) {
		u, err := r.URL.Parse("/v2/telephony_credentials/" + id + "/token")
		if err == nil {
			r.URL = u
		}
	}
}

// Somebody else's id makes nothing at Telnyx, though whoever has no credential is given
// one at their first login.
func TestAForeignIDCreatesNothing(t *testing.T) {
	l := newBooks(t, ready, inFile(t))
	s := startService(t, l.env)
	c := call(t, s)
	alice, bob := l.issuer.Bearer("alice", nil), l.issuer.Bearer("bob", nil)
	first := c.send(operating("me"), bearing(alice))
	alices, ok := l.telnyx.CredentialOf(first.body)
	if first.status != http.StatusCreated || !ok {
		t.Fatalf("alice's first login: %v", first)
	}
	same := header("X-Request-Id", "the-same")
	want := c.send(operating(unknownID), bearing(bob), same)
	if want.status != http.StatusNotFound {
		t.Fatalf("an id that nobody has: %v", want)
	}
	for _, id := range []string{alices, strings.ToUpper(alices), alices + "%2F", "%2e%2e%2f" + alices, "ME", "me%00", strings.Repeat("f", 60_000)} {
		if got := c.send(operating(id), bearing(bob), same); got.status != want.status || got.body != want.body {
			t.Errorf("%.50s: %d %s, want what an id gets that nobody has: %s", id, got.status, got.body, want.body)
		}
	}
	if got := c.send(operating("me:UP"), bearing(bob)); got.status != http.StatusBadRequest {
		t.Errorf("a bad device: %v", got)
	}
	if n := len(l.telnyx.Credentials()); n != 1 {
		t.Errorf("%d credentials at Telnyx, want alice's only", n)
	}
	if got := c.send(operating(alices), bearing(alice)); got.status != http.StatusCreated {
		t.Errorf("alice by her id: %v", got)
	}

	wantDone(t, s.manage(t, http.MethodPost, "/users/main:alice/disable", ""))
	for _, id := range []string{"me", alices, unknownID} {
		got := c.send(operating(id), bearing(alice))
		if got.status != http.StatusForbidden || !strings.Contains(got.body, `"denied"`) {
			t.Errorf("a disabled alice who asks for %s: %v", id, got)
		}
	}
	l.goneWithin(t, 10*time.Second, alices)
}

func TestTwoCredentialsAtOnceAreRefusedInTelnyxsWay(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	c := call(t, startService(t, l.env))
	got := c.send(operating("me"), authorization("Bearer "+l.issuer.Bearer("alice", nil), "Bearer "+l.issuer.Bearer("bob", nil)))
	if got.status != http.StatusUnauthorized || !strings.Contains(got.body, `"10009"`) || !strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_request"`) {
		t.Errorf("got %v", got)
	}
	if n := l.telnyx.Requests(telnyxtest.Token); n != 0 {
		t.Errorf("%d tokens minted", n)
	}
}
