package handler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

func TestWhichDeviceIsAskedFor(t *testing.T) {
	const json = "application/json"
	for name, row := range map[string]struct{ contentType, body, want string }{
		"no body":                   {"", "", "default"},
		"no body, but a type":       {"text/html", "", "default"},
		"an empty object":           {json, `{}`, "default"},
		"a device":                  {json, `{"device":"desk-1"}`, "desk-1"},
		"a type with a charset":     {json + "; charset=utf-8", `{"device":"desk"}`, "desk"},
		"white space around":        {json, " {\"device\":\"desk\"}\n", "desk"},
		"a form":                    {"application/x-www-form-urlencoded", `device=desk`, "[unsupported_media_type]"},
		"no type":                   {"", `{"device":"desk"}`, "[unsupported_media_type]"},
		"a type that only ends so":  {"text/application/json", `{}`, "[unsupported_media_type]"},
		"not JSON":                  {json, `device`, "[bad_request]"},
		"half of it":                {json, `{"device":`, "[bad_request]"},
		"two objects":               {json, `{}{}`, "[bad_request]"},
		"a list":                    {json, `["desk"]`, "[bad_request]"},
		"null":                      {json, `null`, "[bad_request]"},
		"an unknown member":         {json, `{"user":"bob"}`, "[bad_request]"},
		"a member in another case":  {json, `{"Device":"desk"}`, "[bad_request]"},
		"a device twice":            {json, `{"device":"desk","device":"mobile"}`, "[bad_request]"},
		"a device twice, the same":  {json, `{"device":"desk","device":"desk"}`, "[bad_request]"},
		"a device in another way":   {json, `{"device":"desk","\u0064evice":"mobile"}`, "[bad_request]"},
		"a device with a slash":     {json, `{"device":"desk/1"}`, "[bad_request]"},
		"an empty device":           {json, `{"device":""}`, "[bad_request]"},
		"a device in upper case":    {json, `{"device":"Desk"}`, "[bad_request]"},
		"a device that is a number": {json, `{"device":7}`, "[bad_request]"},
		"a device that is null":     {json, `{"device":null}`, "[bad_request]"},
		"as much as is read":        {json, `{"device":"desk"}` + strings.Repeat(" ", maxBodyBytes-17), "desk"},
		"a byte more":               {json, `{"device":"desk"}` + strings.Repeat(" ", maxBodyBytes-16), "[too_large]"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", strings.NewReader(row.body))
		r.Header.Set("Content-Type", row.contentType)
		want, err := wantedInBody(httptest.NewRecorder(), r)
		got := string(want.device)
		if err != nil {
			got = "[" + string(OutcomeOf(err)) + "]"
		}
		if got != row.want {
			t.Errorf("%s: %s, want %s", name, got, row.want)
		}
	}
}

func TestWhoPrefersPlainText(t *testing.T) {
	for accept, want := range map[string]bool{
		"":                                  false,
		"*/*":                               false,
		"application/json":                  false,
		"text/plain":                        true,
		"TEXT/PLAIN; charset=utf-8":         true,
		"text/plain, application/json":      false,
		"text/plain, application/json;q=.5": true,
		"text/plain;q=.2, application/json": false,
		"text/plain;q=0":                    false,
		"text/plain;q=nonsense":             false,
		"text/html, text/plain":             true,
		"text/*":                            false,
		";;;, text/plain":                   true,
	} {
		if got := prefersText([]string{accept}); got != want {
			t.Errorf("Accept: %q: %v, want %v", accept, got, want)
		}
	}
}

func TestPhonesDoNotRefreshInStep(t *testing.T) {
	const life = 24 * time.Hour
	seen := make(map[time.Duration]bool)
	for range 1000 {
		in := refreshIn(life)
		if in < 75*life/100 || in > 85*life/100 {
			t.Fatalf("refresh in %v of %v", in, life)
		}
		seen[in] = true
	}
	if len(seen) < 900 {
		t.Errorf("%d different times in 1000", len(seen))
	}
}

func TestAUsersShare(t *testing.T) {
	now := time.Now()
	s, err := newShares(Config{UserPerMinute: 30, UserBurst: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.users.StopAllGoroutines()
	expect := func(user string, want time.Duration) {
		t.Helper()
		err := s.take(t.Context(), user, now)
		if got := retryOf(err); got != want {
			t.Errorf("%s waits %v, want %v", user, got, want)
		}
	}
	for range 3 {
		expect("alice", 0)
	}
	expect("alice", 2*time.Second)
	expect("alice", 2*time.Second) // being refused costs nothing
	expect("bob", 0)
	now = now.Add(1500 * time.Millisecond)
	expect("alice", 500*time.Millisecond)
	now = now.Add(500 * time.Millisecond)
	expect("alice", 0)
	for _, wrong := range [][2]int{{0, 1}, {1, 0}} {
		if _, err := newShares(Config{UserPerMinute: wrong[0], UserBurst: wrong[1]}); err == nil {
			t.Errorf("a rate of %v is accepted", wrong)
		}
	}
}

func TestAUsersShareOfAllReplicas(t *testing.T) {
	now := time.Now()
	var wait time.Duration
	var told bool
	var asked []string
	s, err := newShares(Config{UserPerMinute: 60, UserBurst: 2, SharedRate: func(_ context.Context, kind, key string, perMinute, burst int) (time.Duration, bool) {
		asked = append(asked, fmt.Sprint(kind, " ", key, " ", perMinute, " ", burst))
		return wait, told
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.users.StopAllGoroutines()
	for i, row := range []struct {
		wait time.Duration
		told bool
		want time.Duration
	}{
		{0, true, 0},
		{7 * time.Second, true, 7 * time.Second}, // which is not taken here
		{0, true, 0},
		{0, true, 0}, // more than here, and all replicas' counts
		{0, false, time.Second},
		{0, true, 0},
	} {
		wait, told = row.wait, row.told
		if got := retryOf(s.take(t.Context(), "alice", now)); got != row.want {
			t.Errorf("request %d waits %v, want %v", i+1, got, row.want)
		}
	}
	for _, a := range asked {
		if a != "user alice 60 2" {
			t.Errorf("asked for %s", a)
		}
	}
}

func TestWhoWantsAFreshToken(t *testing.T) {
	for lines, want := range map[string]bool{
		"":                       false,
		"no-cache":               true,
		"No-Cache":               true,
		"max-age=0, no-cache":    true,
		" no-cache ,no-store":    true,
		"no-store":               false,
		"max-age=0":              false,
		"no-cache-please":        false,
		"no-cache, fresh":        true,
		"Fresh":                  true,
		"min-fresh=60":           false,
		"x=\"a\"|no-cache":       true, // on two lines
		"no-transform|max-age=1": false,
	} {
		if got := wantsFresh(http.Header{"Cache-Control": strings.Split(lines, "|")}); got != want {
			t.Errorf("Cache-Control: %q: %v, want %v", lines, got, want)
		}
	}
}

// A page that fetches with cache: "no-store" sends both.
func TestABrowserThatKeepsNothingWantsNoMint(t *testing.T) {
	if wantsFresh(http.Header{"Cache-Control": {"no-cache"}, "Pragma": {"no-cache"}}) {
		t.Error("a mint for each request of a browser's")
	}
	if !wantsFresh(http.Header{"Cache-Control": {"no-cache, fresh"}, "Pragma": {"no-cache"}}) {
		t.Error("a phone in a browser whose cache is off cannot ask for a fresh token")
	}
}

func TestEveryDeclaredErrorHasAnOutcome(t *testing.T) {
	expected := map[error]Outcome{
		nil:                          "issued",
		errors.New("anything"):       "internal",
		context.Canceled:             "canceled",
		authz.ErrUnauthenticated:     "unauthenticated",
		authz.ErrAmbiguous:           "unauthenticated",
		authz.ErrIssuerUnavailable:   "issuer_unavailable",
		authz.ErrBusy:                "overloaded",
		authz.ErrDenied:              "denied",
		directory.ErrDisabled:        "denied",
		directory.ErrNoCredential:    "no_credential",
		directory.ErrUnavailable:     "directory_unavailable",
		telnyx.ErrCredentialRejected: "credential_rejected",
		telnyx.ErrKeyRejected:        "upstream_rejected",
		telnyx.ErrBadAnswer:          "upstream_rejected",
		telnyx.ErrLimited:            "upstream_limited",
		telnyx.ErrTimeout:            "upstream_timeout",
		telnyx.ErrUnavailable:        "upstream_unavailable",
		vending.ErrBusy:              "overloaded",
		audit.ErrUnavailable:         "audit_unavailable",
	}
	for err, want := range expected {
		if got := OutcomeOf(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
		if err == nil {
			continue
		}
		if got := OutcomeOf(fmt.Errorf("while asking: %w", err)); got != want {
			t.Errorf("%v, wrapped, is %s, want %s", err, got, want)
		}
	}
	for _, m := range meanings {
		if _, listed := expected[m.err]; !listed {
			t.Errorf("%v has a meaning that no row here expects", m.err)
		}
	}
	if got := OutcomeOf(fmt.Errorf("%w: %w", authz.ErrIssuerUnavailable, context.Canceled)); got != Canceled {
		t.Errorf("a caller who left while keys were fetched is %s", got)
	}
}

func TestEveryRefusalIsToldInASentence(t *testing.T) {
	said := make(map[string]string)
	sentence := func(what, text string) {
		if !strings.HasSuffix(text, ".") || len(text) < len("Not now.") {
			t.Errorf("%s: %q is no sentence", what, text)
		}
		if other, twice := said[text]; twice {
			t.Errorf("%s and %s are both told %q", what, other, text)
		}
		said[text] = what
	}
	for outcome, told := range refusals {
		sentence(string(outcome), told.detail)
		if told.title == "" || told.status < 400 || told.status > 599 {
			t.Errorf("%s has the title %q and the status %d", outcome, told.title, told.status)
		}
	}
	for _, s := range sentences {
		sentence(s.err.Error(), DetailOf(s.err))
	}
	for _, r := range authz.Reasons {
		err := &authz.InvalidError{Reason: r}
		if got := OutcomeOf(err); got != InvalidToken {
			t.Errorf("the reason %s is %s", r, got)
		}
		sentence("the reason "+string(r), DetailOf(err))
	}
}

func TestRetryAfterIsWhatTelnyxSays(t *testing.T) {
	limited := &telnyx.Error{Kind: telnyx.ErrLimited, RetryAfter: 17 * time.Second}
	if got := retryOf(limited); got != 17*time.Second {
		t.Errorf("retry after %v, want 17 s", got)
	}
	rejected := &telnyx.Error{Kind: telnyx.ErrCredentialRejected, RetryAfter: 17 * time.Second}
	if got := retryOf(rejected); got != 0 {
		t.Errorf("a rejected credential is retried after %v", got)
	}
	for d, want := range map[time.Duration]int{0: 0, 1: 1, time.Second: 1, time.Second + 1: 2} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v is %d whole seconds, want %d", d, got, want)
		}
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"device":"desk"}`))
	f.Add([]byte(`{"device":"a","device":"b/c"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tokenRoute, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		want, err := wantedInBody(httptest.NewRecorder(), r)
		if err != nil && OutcomeOf(err) != BadRequest && OutcomeOf(err) != TooLarge {
			t.Fatalf("%q: %v", body, err)
		}
		if err == nil && (want.byID || want.device == "" || strings.ContainsAny(string(want.device), "/ \n")) {
			t.Fatalf("%q asks for %+v", body, want)
		}
	})
}

func FuzzAccept(f *testing.F) {
	f.Add("text/plain;q=0.5, */*")
	f.Fuzz(func(_ *testing.T, accept string) { prefersText([]string{accept}) })
}

func FuzzContentType(f *testing.F) {
	f.Add("application/json; charset=utf-8")
	f.Add("APPLICATION/JSON ;a=b;c=\"d;e\"")
	f.Add("application/json/x")
	f.Add("text/plain; x=application/json")
	f.Fuzz(func(t *testing.T, contentType string) {
		media, _, _ := strings.Cut(contentType, ";")
		if isJSON(contentType) && !strings.EqualFold(strings.TrimSpace(media), "application/json") {
			t.Fatalf("%q is taken for JSON", contentType)
		}
	})
}
