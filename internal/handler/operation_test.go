package handler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// toldError is one refusal in Telnyx's shape.
type toldError struct {
	Code, Title, Detail string
	Meta                struct {
		Outcome   string
		RequestID string `json:"request_id"`
	}
}

// operate asks for a token as Telnyx's SDKs do.
func (h *house) operate(bearer, id string, headers ...string) (reply, toldError) {
	h.t.Helper()
	got := h.call(http.MethodPost, "/v2/telephony_credentials/"+id+"/token", append(headers, "Authorization", "Bearer "+bearer)...)
	if got.status == http.StatusCreated {
		return got, toldError{}
	}
	var refused struct{ Errors []toldError }
	if err := json.Unmarshal(got.body, &refused); err != nil || len(refused.Errors) != 1 {
		h.t.Fatalf("answered %d %s, want one error", got.status, got.body)
	}
	return got, refused.Errors[0]
}

func TestTelnyxsOperation(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	desk, mobile := h.telnyx.AddCredential(telnyxtest.Credential{}), h.telnyx.AddCredential(telnyxtest.Credential{})
	alice := h.issuer.Bearer("alice", map[string]any{claim: map[string]any{"default": desk, "mobile": mobile}})
	bob, bobs := h.person("bob")
	for _, c := range []struct{ bearer, id, credential, outcome string }{
		{alice, "me", desk, ""},
		{alice, "me:default", desk, ""},
		{alice, "me:mobile", mobile, ""},
		{alice, "me%3Amobile", mobile, ""},
		{alice, desk, desk, ""},
		{alice, mobile, mobile, ""},
		{alice, strings.ToUpper(mobile), mobile, ""},
		{bob, "me", bobs, ""},
		{bob, "me:anything", bobs, ""}, // all devices share it
		{bob, bobs, bobs, ""},
		{alice, "me:tablet", "", "no_credential"},
		{alice, "me:Mobile", "", "bad_request"},
		{alice, bobs, "", "not_found"},
		{bob, desk, "", "not_found"},
		{bob, "ME", "", "not_found"},
		{bob, "main:alice", "", "not_found"},
	} {
		got, refused := h.operate(c.bearer, c.id)
		if c.outcome != "" {
			if refused.Meta.Outcome != c.outcome {
				t.Errorf("%s: %d %s, want %s", c.id, got.status, got.body, c.outcome)
			}
			continue
		}
		if of, _ := h.telnyx.CredentialOf(string(got.body)); got.status != http.StatusCreated || of != c.credential {
			t.Errorf("%s: %d, of credential %q, want %s", c.id, got.status, of, c.credential)
		}
		if kind := got.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s, Cache-Control %q", c.id, kind, got.header.Get("Cache-Control"))
		}
	}
	if line := h.log.String(); !strings.Contains(line, `"route":"/v2/telephony_credentials/{id}/token"`) {
		t.Errorf("logged %s", line)
	}
}

// counted is a directory that counts what it is asked.
type counted struct {
	*directory.Claim
	mu    sync.Mutex
	asked []string
}

func (c *counted) Find(ctx context.Context, q directory.Query) (telnyx.CredentialID, error) {
	c.note(fmt.Sprintf("find %s %s, create %v", q.User, q.Device, q.Create))
	return c.Claim.Find(ctx, q)
}

func (c *counted) DeviceOf(ctx context.Context, q directory.Query, id telnyx.CredentialID) (directory.Device, error) {
	c.note(fmt.Sprintf("device of %s, create %v", q.User, q.Create))
	return c.Claim.DeviceOf(ctx, q, id)
}

func (c *counted) note(asked string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, asked)
}

// since returns what was asked since the last time.
func (c *counted) since() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

// Whether somebody has a credential is nobody else's business: the answer is the same
// to a byte, and what is done for it the same too.
func TestSomebodyElsesIsLikeNobodys(t *testing.T) {
	claims, err := directory.NewClaim(claim)
	if err != nil {
		t.Fatal(err)
	}
	users := &counted{Claim: claims}
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.Directory = users })
	bearer, _ := h.person("alice")
	bob, bobs := h.person("bob")
	if got, _ := h.operate(bob, "me"); got.status != http.StatusCreated { // so his is known here, and kept
		t.Fatal(got.status)
	}
	mints := h.telnyx.Requests(telnyxtest.Token)
	users.since()
	answer := func(id string) (status int, header http.Header, body, log string) {
		t.Helper()
		before := len(h.log.String())
		got, _ := h.operate(bearer, id, "X-Request-Id", "the-same")
		got.header.Del("Date")
		line := h.log.String()[before:]
		return got.status, got.header, string(got.body), line[:strings.Index(line, `,"duration_ms"`)]
	}
	status, header, body, line := answer(bobs)
	if status != http.StatusNotFound || !strings.Contains(body, `"10005"`) {
		t.Fatalf("bob's: %d %s", status, body)
	}
	want := []string{"device of main:alice, create false"}
	if asked := users.since(); !slices.Equal(asked, want) {
		t.Errorf("for bob's the directory was asked %q, want %q", asked, want)
	}
	for _, id := range []string{
		"6d5f3a3c-5a3e-4d6b-9f57-0a4b5f3c2d1e", strings.ToUpper(bobs), bobs + "0", bobs + "%2F", bobs + "%2Ftoken", "%00", "ME", "main:bob", "bob",
		strings.Repeat("a", 60_000), "00000000-0000-0000-0000-000000000000",
	} {
		otherStatus, otherHeader, otherBody, otherLine := answer(id)
		if otherStatus != status || otherBody != body || otherLine != line || fmt.Sprint(otherHeader) != fmt.Sprint(header) {
			t.Errorf("%.60s:\n%d %v %s%s\nand bob's\n%d %v %s%s", id, otherStatus, otherHeader, otherBody, otherLine, status, header, body, line)
		}
		if asked := users.since(); !slices.Equal(asked, want) {
			t.Errorf("for %.60s the directory was asked %q, want %q", id, asked, want)
		}
	}
	if n := h.telnyx.Requests(telnyxtest.Token); n != mints {
		t.Errorf("%d mints for nobody", n-mints)
	}
}

// moving is a directory in which a credential is taken away between two questions.
type moving struct{ now telnyx.CredentialID }

func (moving) DeviceOf(context.Context, directory.Query, telnyx.CredentialID) (directory.Device, error) {
	return directory.DefaultDevice, nil
}

func (m moving) Find(context.Context, directory.Query) (telnyx.CredentialID, error) {
	if m.now.IsZero() {
		return m.now, directory.ErrNotCreated
	}
	return m.now, nil
}

func TestATokenIsForTheIDThatWasAskedFor(t *testing.T) {
	other, err := telnyx.ParseCredentialID("6d5f3a3c-5a3e-4d6b-9f57-0a4b5f3c2d1e")
	if err != nil {
		t.Fatal(err)
	}
	for name, users := range map[string]moving{"another has its place": {other}, "none has": {}} {
		h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.Directory = users })
		bearer, own := h.person("alice")
		if got, refused := h.operate(bearer, own); refused.Meta.Outcome != "not_found" || strings.Contains(h.log.String(), other.String()) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

func TestRefusalsInTelnyxsShape(t *testing.T) {
	withdrawn := finderOf(func() (telnyx.CredentialID, error) { return telnyx.CredentialID{}, directory.ErrDisabled })
	young := finderOf(func() (telnyx.CredentialID, error) {
		return telnyx.CredentialID{}, &directory.NotReadyError{RetryAfter: 4 * time.Second}
	})
	away := finderOf(func() (telnyx.CredentialID, error) { return telnyx.CredentialID{}, directory.ErrUnavailable })
	of := func(f finderOf) func(*handler.Config) { return func(c *handler.Config) { c.Directory = f } }
	for name, row := range map[string]struct {
		change                    func(*handler.Config)
		id                        string
		status                    int
		code, outcome, retry, say string
	}{
		"a rule says no": {
			change: func(c *handler.Config) {
				c.Policy = authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{{Claim: "sub", Equals: "bob"}}}})
			},
			id: "me", status: 403, code: "10010", outcome: "denied", retry: "false",
		},
		"disabled, by me":     {change: of(withdrawn), id: "me", status: 403, code: "10010", outcome: "denied", retry: "false", say: "withdrawn"},
		"disabled, by any id": {change: of(withdrawn), id: "6d5f3a3c-5a3e-4d6b-9f57-0a4b5f3c2d1e", status: 403, code: "10010", outcome: "denied", retry: "false", say: "withdrawn"},
		"too often": {
			change: func(c *handler.Config) {
				c.SharedRate = func(context.Context, string, string, int, int) (time.Duration, bool) { return time.Minute, true }
			},
			id: "me", status: 429, code: "10011", outcome: "rate_limited", retry: "true",
		},
		"a bad device":           {id: "me:UP", status: 400, code: "10015", outcome: "bad_request", retry: "false", say: "A device is"},
		"an unknown id":          {id: "0", status: 404, code: "10005", outcome: "not_found", retry: "false", say: "of this id"},
		"not usable yet":         {change: of(young), id: "me", status: 503, code: "10007", outcome: "provisioning", retry: "true"},
		"no directory":           {change: of(away), id: "me", status: 503, code: "10007", outcome: "directory_unavailable", retry: "true"},
		"no directory, by an id": {change: of(away), id: "6d5f3a3c-5a3e-4d6b-9f57-0a4b5f3c2d1e", status: 503, code: "10007", outcome: "directory_unavailable", retry: "true"},
	} {
		h := build(t, telnyxtest.Options{}, row.change)
		bearer, _ := h.person("alice")
		got, refused := h.operate(bearer, row.id)
		if got.status != row.status || refused.Code != row.code || refused.Meta.Outcome != row.outcome || !strings.Contains(refused.Detail, row.say) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if retry := got.header.Get("X-Should-Retry"); retry != row.retry || (got.header.Get("Retry-After") != "") != (row.retry == "true") {
			t.Errorf("%s: X-Should-Retry %q, Retry-After %q", name, retry, got.header.Get("Retry-After"))
		}
		if id := got.header.Get("X-Request-Id"); refused.Meta.RequestID != id {
			t.Errorf("%s: request id %q, in the header %q", name, refused.Meta.RequestID, id)
		}
	}
}

func TestWithoutABearerTelnyxsShapeStillChallenges(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	got := h.call(http.MethodPost, "/v2/telephony_credentials/me/token")
	if got.status != http.StatusUnauthorized || !slices.Equal(got.challenges, []string{`Bearer realm="tokensvc"`}) || !bytes.Contains(got.body, []byte(`"10009"`)) {
		t.Errorf("answered %d %q %s", got.status, got.challenges, got.body)
	}
}

// An SDK of Telnyx's can ask for much more than there is here, and then reads what
// it is told as Telnyx's.
func TestWhatElseTelnyxHasIsNotFoundInTelnyxsShape(t *testing.T) {
	for _, base := range []string{"", "/phone"} {
		h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.BasePath = base })
		for path, status := range map[string]int{
			"/v2/telephony_credentials":          http.StatusNotFound,
			"/v2/balance":                        http.StatusNotFound,
			"/v2/telephony_credentials/me":       http.StatusNotFound,
			"/v2/telephony_credentials/me/token": http.StatusMethodNotAllowed,
		} {
			got := h.call(http.MethodGet, base+path)
			if got.status != status || !bytes.HasPrefix(got.body, []byte(`{"errors":[{"code":"100`)) {
				t.Errorf("%s: %d %s", base+path, got.status, got.body)
			}
		}
		if got := h.call(http.MethodGet, base+"/v1/nothing"); got.code != "not_found" {
			t.Errorf("beside: %d %s", got.status, got.body)
		}
	}
}

func TestPagesMayUseTelnyxsSDK(t *testing.T) {
	const (
		page, other = "https://phone.example.com", "https://other.example.com"
		allows      = "Access-Control-Allow-Origin"
	)
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.Origins = []string{page} })
	bearer, id := h.person("alice")
	asked := []string{
		"authorization", "x-stainless-arch", "x-stainless-lang", "x-stainless-os", "x-stainless-package-version",
		"x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version", "x-stainless-timeout",
	}
	for _, of := range []string{"me", id} {
		path := "/v2/telephony_credentials/" + of + "/token"
		preflight := func(origin string) reply {
			return h.call(http.MethodOptions, path, "Origin", origin,
				"Access-Control-Request-Method", http.MethodPost, "Access-Control-Request-Headers", strings.Join(asked, ","))
		}
		got := preflight(page)
		allowed := strings.FieldsFunc(strings.ToLower(got.header.Get("Access-Control-Allow-Headers")), func(r rune) bool { return r == ',' || r == ' ' })
		for _, name := range asked { // * would not allow authorization
			if !slices.Contains(allowed, name) {
				t.Errorf("%s: the preflight allows %q, want %s by name", of, allowed, name)
			}
		}
		if origin := got.header.Get(allows); origin != page || got.header.Get("Access-Control-Allow-Methods") != http.MethodPost {
			t.Errorf("%s: the preflight: %d for %q %v", of, got.status, origin, got.header)
		}
		if got, _ := h.operate(bearer, of, "Origin", page); got.status != http.StatusCreated || got.header.Get(allows) != page {
			t.Errorf("%s: %d for %q, want a token for the page", of, got.status, got.header.Get(allows))
		}
		minted, _ := h.operate(bearer, of, "Origin", other)
		for what, got := range map[string]reply{"a preflight": preflight(other), "a token": minted, "a refusal": h.call(http.MethodPost, path, "Origin", other)} {
			if origin, known := got.header[allows]; known {
				t.Errorf("%s: %s for another origin: %d, allowed for %q", of, what, got.status, origin)
			}
		}
	}
}
