package handler_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

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

func (v vendorOf) Vend(context.Context, telnyx.CredentialID) (vending.Vended, error) { return v() }

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
	for want, err := range map[string]error{"overloaded": vending.ErrBusy, "internal": &vending.PanicError{}} {
		h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
			c.Vendor = vendorOf(func() (vending.Vended, error) { return vending.Vended{}, err })
		})
		bearer, _ := h.person("alice")
		if _, _, outcome := h.ask(bearer); outcome != want {
			t.Errorf("%v is %s, want %s", err, outcome, want)
		}
	}
}
