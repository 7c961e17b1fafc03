package handler_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
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
