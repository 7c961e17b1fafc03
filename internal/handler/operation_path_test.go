package handler

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// wantedAt is what somebody wants who asks at a path, as a text, and whether it is one
// of this operation's paths at all.
func wantedAt(t *testing.T, path string) (got string, routed bool) {
	t.Helper()
	routes := chi.NewRouter()
	routes.Post(operationRoute, func(w http.ResponseWriter, r *http.Request) {
		want, err := wantedInPath(w, r)
		switch {
		case err != nil:
			got = "[" + string(OutcomeOf(err)) + "]"
		case want.byID:
			got = "id " + want.id.String()
		default:
			got = "device " + string(want.device)
		}
		routed = true
	})
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return "", false
	}
	routes.ServeHTTP(httptest.NewRecorder(), &http.Request{Method: http.MethodPost, URL: u, Body: http.NoBody})
	return got, routed
}

func TestWhatAPathWants(t *testing.T) {
	const id, nobodys = "0b9dcbd3-98a4-4a3c-8b2e-6a2a3c1f7a01", "id "
	for name, want := range map[string]string{
		"me":                            "device default",
		"me:mobile":                     "device mobile",
		"me%3Amobile":                   "device mobile",
		"%6De":                          "device default",
		"me:default":                    "device default",
		"me:" + id:                      "device " + id, // a label like any other
		"me:":                           "[bad_request]",
		"me:Mobile":                     "[bad_request]",
		"me:a%2Fb":                      "[bad_request]",
		"me:a:b":                        "[bad_request]",
		"me:%00":                        "[bad_request]",
		"me%253Amobile":                 nobodys, // decoded once
		"me:" + strings.Repeat("a", 65): "[bad_request]",
		id:                              "id " + id,
		strings.ToUpper(id):             "id " + id,
		id + "%20":                      nobodys,
		id + "%2F":                      nobodys,
		"%2F" + id:                      nobodys,
		id + "%2Ftoken%2F..":            nobodys,
		"{" + id + "}":                  nobodys,
		strings.ReplaceAll(id, "-", ""): nobodys,
		"ME":                            nobodys,
		"Me:mobile":                     nobodys,
		"me ":                           nobodys,
		"..":                            nobodys,
		"":                              nobodys,
		"%2e%2e":                        nobodys,
		"0":                             nobodys,
		strings.Repeat("a", 70_000):     nobodys,
	} {
		got, routed := wantedAt(t, "/v2/telephony_credentials/"+strings.ReplaceAll(name, " ", "%20")+"/token")
		if got != want || !routed {
			t.Errorf("%.80q: %q, want %q", name, got, want)
		}
	}
	for _, path := range []string{
		"/v2/telephony_credentials/me/mobile/token", "/v2/telephony_credentials/me/token/",
		"/v2/telephony_credentials/me%2Ftoken", "/v2//telephony_credentials/me/token", "/v2/telephony_credentials/me/../" + id + "/token",
	} {
		if got, routed := wantedAt(t, path); routed {
			t.Errorf("%s wants %s", path, got)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"me", "me:mobile", "me%3Amobile", "0b9dcbd3-98a4-4a3c-8b2e-6a2a3c1f7a01", "%2e%2e%2f", "me:%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, routed := wantedAt(t, "/v2/telephony_credentials/"+name+"/token")
		if label, ok := strings.CutPrefix(got, "device "); routed && ok && (label == "" || strings.ContainsAny(label, "/: %\n")) {
			t.Fatalf("%q wants %q", name, got)
		}
	})
}

func TestABodyForTelnyxHasNothingToSay(t *testing.T) {
	const json = "application/json"
	for _, row := range []struct{ contentType, body, want string }{
		{"", "", ""},
		{json, "{}", ""},
		{json, " {}\n", ""},
		{json, `{"device":"mobile"}`, "bad_request"}, // which would be another phone than is asked for
		{json, `null`, "bad_request"},
		{json, `[]`, "bad_request"},
		{json, `{`, "bad_request"},
		{"text/plain", "{}", "unsupported_media_type"},
		{json, "{}" + strings.Repeat(" ", maxBodyBytes), "too_large"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(row.body))
		r.Header.Set("Content-Type", row.contentType)
		got := ""
		if err := emptyBody(httptest.NewRecorder(), r); err != nil {
			got = string(OutcomeOf(err))
		}
		if got != row.want {
			t.Errorf("%.40q of type %q: %q, want %q", row.body, row.contentType, got, row.want)
		}
	}
}
