package handler_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func TestALifeInTheDirectory(t *testing.T) {
	var changed []string
	o := openOffice(t, func(c *handler.AdminConfig) { c.Changed = func(user string) { changed = append(changed, user) } })
	o.expect("GET", "/users/alice", "", 404, `"code":"not_found"`)
	o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+one+`"}`, 404, `"code":"not_found"`)
	if got := o.expect("PUT", "/users/alice", `{"name":"Alice Ng"}`, 201, `"user":"main:alice","name":"Alice Ng","disabled":false`); got.etag != `"1"` {
		t.Errorf("the ETag is %s", got.etag)
	}
	if got := o.expect("PUT", "/users/main:alice", `{"name":"Alice Ng"}`, 200, `"version":1,"devices":[]`); got.etag != `"1"` {
		t.Errorf("the same again has the ETag %s", got.etag)
	}
	got := o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+strings.ToUpper(one)+`","sip_username":"gencred1"}`, 201,
		`"device":"desk","credential_id":"`+one+`","sip_username":"gencred1","provisioned":false`)
	again := o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+one+`","sip_username":"gencred1"}`, 200, one)
	if got.etag == `"1"` || again.etag != got.etag {
		t.Errorf("a device has the ETag %s, and again %s", got.etag, again.etag)
	}
	o.expect("GET", "/users/alice/devices", "", 200, one)
	o.expect("GET", "/users/alice/devices/desk", "", 200, one)
	o.expect("GET", "/users/alice/devices/mobile", "", 404, "not_found")
	o.expect("GET", "/credentials/"+one, "", 200, `"user":"main:alice"`)
	o.expect("GET", "/credentials/"+two, "", 404, "not_found")
	u := decode[userSeen](t, o.expect("GET", "/users/alice", "", 200, one).body)
	if len(u.Devices) != 1 || u.Devices[0].LastVendedAt != nil || u.DisabledAt != nil || u.CreatedAt.Location() != time.UTC || time.Since(u.CreatedAt) > time.Minute {
		t.Errorf("got %+v", u)
	}
	o.expect("POST", "/users/alice/disable", "", 200, `"disabled":true,"disabled_at":"`)
	o.expect("POST", "/users/alice/disable", "", 200, `"devices":[]`)
	o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+two+`"}`, 409, "The user is disabled, and can have no credential until enabled.")
	o.expect("POST", "/users/alice/enable", "", 200, `"disabled":false`)
	o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+one+`"}`, 409, "The credential is about to be deleted at Telnyx.")
	o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+two+`"}`, 201, two)
	if got := o.expect("DELETE", "/users/alice/devices/desk?keep_credential=true", "", 204, ""); got.body != "" || got.header.Get("Content-Type") != "" {
		t.Errorf("nothing to say is %q", got.body)
	}
	o.expect("DELETE", "/users/alice/devices/desk", "", 404, "not_found")
	o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+two+`"}`, 201, two) // it was kept
	o.expect("DELETE", "/users/alice", "", 204, "")
	o.expect("DELETE", "/users/alice", "", 404, "not_found")
	o.expect("POST", "/users/alice/disable", "", 404, "not_found")

	events := o.expect("GET", "/events?user=alice&limit=2", "", 200, `"action":"user_removed"`)
	seen := decode[struct {
		Events []struct {
			Number                      int64
			At                          time.Time
			Actor, Action, User, Device string
			RequestID                   string `json:"request_id"`
			Credential                  string `json:"credential_id"`
			Detail                      string
		}
	}](t, events.body).Events
	if len(seen) != 2 || seen[0].Actor != "admin token" || seen[0].Number != seen[1].Number+1 || seen[1].Credential != two {
		t.Errorf("got %+v", seen)
	}
	o.expect("GET", fmt.Sprintf("/events?before=%d", seen[1].Number), "", 200, `"action":"credential_assigned"`)
	o.expect("GET", "/events?before=1", "", 200, `"events":[]`)
	for _, user := range changed {
		if user != "main:alice" {
			t.Errorf("told that %q has changed", user)
		}
	}
	if len(changed) != 11 {
		t.Errorf("told of %d changes", len(changed))
	}
}

func TestWhatTelnyxAndTheBooksKnowOfADeviceIsShown(t *testing.T) {
	o := openOffice(t, nil)
	at := time.Date(2031, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	o.expect("PUT", "/users/alice", `{}`, 201, `"name":""`)
	id, err := telnyx.ParseCredentialID(one)
	o.must(err)
	_, _, err = o.store.Assign(t.Context(), store.By{Actor: "login"}, "main:alice", "desk", store.Assignment{ID: id, ExpiresAt: at}, store.Match{})
	o.must(err)
	o.expect("GET", "/users/alice/devices/desk", "", 200, `"expires_at":"2031-02-03T03:05:06Z"`)
}

func TestAUserKeyIsOnePartOfThePath(t *testing.T) {
	o := openOffice(t, nil)
	for _, value := range []string{
		"alice", "a/b", "/", "a/devices/desk", "a:b", "main", "50%", "%2F", "a b", "ä@ü", "..", ".", "?x#y", "+", strings.Repeat("a", directory.MaxUserValue), "disable",
	} {
		for _, path := range []string{"/users/" + encoded(value), "/users/main:" + encoded(value), "/users/main%3a" + encoded(value)} {
			got := o.do("PUT", path, `{"name":"x"}`)
			if got.status != 201 && got.status != 200 {
				t.Errorf("%s: %d %s", path, got.status, got.body)
				continue
			}
			if u := decode[userSeen](t, got.body); u.User != "main:"+value {
				t.Errorf("%s is %q", path, u.User)
			}
			o.expect("GET", path+"/devices", "", 200, `"devices":[]`)
		}
	}
	for name, segment := range map[string]string{
		"300 bytes": strings.Repeat("a", 300), "NUL": "a%00b", "a line's end": "a%0Ab", "an escape": "%1b[31m", "not UTF-8": "%ff",
		"a space before": "%20a", "a space": "%20", "an override": "a%E2%80%AEb", "a zero-width space": "%E2%80%8B",
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			got := o.do(method, "/users/"+segment, `{}`)
			if got.status != 400 || got.code != "bad_request" {
				t.Errorf("%s %s: %d %s", method, name, got.status, got.body)
			}
		}
	}
	for _, path := range []string{"/users/", "/users//devices", "/users/a/b", "/users/a/devices/desk/x", "/", ""} {
		if got := o.do("GET", path, ""); got.status != 404 {
			t.Errorf("%q: %d %s", path, got.status, got.body)
		}
	}
}

// encoded is a text as one part of a path, dots and all.
func encoded(text string) string { return strings.ReplaceAll(url.PathEscape(text), ".", "%2E") }

func TestWithSeveralIssuersAUserKeyNamesOne(t *testing.T) {
	o := openOffice(t, func(c *handler.AdminConfig) { c.Issuers = []string{"main", "acme"} })
	o.expect("PUT", "/users/acme:bob", `{}`, 201, `"acme:bob"`)
	o.expect("PUT", "/users/bob", `{}`, 400, "bad_request")
	o.expect("PUT", "/users/other:bob", `{}`, 400, "bad_request")
	o.expect("GET", "/events?user=bob", "", 400, "bad_request")
}

func TestWhatIsAskedForMustBeInOrder(t *testing.T) {
	o := openOffice(t, nil)
	o.expect("PUT", "/users/alice", `{"name":"Alice"}`, 201, "")
	o.expect("PUT", "/users/bob", `{}`, 201, "")
	o.expect("PUT", "/users/bob/devices/desk", `{"credential_id":"`+two+`"}`, 201, "")
	const marked = "marked-KEY0123"
	long := strings.Repeat("a", 257)
	for _, row := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"PUT", "/users/alice", `{"name":"Alice","Name":"x"}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"` + marked + `":"x"}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"disabled":true}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":"a","name":"b"}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":null}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":7}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":"` + long + `"}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":"` + marked + `\n"}`, 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":"\u0000"}`, 400, "bad_request"},
		{"PUT", "/users/alice", "{\"name\":\"\xff\"}", 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":"\ud800"}`, 400, "bad_request"},
		{"PUT", "/users/alice", `null`, 400, "bad_request"},
		{"PUT", "/users/alice", `[]`, 400, "bad_request"},
		{"PUT", "/users/alice", `{} {}`, 400, "bad_request"},
		{"PUT", "/users/alice", marked, 400, "bad_request"},
		{"PUT", "/users/alice", `{"name":"` + strings.Repeat(" ", 4096) + `"}`, 413, "too_large"},
		{"PUT", "/users/alice/devices/desk", `{}`, 400, "bad_request"},
		{"PUT", "/users/alice/devices/desk", `{"credential_id":""}`, 400, "bad_request"},
		{"PUT", "/users/alice/devices/desk", `{"credential_id":"` + marked + `"}`, 400, "bad_request"},
		{"PUT", "/users/alice/devices/desk", `{"credential_id":"` + two + `"}`, 409, "conflict"},
		{"PUT", "/users/bob/devices/mobile", `{"credential_id":"` + two + `"}`, 409, "conflict"},
		{"PUT", "/users/alice/devices/desk", `{"credential_id":"` + three + `","sip_username":"` + long + `"}`, 400, "bad_request"},
		{"PUT", "/users/alice/devices/desk", `{"credential_id":"` + three + `","sip_username":"` + marked + `\t"}`, 400, "bad_request"},
		{"PUT", "/users/alice/devices/Desk", `{"credential_id":"` + three + `"}`, 400, "bad_request"},
		{"PUT", "/users/alice/devices/a%2Fb", `{"credential_id":"` + three + `"}`, 400, "bad_request"},
		{"GET", "/credentials/" + marked, "", 400, "bad_request"},
		{"GET", "/credentials/" + one + "0", "", 400, "bad_request"},
		{"GET", "/users?limit=0", "", 400, "bad_request"},
		{"GET", "/users?limit=1001", "", 400, "bad_request"},
		{"GET", "/users?limit=-1", "", 400, "bad_request"},
		{"GET", "/users?limit=", "", 400, "bad_request"},
		{"GET", "/users?limit=1&limit=2", "", 400, "bad_request"},
		{"GET", "/users?limit=99999999999999999999", "", 400, "bad_request"},
		{"GET", "/users?cursor=%25", "", 400, "bad_request"},
		{"GET", "/users?cursor=AAAA", "", 400, "bad_request"},
		{"GET", "/users?search=%00", "", 400, "bad_request"},
		{"GET", "/users?search=" + strings.Repeat("a", 301), "", 400, "bad_request"},
		{"GET", "/users?" + marked + "=1", "", 400, "bad_request"},
		{"GET", "/users?a;b", "", 400, "bad_request"},
		{"GET", "/credentials?cursor=AAAA", "", 400, "bad_request"},
		{"GET", "/events?before=0", "", 400, "bad_request"},
		{"GET", "/events?before=x", "", 400, "bad_request"},
		{"GET", "/events?user=%00", "", 400, "bad_request"},
		{"DELETE", "/users/alice?keep_credential=yes", "", 400, "bad_request"},
		{"DELETE", "/users/alice?keep=true", "", 400, "bad_request"},
	} {
		got := o.do(row.method, row.path, row.body)
		if got.status != row.status || got.code != row.code {
			t.Errorf("%s %.60s %.80s: %d %s, want %d %s", row.method, row.path, row.body, got.status, got.body, row.status, row.code)
		}
		if strings.Contains(got.body, marked) {
			t.Errorf("%s %s %s: what was sent is repeated: %s", row.method, row.path, row.body, got.body)
		}
	}
	if strings.Contains(o.log.String(), marked) {
		t.Error("what was sent is logged")
	}
	o.expect("GET", "/users/alice", "", 200, `"name":"Alice"`)
	for contentType, body := range map[string]string{"": `{}`, "text/plain": `{}`, "application/x-www-form-urlencoded": "name=x"} {
		got := o.send("PUT", "/users/alice", strings.NewReader(body), "Authorization", "Bearer "+adminToken, "Content-Type", contentType)
		if got.status != 415 {
			t.Errorf("%s: %d %s", contentType, got.status, got.body)
		}
	}
}

func TestAnotherMethodIsToldWhichWould(t *testing.T) {
	o := openOffice(t, nil)
	for _, row := range []struct{ method, path, allow string }{
		{"POST", "/users", "GET"}, {"POST", "/users/a%2Fb", "GET, PUT, DELETE"}, {"PATCH", "/users/alice", "GET, PUT, DELETE"},
		{"GET", "/users/alice/disable", "POST"}, {"PUT", "/users/alice/enable", "POST"}, {"DELETE", "/users/alice/devices", "GET"},
		{"POST", "/users/alice/devices/desk", "GET, PUT, DELETE"}, {"DELETE", "/credentials/" + one, "GET"}, {"GET", "/import", "POST"}, {"DELETE", "/events", "GET"},
	} {
		got := o.do(row.method, row.path, "")
		if allow := strings.Join(got.header.Values("Allow"), ", "); got.status != 405 || allow != row.allow {
			t.Errorf("%s %s: %d, Allow: %s, want %s", row.method, row.path, got.status, allow, row.allow)
		}
	}
}

func TestListsGoOnWhereTheyEnded(t *testing.T) {
	o := openOffice(t, nil)
	const users = 7
	ids := make(map[string]bool)
	for i := range users {
		o.expect("PUT", fmt.Sprintf("/users/user-%d%%2F%%25", i), fmt.Sprintf(`{"name":"No. %d"}`, i), 201, "")
		id := fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)
		ids[id] = true
		o.expect("PUT", fmt.Sprintf("/users/user-%d%%2F%%25/devices/desk", i), `{"credential_id":"`+id+`"}`, 201, "")
	}
	type page struct {
		Users       []userSeen
		Credentials []deviceSeen
		Next        string `json:"next_cursor"`
	}
	walk := func(path string) (pages, users, credentials int) {
		cursor := ""
		for pages < 100 {
			p := decode[page](t, o.expect("GET", path+cursor, "", 200, "").body)
			pages, users, credentials = pages+1, users+len(p.Users), credentials+len(p.Credentials)
			for _, c := range p.Credentials {
				if !ids[c.Credential] || !strings.HasPrefix(c.User, "main:user-") {
					t.Errorf("got %+v", c)
				}
			}
			if p.Next == "" {
				return
			}
			cursor = "&cursor=" + p.Next
		}
		return
	}
	if pages, n, _ := walk("/users?limit=3"); pages != 3 || n != users {
		t.Errorf("%d users in %d pages", n, pages)
	}
	if pages, n, _ := walk("/users?limit=7"); pages != 1 || n != users {
		t.Errorf("%d users in %d pages", n, pages)
	}
	if pages, _, n := walk("/credentials?limit=2"); pages != 4 || n != users {
		t.Errorf("%d credentials in %d pages", n, pages)
	}
	for search, want := range map[string]int{"USER-3": 1, "no.": users, "No. 5": 1, "%25": users, "_": 0, "nobody": 0} {
		if _, n, _ := walk("/users?search=" + url.QueryEscape(strings.ReplaceAll(search, "%25", "%"))); n != want {
			t.Errorf("%q finds %d, want %d", search, n, want)
		}
	}
}

func TestAChangeIsMadeOnItsCondition(t *testing.T) {
	const (
		put    = `{"name":"Other"}`
		assign = `{"credential_id":"22222222-2222-4222-8222-N"}`
	)
	// alice is there, with a credential for desk. NOW is the user's version, and WAS
	// the one before.
	o := openOffice(t, nil)
	n := 0
	for name, row := range map[string]struct {
		method, path, body, header, value string
		status                            int
	}{
		"as it is":                             {"PUT", "/users/alice", put, "If-Match", `"NOW"`, 200},
		"as it was":                            {"PUT", "/users/alice", put, "If-Match", `"WAS"`, 412},
		"as it will be":                        {"PUT", "/users/alice", put, "If-Match", `"999999"`, 412},
		"one of them":                          {"PUT", "/users/alice", put, "If-Match", `"WAS", "NOW"`, 200},
		"none of them":                         {"PUT", "/users/alice", put, "If-Match", `"WAS","999999"`, 412},
		"one of them, of a user who is not":    {"PUT", "/users/bob", put, "If-Match", `"WAS","999999"`, 412},
		"any":                                  {"PUT", "/users/alice", put, "If-Match", `*`, 200},
		"any, of a user who is not":            {"PUT", "/users/bob", put, "If-Match", `*`, 412},
		"a new one":                            {"PUT", "/users/bob", put, "If-None-Match", `*`, 201},
		"a new one who is there":               {"PUT", "/users/alice", put, "If-None-Match", `*`, 412},
		"another's tag":                        {"PUT", "/users/alice", put, "If-Match", `"abc"`, 412},
		"nearly the tag":                       {"PUT", "/users/alice", put, "If-Match", `"0NOW"`, 412},
		"an empty tag":                         {"PUT", "/users/alice", put, "If-Match", `""`, 412},
		"a large tag":                          {"PUT", "/users/alice", put, "If-Match", `"99999999999999999999"`, 412},
		"a weak tag":                           {"PUT", "/users/alice", put, "If-Match", `W/"NOW"`, 400},
		"no tag":                               {"PUT", "/users/alice", put, "If-Match", ``, 400},
		"without quotes":                       {"PUT", "/users/alice", put, "If-Match", `NOW`, 400},
		"an open quote":                        {"PUT", "/users/alice", put, "If-Match", `"NOW`, 400},
		"tags without a comma":                 {"PUT", "/users/alice", put, "If-Match", `"NOW""3"`, 400},
		"any and a tag":                        {"PUT", "/users/alice", put, "If-Match", `*, "NOW"`, 400},
		"none of these tags":                   {"PUT", "/users/alice", put, "If-None-Match", `"NOW"`, 400},
		"disable as it is":                     {"POST", "/users/alice/disable", "", "If-Match", `"NOW"`, 200},
		"disable as it was":                    {"POST", "/users/alice/disable", "", "If-Match", `"WAS"`, 412},
		"enable as it was":                     {"POST", "/users/alice/enable", "", "If-Match", `"WAS"`, 412},
		"disable whoever is not there":         {"POST", "/users/alice/disable", "", "If-None-Match", `*`, 412},
		"remove as it is":                      {"DELETE", "/users/alice", "", "If-Match", `"NOW"`, 204},
		"remove as it was":                     {"DELETE", "/users/alice", "", "If-Match", `"WAS"`, 412},
		"a device of a user as it is":          {"PUT", "/users/alice/devices/mobile", assign, "If-Match", `"NOW"`, 201},
		"a device of a user as it was":         {"PUT", "/users/alice/devices/desk", assign, "If-Match", `"WAS"`, 412},
		"a device that has something":          {"PUT", "/users/alice/devices/desk", assign, "If-Match", `*`, 201},
		"a device that has nothing":            {"PUT", "/users/alice/devices/mobile", assign, "If-Match", `*`, 412},
		"a new device":                         {"PUT", "/users/alice/devices/mobile", assign, "If-None-Match", `*`, 201},
		"a new device that is not":             {"PUT", "/users/alice/devices/desk", assign, "If-None-Match", `*`, 412},
		"a new device of nobody's":             {"PUT", "/users/bob/devices/desk", assign, "If-None-Match", `*`, 404},
		"take a device away as it was":         {"DELETE", "/users/alice/devices/desk", "", "If-Match", `"WAS"`, 412},
		"take a device away":                   {"DELETE", "/users/alice/devices/desk", "", "If-Match", `*`, 204},
		"take a device away, of these":         {"DELETE", "/users/alice/devices/desk", "", "If-Match", `"WAS", "NOW"`, 204},
		"take a device away, by its weak tag":  {"DELETE", "/users/alice/devices/desk", "", "If-Match", `W/"NOW"`, 400},
		"take a device away, if there is none": {"DELETE", "/users/alice/devices/desk", "", "If-None-Match", `*`, 412},
	} {
		n++
		number := fmt.Sprintf("%012d", n)
		user := "/users/alice" + number
		was := o.expect("PUT", user, `{"name":"Alice"}`, 201, "").etag
		now := o.expect("PUT", user+"/devices/desk", `{"credential_id":"11111111-1111-4111-8111-`+number+`"}`, 201, "").etag
		value := strings.NewReplacer("NOW", strings.Trim(now, `"`), "WAS", strings.Trim(was, `"`)).Replace(row.value)
		path := strings.NewReplacer("alice", "alice"+number, "bob", "bob"+number).Replace(row.path)
		got := o.do(row.method, path, strings.ReplaceAll(row.body, "-N", "-"+number), row.header, value)
		codes := map[int]string{412: "precondition_failed", 400: "bad_request", 404: "not_found"}
		if got.status != row.status || got.code != codes[row.status] {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, row.status)
		}
		if after := o.do("GET", user, ""); row.status >= 400 && after.etag != now {
			t.Errorf("%s: refused, and the user has changed: %s", name, after.body)
		}
	}
}

func TestBothConditionsAtOnceAreRefused(t *testing.T) {
	o := openOffice(t, nil)
	got := o.do("PUT", "/users/alice", `{}`, "If-Match", `"1"`, "If-None-Match", "*")
	if got.status != 400 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// Two who have read the same must not both write: the second would undo what the
// first did without having seen it.
func TestOfTwoAdminsOnlyOneChangesWhatBothHaveRead(t *testing.T) {
	o := openOffice(t, nil)
	o.expect("PUT", "/users/alice", `{"name":"Alice"}`, 201, "")
	for round := range 20 {
		tag := o.do("GET", "/users/alice", "").etag
		if round%2 == 1 { // or one of several
			tag = `"999999", ` + tag
		}
		answers := make([]told, 2)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				answers[i] = o.do("PUT", "/users/alice", fmt.Sprintf(`{"name":"Alice %d %d"}`, round, i), "If-Match", tag)
			})
		}
		wg.Wait()
		won := answers[0]
		if won.status != http.StatusOK {
			won = answers[1]
		}
		if answers[0].status+answers[1].status != 200+412 {
			t.Fatalf("answered %d and %d", answers[0].status, answers[1].status)
		}
		if now := o.do("GET", "/users/alice", ""); now.body != won.body || now.etag != won.etag {
			t.Errorf("it is %s, and whoever won was told %s", now.body, won.body)
		}
	}
}

func TestADirectoryThatDoesNotAnswerIsTold(t *testing.T) {
	o := openOffice(t, nil)
	o.must(o.store.Close())
	for _, row := range [][3]string{
		{"GET", "/users", ""}, {"GET", "/users/alice", ""}, {"PUT", "/users/alice", "{}"}, {"DELETE", "/users/alice", ""}, {"GET", "/events", ""},
		{"GET", "/credentials", ""}, {"GET", "/credentials/" + one, ""}, {"POST", "/users/alice/disable", ""},
		{"PUT", "/users/alice/devices/desk", `{"credential_id":"` + one + `"}`},
	} {
		got := o.do(row[0], row[1], row[2])
		if got.status != 503 || got.code != "directory_unavailable" || got.header.Get("Retry-After") == "" || strings.Contains(got.body, "sql") {
			t.Errorf("%s %s: %d %s", row[0], row[1], got.status, got.body)
		}
	}
}

// Where all devices use one credential, no other is put down, where nobody would
// ever look for it.
func TestSharedDevicesAreNotNamed(t *testing.T) {
	o := openOffice(t, func(c *handler.AdminConfig) { c.SharedDevices = true })
	o.expect("PUT", "/users/alice", `{}`, 201, "main:alice")
	const sentence = "devices is shared: leave the device out, all devices use one credential. Here that is the device default."
	o.expect("PUT", "/users/alice/devices/desk", `{"credential_id":"`+one+`"}`, 400, sentence)
	o.expect("PUT", "/users/alice/devices/default", `{"credential_id":"`+one+`"}`, 201, one)
}
