package handler_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

var stepForm = regexp.MustCompile(`^([a-z]+);dur=[0-9]+\.[0-9]{3}$`)

// stepsOf returns which steps a Server-Timing tells.
func stepsOf(t *testing.T, header http.Header) (names []string) {
	t.Helper()
	if header.Get("Server-Timing") == "" {
		return nil
	}
	for step := range strings.SplitSeq(header.Get("Server-Timing"), ", ") {
		found := stepForm.FindStringSubmatch(step)
		if found == nil {
			t.Fatalf("Server-Timing: %s", header.Get("Server-Timing"))
		}
		names = append(names, found[1])
	}
	return names
}

// slow is a verifier, a directory and a vendor that take their time.
type slow struct{ verify, find, vend time.Duration }

func (s slow) Known(authz.Evidence) bool { return false }
func (s slow) Verify(context.Context, authz.Evidence) (*authz.Principal, error) {
	<-time.After(s.verify)
	return &authz.Principal{Issuer: "main", User: "main:alice"}, nil
}

func (s slow) Find(context.Context, directory.Query) (telnyx.CredentialID, error) {
	<-time.After(s.find)
	return telnyx.ParseCredentialID("6d5f3a3c-5a3e-4d6b-9f57-0a4b5f3c2d1e")
}

func (s slow) DeviceOf(context.Context, directory.Query, telnyx.CredentialID) (directory.Device, error) {
	return directory.DefaultDevice, nil
}

func (s slow) Vend(context.Context, telnyx.CredentialID, vending.Ask) (vending.Vended, error) {
	<-time.After(s.vend)
	return vending.Vended{
		LoginToken: telnyx.LoginToken{JWT: secret.New("a.b.c"), ExpiresAt: time.Now().Add(time.Hour)}, Source: vending.Cached,
	}, nil
}

func TestStepsAreToldInMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parts := slow{41 * time.Microsecond, 1007 * time.Microsecond, 2*time.Second + 999*time.Nanosecond}
		cfg := complete()
		cfg.Verifier, cfg.Directory, cfg.Vendor = parts, parts, parts
		s, err := handler.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		res := httptest.NewRecorder()
		s.ServeHTTP(res, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil))
		const want = "verify;dur=0.041, directory;dur=1.007, mint;dur=2000.000"
		if got := res.Header().Get("Server-Timing"); got != want || res.Code != http.StatusOK {
			t.Errorf("%d, Server-Timing: %s, want %s", res.Code, got, want)
		}
	})
}

func TestOnlyStepsThatWereReachedAreTold(t *testing.T) {
	failing := func(err error) func(*handler.Config) {
		return func(c *handler.Config) {
			c.Vendor = vendorOf(func() (vending.Vended, error) { return vending.Vended{}, err })
		}
	}
	for name, row := range map[string]struct {
		change func(*handler.Config)
		status int
		steps  []string
	}{
		"issued": {nil, http.StatusOK, []string{"verify", "directory", "mint"}},
		"denied": {func(c *handler.Config) {
			c.Policy = authz.NewPolicy([]authz.Issuer{{Name: "main", Require: []authz.Requirement{{Claim: "sub", Equals: "bob"}}}})
		}, http.StatusForbidden, []string{"verify"}},
		"too often": {func(c *handler.Config) {
			c.SharedRate = func(context.Context, string, string, int, int) (time.Duration, bool) { return time.Minute, true }
		}, http.StatusTooManyRequests, []string{"verify"}},
		"no credential": {func(c *handler.Config) {
			c.Directory = finderOf(func() (telnyx.CredentialID, error) { return telnyx.CredentialID{}, directory.ErrNoCredential })
		}, http.StatusForbidden, []string{"verify", "directory"}},
		"Telnyx is down":  {failing(&telnyx.Error{Kind: telnyx.ErrUnavailable}), http.StatusServiceUnavailable, []string{"verify", "directory", "mint"}},
		"a fault of ours": {failing(errors.New("inside")), http.StatusInternalServerError, []string{"verify", "directory", "mint"}},
	} {
		h := build(t, telnyxtest.Options{}, row.change)
		bearer, _ := h.person("alice")
		got := h.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+bearer)
		if steps := stepsOf(t, got.header); got.status != row.status || !slices.Equal(steps, row.steps) {
			t.Errorf("%s: %d, steps %q, want %d and %q", name, got.status, steps, row.status, row.steps)
		}
	}
}

func TestWhoIsToldOfSteps(t *testing.T) {
	const page = "https://phone.example.com"
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.Origins = []string{page} })
	bearer, own := h.person("alice")
	for name, row := range map[string]struct {
		method, path, bearer string
		told                 bool
	}{
		"a token":               {http.MethodPost, "/v1/token", bearer, true},
		"nobody":                {http.MethodPost, "/v1/token", "", false},
		"a forged bearer":       {http.MethodPost, "/v1/token", bearer + "x", false},
		"Telnyx's way":          {http.MethodPost, "/v2/telephony_credentials/me/token", bearer, false},
		"Telnyx's way, by id":   {http.MethodPost, "/v2/telephony_credentials/" + own + "/token", bearer, false},
		"Telnyx's way, refused": {http.MethodPost, "/v2/telephony_credentials/0/token", bearer, false},
		"whoami":                {http.MethodGet, "/v1/whoami", bearer, false},
		"whoami, refused":       {http.MethodGet, "/v1/whoami?device=A", bearer, false},
	} {
		headers := []string{"Origin", page}
		if row.bearer != "" {
			headers = append(headers, "Authorization", "Bearer "+row.bearer)
		}
		got := h.call(row.method, row.path, headers...)
		if told := got.header.Get("Server-Timing") != ""; told != row.told {
			t.Errorf("%s: %d, Server-Timing %q", name, got.status, got.header.Get("Server-Timing"))
		}
		if !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "Server-Timing") {
			t.Errorf("%s: a page may read %s", name, got.header.Get("Access-Control-Expose-Headers"))
		}
	}
}

// A step at which a request is refused has taken its time too, though nobody who is
// not verified is told of it.
func TestStepsAreMeasuredWhereTheyFail(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.Metrics = handler.NewMetrics(registry)
		c.Directory = finderOf(func() (telnyx.CredentialID, error) { return telnyx.CredentialID{}, directory.ErrUnavailable })
	})
	bearer, _ := h.person("alice")
	for bearer, steps := range map[string]int{"nonsense": 0, bearer: 2} {
		got := h.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+bearer)
		if told := stepsOf(t, got.header); len(told) != steps {
			t.Errorf("%d: told %q, want %d steps", got.status, told, steps)
		}
	}
	want := map[string]uint64{"verify": 2, "directory": 1, "mint": 0}
	if diff := cmp.Diff(want, stepsMeasured(t, registry)); diff != "" {
		t.Errorf("wanted (-), measured (+):\n%s", diff)
	}
}

// stepsMeasured is how often each step was.
func stepsMeasured(t *testing.T, registry *prometheus.Registry) map[string]uint64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]uint64{}
	for _, family := range families {
		if family.GetName() == "tokensvc_step_seconds" {
			for _, m := range family.GetMetric() {
				all[m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	return all
}
