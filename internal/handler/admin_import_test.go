package handler_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	csvList    = "text/csv"
	ndjsonList = "application/x-ndjson"
)

type report struct {
	Created, Updated, Unchanged, Failed int

	Errors []struct {
		Line    int
		Problem string
	}
	Truncated bool `json:"errors_truncated"`
}

// counts are the numbers, and the lines that failed.
func (r report) counts() []int {
	all := []int{r.Created, r.Updated, r.Unchanged, r.Failed}
	for _, e := range r.Errors {
		all = append(all, e.Line)
	}
	return all
}

func (o *office) load(query, contentType string, list io.Reader) told {
	o.t.Helper()
	return o.send("POST", "/import"+query, list, "Authorization", "Bearer "+adminToken, "Content-Type", contentType)
}

func TestWhatBecomesOfAList(t *testing.T) {
	const header = "user,name,device,credential_id\n"
	for name, row := range map[string]struct {
		query, contentType, list string
		want                     []int // created, updated, unchanged, failed, and the lines that did
		users                    int   // afterwards, with bob who was there
	}{
		"CSV":                       {"", csvList, header + "alice,Alice,desk," + one + "\nalice,,mobile," + two + "\ncarol,Carol,,\n", []int{3, 0, 0, 0}, 3},
		"CSV with a charset":        {"", csvList + "; charset=utf-8", header + "alice,Alice,,\n", []int{1, 0, 0, 0}, 2},
		"with a byte order mark":    {"", csvList, "\xEF\xBB\xBF" + header + "alice,Alice,,\n", []int{1, 0, 0, 0}, 2},
		"with CRLF":                 {"", csvList, strings.ReplaceAll(header+"alice,Alice,,\ncarol,Carol,,\n", "\n", "\r\n"), []int{2, 0, 0, 0}, 3},
		"without its last line end": {"", csvList, header + "alice,Alice,,", []int{1, 0, 0, 0}, 2},
		"NDJSON":                    {"", ndjsonList, `{"user":"alice","credential_id":"` + one + `"}` + "\n\n" + `{"user":"bob","name":"Robert"}` + "\n", []int{1, 1, 0, 0}, 2},
		"nobody":                    {"", ndjsonList, "", []int{0, 0, 0, 0}, 1},
		"a header alone":            {"", csvList, header, []int{0, 0, 0, 0}, 1},
		"what is there already":     {"", csvList, header + "bob,Bob,desk," + three + "\n", []int{0, 0, 1, 0}, 1},
		"bad lines among good":      {"", csvList, header + "alice,,,\n,,,\ncarol,,desk,KEY-marked\ndave,,desk," + three + "\nerin,,desk," + one + "\n", []int{2, 0, 0, 3, 3, 4, 5}, 3},
		"one user's device twice":   {"", csvList, header + "alice,,desk," + one + "\nalice,,desk," + two + "\n", []int{1, 0, 0, 1, 3}, 2},
		"one credential twice":      {"", csvList, header + "alice,,desk," + one + "\ncarol,,desk," + one + "\n", []int{1, 0, 0, 1, 3}, 2},
		"atomic":                    {"?atomic=true", csvList, header + "alice,,,\ncarol,,,\n", []int{2, 0, 0, 0}, 3},
		"atomic, with a bad line":   {"?atomic=true", csvList, header + "alice,,,\n,,,\n", []int{0, 0, 0, 1, 3}, 1},
		"atomic, with one taken":    {"?atomic=true", csvList, header + "alice,,,\ncarol,,desk," + three + "\n", []int{0, 0, 0, 1, 3}, 1},
		"dry":                       {"?dry_run=true", csvList, header + "alice,,,\nbob,Robert,,\n,,,\n", []int{1, 1, 0, 1, 4}, 1},
		"dry and atomic":            {"?dry_run=true&atomic=true", csvList, header + "alice,,,\n", []int{1, 0, 0, 0}, 1},
		"dry, atomic, a bad line":   {"?dry_run=true&atomic=true", csvList, header + "alice,,,\n,,,\n", []int{0, 0, 0, 1, 3}, 1},
		"wet":                       {"?dry_run=false&atomic=false", csvList, header + "alice,,,\n", []int{1, 0, 0, 0}, 2},
		"a line of 10 MB":           {"", csvList, header + "alice,,,\nx" + strings.Repeat("marked", 10<<20/6) + ",,,\ncarol,,,\n", []int{2, 0, 0, 1, 3}, 3},
		"an object of 10 MB":        {"", ndjsonList, `{"user":"alice"}` + "\n" + `{"user":"` + strings.Repeat("marked", 10<<20/6) + `"}` + "\n", []int{1, 0, 0, 1, 2}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			o := openOffice(t, nil)
			o.expect("PUT", "/users/bob", `{"name":"Bob"}`, 201, "")
			o.expect("PUT", "/users/bob/devices/desk", `{"credential_id":"`+three+`"}`, 201, "")
			got := o.load(row.query, row.contentType, strings.NewReader(row.list))
			if got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if r := decode[report](t, got.body); !reflect.DeepEqual(r.counts(), row.want) || r.Truncated {
				t.Errorf("got %s, want %v", got.body, row.want)
			}
			users, _, err := o.store.Users(t.Context(), store.List{})
			o.must(err)
			if len(users) != row.users {
				t.Errorf("%d users, want %d: %v", len(users), row.users, users)
			}
			if strings.Contains(got.body+o.log.String(), "marked") {
				t.Errorf("what was sent is repeated: %.500s", got.body)
			}
		})
	}
}

func TestAListThatCannotBeReadChangesNothing(t *testing.T) {
	o := openOffice(t, nil)
	const marked = "marked-KEY0123"
	for name, row := range map[string]struct {
		query, contentType, list string
		status                   int
		says                     string
	}{
		"no header":         {"", csvList, "alice," + marked + "\n", 400, "The list cannot be read: the first line must name the columns"},
		"an unknown column": {"", csvList, "user," + marked + "\nalice,x\n", 400, "column 2"},
		"no user column":    {"", csvList, "name\nAlice\n", 400, "the column user is missing"},
		"semicolons":        {"", csvList, "user;name\nalice;Alice\n", 400, "commas"},
		"nothing":           {"", csvList, "", 400, "there is none"},
		"JSON":              {"", "application/json", `[{"user":"alice"}]`, 415, "text/csv or application/x-ndjson"},
		"no type":           {"", "", "user\nalice\n", 415, "text/csv or application/x-ndjson"},
		"a form":            {"", "multipart/form-data; boundary=x", "user\nalice\n", 415, "text/csv or application/x-ndjson"},
		"an odd parameter":  {"?atomic=1", csvList, "user\nalice\n", 400, "atomic is true or false."},
		"an unknown one":    {"?dryrun=true", csvList, "user\nalice\n", 400, "dry_run"},
		"too long":          {"", csvList, "user\nalice\n" + strings.Repeat("\n", 16<<20), 413, "A list has at most 16 MiB: send it in parts."},
	} {
		got := o.load(row.query, row.contentType, strings.NewReader(row.list))
		if got.status != row.status || !strings.Contains(got.detail, row.says) || strings.Contains(got.body, marked) {
			t.Errorf("%s: %d %s, want %d %s", name, got.status, got.body, row.status, row.says)
		}
	}
	chunks := io.MultiReader(strings.NewReader("user\nalice\n"), strings.NewReader(strings.Repeat("\n", 16<<20))) // of no length that is known before
	if got := o.load("", csvList, chunks); got.status != 413 {
		t.Errorf("too long, in chunks: %d %s", got.status, got.body)
	}
	if got := o.send("POST", "/import", strings.NewReader("user\nalice\n"), "Content-Type", csvList); got.code != "unauthenticated" {
		t.Errorf("nobody's: %d %s", got.status, got.body)
	}
	if strings.Contains(o.log.String(), marked) {
		t.Error("what was sent is logged")
	}
	o.expect("GET", "/users", "", 200, `"users":[]`)
	o.expect("GET", "/events", "", 200, `"events":[]`)
}

func TestOnlySoManyErrorsAreTold(t *testing.T) {
	o := openOffice(t, nil)
	r := decode[report](t, o.load("", csvList, strings.NewReader("user\n"+strings.Repeat("\" \"\n", 1500))).body)
	if r.Failed != 1500 || len(r.Errors) != 1000 || !r.Truncated || r.Errors[999].Line != 1001 {
		t.Errorf("%d failed, of which %d are told", r.Failed, len(r.Errors))
	}
}

func TestALongListIsTakenInBatches(t *testing.T) {
	var told []string
	o := openOffice(t, func(c *handler.AdminConfig) { c.Changed = func(user string) { told = append(told, user) } })
	var list strings.Builder
	list.WriteString("user,credential_id\n")
	const users = 2*store.MaxBatch + 500
	for i := range users {
		fmt.Fprintf(&list, "user-%d,%08d-1111-4111-8111-111111111111\n", i, i)
	}
	r := decode[report](t, o.load("?dry_run=true", csvList, strings.NewReader(list.String())).body)
	if r.Created != users || len(told) != 0 {
		t.Errorf("dry: %+v, told of %q", r.counts(), told)
	}
	r = decode[report](t, o.load("", csvList, strings.NewReader(list.String())).body)
	if r.Created != users || !reflect.DeepEqual(told, []string{""}) {
		t.Errorf("%+v, told of %q", r.counts(), told)
	}
	if r = decode[report](t, o.load("?atomic=true", csvList, strings.NewReader(list.String())).body); r.Unchanged != users {
		t.Errorf("again: %+v", r.counts())
	}
	events, err := o.store.Events(t.Context(), store.EventList{Limit: 1})
	o.must(err)
	if len(events) != 1 || events[0].By.Actor != "admin token" || events[0].By.RequestID == "" {
		t.Errorf("the books say %+v", events)
	}
}

// The body of an import that stops half-way changes nothing, and whoever stays
// connected is told.
func TestAListThatEndsEarlyChangesNothing(t *testing.T) {
	o := openOffice(t, nil)
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(o.url, "http://"))
	o.must(err)
	defer connection.Close()
	fmt.Fprintf(connection, "POST /admin/v1/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n\r\nuser\nalice\n", adminToken)
	o.must(connection.(*net.TCPConn).CloseWrite())
	res, err := http.ReadResponse(bufio.NewReader(connection), nil)
	o.must(err)
	defer res.Body.Close()
	if res.StatusCode != 400 && res.StatusCode != 499 {
		t.Errorf("answered %d", res.StatusCode)
	}
	o.expect("GET", "/users", "", 200, `"users":[]`)
}

func TestAListHasMoreTimeThanOtherRequests(t *testing.T) {
	o := openOffice(t, nil)
	ops := handler.NewOps(nil, o.registry)
	ops.Administer(o.admin)
	const usual = 200 * time.Millisecond
	server := httptest.NewUnstartedServer(ops)
	server.Config.ReadTimeout, server.Config.WriteTimeout = usual, usual
	server.Start()
	t.Cleanup(server.Close)
	o.url = server.URL
	slowly := func(first, second string) io.Reader {
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, first)
			<-time.After(2 * usual)
			_, _ = io.WriteString(w, second)
			_ = w.Close()
		}()
		return r
	}
	if got := o.load("", csvList, slowly("user\nalice\n", "bob\n")); got.status != 200 || !strings.Contains(got.body, `"created":2`) {
		t.Errorf("a slow list: %d %s", got.status, got.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), "PUT", o.url+"/admin/v1/users/carol", slowly(`{"name":`, `"Carol"}`))
	o.must(err)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	if res, err := o.client.Do(req); err == nil { // there may be just time enough to say so
		defer res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("a slow change is answered %d", res.StatusCode)
		}
	}
	if _, err := o.store.User(t.Context(), "main:carol"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("and made: %v", err)
	}
}

// Each list is kept whole while it is read, so there are not many at once. Other
// requests have room of their own.
func TestListsAtOnceAreFew(t *testing.T) {
	asked := make(chan struct{}, 10)
	o := openOffice(t, func(c *handler.AdminConfig) {
		c.Token = func() secret.Text { asked <- struct{}{}; return secret.New(adminToken) }
	})
	answers := make(chan told)
	var ends []*io.PipeWriter
	for range 2 {
		r, w := io.Pipe()
		ends = append(ends, w)
		go func() { answers <- o.load("", csvList, r) }()
		<-asked
	}
	if got := o.load("", csvList, strings.NewReader("user\nalice\n")); got.code != "overloaded" {
		t.Errorf("a third is answered %d %s", got.status, got.body)
	}
	o.expect("GET", "/users", "", 200, `"users":[]`)
	for _, w := range ends {
		io.WriteString(w, "user\nalice\n")
		w.Close()
		if got := <-answers; got.status != 200 {
			t.Errorf("one of two is answered %d %s", got.status, got.body)
		}
	}
}
