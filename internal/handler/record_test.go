package handler_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// recordsIn are the records that were written, but for what differs each time.
func recordsIn(t *testing.T, lines *log) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(lines.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, name := range []string{"run", "time"} {
			if r[name] == nil {
				t.Errorf("no %s in %s", name, line)
			}
			delete(r, name)
		}
		all = append(all, r)
	}
	return all
}

// wantRecord wants one record, with an id and an address, and this.
func wantRecord(t *testing.T, lines *log, want map[string]any) {
	t.Helper()
	all := recordsIn(t, lines)
	if len(all) != 1 {
		t.Fatalf("%d records, want 1:\n%s", len(all), lines)
	}
	got := all[0]
	for _, name := range []string{"n", "request_id", "client"} {
		if got[name] == nil {
			t.Errorf("no %s in %v", name, got)
		}
		delete(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestATokenIsRecordedByItsSum(t *testing.T) {
	for name, ask := range map[string]func(h *house, bearer string) string{
		"our way": func(h *house, bearer string) string {
			_, token, _ := h.ask(bearer)
			return token
		},
		"Telnyx's": func(h *house, bearer string) string {
			req := httptest.NewRequestWithContext(h.t.Context(), http.MethodPost, "/v2/telephony_credentials/me/token", nil)
			req.Header.Set("Authorization", "Bearer "+bearer)
			res := httptest.NewRecorder()
			h.service.ServeHTTP(res, req)
			return res.Body.String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, telnyxtest.Options{}, nil)
			bearer, credential := h.person("alice")
			token := ask(h, bearer)
			sum := sha256.Sum256([]byte(token))
			if strings.Contains(h.records.String(), token) || strings.Contains(h.records.String(), bearer) || !strings.HasPrefix(token, "eyJ") {
				t.Error("a secret is in the records, or there is none")
			}
			wantRecord(t, h.records, map[string]any{
				"what": "token", "outcome": "issued", "user": "main:alice", "issuer": "main", "device": "default",
				"credential": credential, "token_sha256": hex.EncodeToString(sum[:]), "source": "mint",
			})
		})
	}
}

// denying are rules that nobody meets.
func denying(mode authz.Mode) *authz.Policy {
	return authz.NewPolicy([]authz.Issuer{{Name: "main", Mode: mode, Require: []authz.Requirement{{Claim: "groups", AnyOf: []any{"agents"}}}}})
}

func TestEveryDecisionHasOneRecord(t *testing.T) {
	const rule = "groups: any_of [agents]"
	who := func(more map[string]any) map[string]any {
		all := map[string]any{"what": "token", "user": "main:alice", "issuer": "main"}
		for name, value := range more {
			all[name] = value
		}
		return all
	}
	for name, row := range map[string]struct {
		change func(*handler.Config)
		want   map[string]any
	}{
		"nobody":   {func(c *handler.Config) { c.Verifier = refusing{authz.ErrUnauthenticated} }, map[string]any{"what": "token", "outcome": "unauthenticated"}},
		"a forger": {func(c *handler.Config) { c.Verifier = refusing{&authz.InvalidError{Reason: authz.ReasonSignature}} }, map[string]any{"what": "token", "outcome": "invalid_token", "reason": "signature"}},
		"denied":   {func(c *handler.Config) { c.Policy = denying(authz.ModeEnforce) }, who(map[string]any{"outcome": "denied", "rule": rule})},
		"observed": {func(c *handler.Config) { c.Policy = denying(authz.ModeObserve) }, who(map[string]any{"outcome": "no_credential", "device": "default", "rule": rule})},
		"disabled": {func(c *handler.Config) {
			c.Directory = failing(func(context.Context) error { return directory.ErrDisabled })
		}, who(map[string]any{"outcome": "denied", "device": "default"})},
		"no phone": {func(*handler.Config) {}, who(map[string]any{"outcome": "no_credential", "device": "default"})},
		"a crowd": {func(c *handler.Config) {
			c.Timeout = 1
			c.Directory = failing(func(ctx context.Context) error { <-ctx.Done(); return directory.ErrUnavailable })
		}, who(map[string]any{"outcome": "directory_unavailable", "device": "default"})},
		"a bug":     {func(c *handler.Config) { c.Directory = failing(func(context.Context) error { panic("a bug") }) }, who(map[string]any{"outcome": "internal", "device": "default"})},
		"a bug too": {func(c *handler.Config) { c.Verifier = panicking{} }, map[string]any{"what": "token", "outcome": "internal"}},
	} {
		t.Run(name, func(t *testing.T) {
			records := &log{}
			cfg := complete()
			cfg.Trail = trailTo(records)
			row.change(&cfg)
			s, err := handler.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil))
			wantRecord(t, records, row.want)
		})
	}
}

// refusing verifies nobody.
type refusing struct{ err error }

func (r refusing) Verify(context.Context, authz.Evidence) (*authz.Principal, error) {
	return nil, r.err
}
func (refusing) Known(authz.Evidence) bool { return false }

type panicking struct{}

func (panicking) Verify(context.Context, authz.Evidence) (*authz.Principal, error) { panic("a bug") }
func (panicking) Known(authz.Evidence) bool                                        { return false }

func TestWhatIsNoDecisionHasNoRecord(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	for _, ask := range [][2]string{{"GET", "/v1/whoami"}, {"GET", "/v1/token"}, {"POST", "/"}, {"GET", "/openapi.yaml"}, {"OPTIONS", "/v1/token"}} {
		h.serve(ask[0], ask[1])
	}
	if h.records.String() != "" {
		t.Errorf("there are records:\n%s", h.records)
	}
	h.serve("POST", "/v1/token")
	wantRecord(t, h.records, map[string]any{"what": "token", "outcome": "unauthenticated"})
}

// unwritable is what nothing can be written to.
type unwritable struct{}

func (unwritable) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWhatCannotBeRecordedIsNotHandedOver(t *testing.T) {
	for name, vend := range map[string]bool{"refuse": false, "vend": true} {
		t.Run(name, func(t *testing.T) {
			trail, err := audit.Open(audit.Config{Out: unwritable{}, GrantUnrecorded: vend})
			if err != nil {
				t.Fatal(err)
			}
			issued := 0
			h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
				c.Trail, c.Issued = trail, func(telnyx.CredentialID, time.Time) { issued++ }
			})
			bearer, _ := h.person("alice")
			status, token, outcome := h.ask(bearer)
			got := fmt.Sprint(status, " ", outcome, " ", token != "", " ", issued, " waiting ", trail.State().Waiting)
			want := "503 audit_unavailable false 0 waiting 1"
			if vend {
				want = "200 issued true 1 waiting 1"
			}
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if n := h.telnyx.Requests(telnyxtest.Token); n != 1 {
				t.Errorf("%d mints, want one, which is kept for later", n)
			}
		})
	}
}

func TestItIsWrittenBeforeTheTokenGoesOut(t *testing.T) {
	answer := httptest.NewRecorder()
	early := 0
	trail := trailTo(writer(func([]byte) {
		if answer.Body.Len() > 0 {
			early++
		}
	}))
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.Trail = trail })
	bearer, _ := h.person("alice")
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil)
	req.Header.Set("Authorization", "Bearer "+bearer)
	h.service.ServeHTTP(answer, req)
	if answer.Code != http.StatusOK || trail.State().Written != 1 || early > 0 {
		t.Errorf("%d, %d records, %d after the answer", answer.Code, trail.State().Written, early)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// A bug after the token is recorded adds no other record, since the token may be out.
func TestABugWhileATokenIsWrittenHasOneRecord(t *testing.T) {
	records := &log{}
	cfg := complete()
	cfg.Trail = trailTo(records)
	cfg.Directory = failing(func(context.Context) error { return nil })
	cfg.Vendor = vendorOf(func() (vending.Vended, error) { return vending.Vended{Source: vending.Cached}, nil })
	cfg.Issued = func(telnyx.CredentialID, time.Time) { panic("a bug") }
	s, err := handler.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil))
	if all := recordsIn(t, records); len(all) != 1 || all[0]["outcome"] != "issued" {
		t.Errorf("%v, want one that is issued", all)
	}
}

func TestEveryChangeHasOneRecord(t *testing.T) {
	const put = "PUT /admin/v1/users/{user}"
	for name, row := range map[string]struct {
		method, path, body string
		token              string
		want               map[string]any // nil for no record
	}{
		"made":             {"PUT", "/users/alice", `{"name":"Alice"}`, adminToken, map[string]any{"outcome": "answered", "action": put, "actor": "admin token", "target": "main:alice"}},
		"of nobody":        {"DELETE", "/users/bob", "", adminToken, map[string]any{"outcome": "not_found", "action": "DELETE /admin/v1/users/{user}", "actor": "admin token", "target": "main:bob"}},
		"by nobody":        {"PUT", "/users/alice", `{}`, strings.Repeat("x", 40), map[string]any{"outcome": "invalid_token", "action": put, "reason": "inactive"}},
		"a read":           {"GET", "/users", "", adminToken, nil},
		"a read by nobody": {"GET", "/users", "", strings.Repeat("x", 40), nil},
		"of what is not":   {"PUT", "/nothing", "", adminToken, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := openOffice(t, nil)
			headers := []string{"Authorization", "Bearer " + row.token}
			var body *strings.Reader
			if body = strings.NewReader(row.body); row.body != "" {
				headers = append(headers, "Content-Type", "application/json")
			}
			o.send(row.method, row.path, body, headers...)
			if row.want == nil {
				if o.records.String() != "" {
					t.Errorf("there are records:\n%s", o.records)
				}
				return
			}
			row.want["what"] = "admin"
			wantRecord(t, o.records, row.want)
		})
	}
}

// It may be to take an access away, and must not wait for a disk.
func TestAChangeThatCannotBeRecordedIsMade(t *testing.T) {
	trail := trailTo(unwritable{})
	o := openOffice(t, func(c *handler.AdminConfig) { c.Trail = trail })
	o.expect("PUT", "/users/alice", `{"name":"Alice"}`, 201, `"Alice"`)
	if s := trail.State(); s.Waiting != 1 || s.Failure == nil {
		t.Errorf("%+v, want its record to wait", s)
	}
}

func TestAnAdminNeedsATrail(t *testing.T) {
	o := openOffice(t, nil)
	_, err := handler.NewAdmin(handler.AdminConfig{
		Store: o.store, Issuers: []string{"main"}, InFlight: 1, Timeout: 1, Metrics: handler.NewMetrics(prometheus.NewRegistry()),
	})
	if err == nil || !strings.Contains(err.Error(), "Trail") {
		t.Errorf("without a trail: %v", err)
	}
}
