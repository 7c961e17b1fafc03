package handler_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/tokensvc/tokensvc/internal/crash"

	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// A method is any word the caller likes, a secret included: whoever mixes up two
// arguments of an HTTP library sends their bearer for a method.
func TestAMethodNobodyKnowsIsNotLogged(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	bearer, _ := h.person("alice")
	for _, method := range []string{bearer, "KEY0123456789", "get", strings.Repeat("A", 70_000)} {
		before := len(h.log.String())
		h.serve(method, "/v1/token")
		line := h.log.String()[before:]
		if strings.Contains(line, method) || !strings.Contains(line, `"method":"other"`) || len(line) > 1000 {
			t.Errorf("%.20q is logged as %.300s", method, line)
		}
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		before := len(h.log.String())
		h.serve(method, "/v1/token")
		if line := h.log.String()[before:]; !strings.Contains(line, `"method":"`+method+`"`) {
			t.Errorf("%s is logged as %s", method, line)
		}
	}
}

// serve sends a request past the client, which would refuse some of them.
func (h *house) serve(method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(h.t.Context(), http.MethodPost, path, nil)
	r.Method = method
	w := httptest.NewRecorder()
	h.service.ServeHTTP(w, r)
	return w
}

// vendorOf is a vendor that has one thing to say.
type vendorOf func() (vending.Vended, error)

func (v vendorOf) Vend(context.Context, telnyx.CredentialID, vending.Ask) (vending.Vended, error) {
	return v()
}

func TestTheLogSaysWhyATokenIsStale(t *testing.T) {
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.Log = c.Log.Level(zerolog.InfoLevel)
		c.Vendor = vendorOf(func() (vending.Vended, error) {
			return vending.Vended{
				LoginToken: telnyx.LoginToken{JWT: secret.New("a.b.c"), ExpiresAt: time.Now().Add(time.Hour)},
				Source:     vending.Stale, StaleBecause: &telnyx.Error{Op: "mint", Kind: telnyx.ErrKeyRejected, Status: 401},
			}, nil
		})
	})
	bearer, _ := h.person("alice")
	if status, _, outcome := h.ask(bearer); status != http.StatusOK {
		t.Fatal(outcome)
	}
	line := h.log.String()
	for _, want := range []string{
		`"level":"warn"`, `"outcome":"issued"`, `"source":"stale"`,
		`"stale_because":"telnyx: mint: telnyx does not accept the API key, status 401"`,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("logged %s, want %s in it", line, want)
		}
	}
}

func TestWhatAMintMaySayIsAnOutcome(t *testing.T) {
	for want, err := range map[string]error{"overloaded": vending.ErrBusy, "internal": &crash.Error{}} {
		h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
			c.Vendor = vendorOf(func() (vending.Vended, error) { return vending.Vended{}, err })
		})
		bearer, _ := h.person("alice")
		if _, _, outcome := h.ask(bearer); outcome != want {
			t.Errorf("%v is %s, want %s", err, outcome, want)
		}
	}
}

func TestTheLogRepeatsNothing(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	logged := func(changes ...func(*http.Request)) string {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil)
		for _, change := range changes {
			change(r)
		}
		before := len(h.log.String())
		h.service.ServeHTTP(httptest.NewRecorder(), r)
		return h.log.String()[before:]
	}
	alice, _ := h.person("alice")
	for try := 0; ; try++ { // until the issuer's keys are there
		if _, _, outcome := h.ask(alice); outcome == "issued" {
			break
		} else if try > 1000 {
			t.Fatal(outcome)
		}
	}
	bearing := func(bearer ...string) func(*http.Request) {
		return func(r *http.Request) {
			for _, b := range bearer {
				r.Header.Add("Authorization", "Bearer "+b)
			}
		}
	}
	for name, row := range map[string]struct {
		line string
		says bool
	}{
		"no credential":          {logged(), false},
		"no such method":         {logged(func(r *http.Request) { r.Method = "PUT" }), false},
		"no such path":           {logged(func(r *http.Request) { r.URL.Path = "/" }), false},
		"a bearer that is none":  {logged(bearing("x")), false},
		"two credentials":        {logged(bearing(alice, alice)), true},
		"a claim without a UUID": {logged(bearing(h.issuer.Bearer("bob", map[string]any{claim: 7}))), true},
		"no claim":               {logged(bearing(h.issuer.Bearer("bob", nil))), false},
	} {
		if strings.Contains(row.line, `"error":`) != row.says {
			t.Errorf("%s is logged as %s; an error should be in it: %v", name, row.line, row.says)
		}
	}
}

func TestALoggedDurationHasNoMoreThanMicroseconds(t *testing.T) {
	const times = 20 // few of which take a whole number of them
	h := build(t, telnyxtest.Options{}, nil)
	for range times {
		h.serve(http.MethodPut, "/v1/token")
	}
	logged := h.log.String()
	if got := regexp.MustCompile(`"duration_ms":[0-9]+(\.[0-9]{1,3})?,`).FindAllString(logged, -1); len(got) != times {
		t.Errorf("logged %s, want microseconds at most in all %d", logged, times)
	}
}

func TestTheContractHasAHead(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	for method, want := range map[string]int{http.MethodGet: http.StatusOK, http.MethodHead: http.StatusOK, http.MethodPost: http.StatusMethodNotAllowed} {
		got := h.serve(method, "/openapi.yaml")
		if got.Code != want {
			t.Errorf("%s: status %d, want %d", method, got.Code, want)
		}
		if allow := got.Header().Values("Allow"); want == http.StatusMethodNotAllowed && strings.Join(allow, ", ") != "GET, HEAD" {
			t.Errorf("Allow: %q, want GET and HEAD", allow)
		}
	}
}
