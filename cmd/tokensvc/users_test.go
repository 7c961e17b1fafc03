package main

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	deskPhone = "11111111-1111-4111-8111-111111111111"
	cellPhone = "22222222-2222-4222-8222-222222222222"
	thirdOne  = "33333333-3333-4333-8333-333333333333"

	adminToken = "MARKED-admin-token-0123456789-0123456789"
)

// An office is a directory and how to reach it.
type office struct {
	t       *testing.T
	environ []string
	flags   []string
}

// offices are an empty directory each: one that is reached in its database, and
// one by the admin API.
func offices(t *testing.T, settings ...string) map[string]*office {
	t.Helper()
	database := func() []string {
		return inDatabase(append(settings, "TOKENSVC_DIRECTORY=sqlite:"+filepath.Join(t.TempDir(), "books.db"))...)
	}
	behind := database()
	server := httptest.NewServer(adminOf(t, behind))
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	writeKey(t, token, adminToken+"\n")
	return map[string]*office{
		"the database":  {t, database(), nil},
		"the admin API": {t, nil, []string{"-server", server.URL + "/", "-token-file", token}},
	}
}

// adminOf is the ops listener of a service with that directory.
func adminOf(t *testing.T, environ []string) http.Handler {
	t.Helper()
	cfg := mustLoad(t, "", environ...)
	s, err := cfg.openPrepared(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	trail, err := audit.Open(audit.Config{Out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	admin, err := handler.NewAdmin(handler.AdminConfig{
		Store: s, SharedDevices: cfg.Devices.Mode == "shared", Issuers: []string{"main"}, Token: func() secret.Text { return secret.New(adminToken) },
		InFlight: 4, Timeout: cfg.Limits.RequestTimeout, Trail: trail, Metrics: handler.NewMetrics(registry), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ops := handler.NewOps(func() handler.Readiness { return handler.Readiness{} }, registry)
	ops.Administer(admin)
	return ops
}

// in runs `tokensvc users` with the office's flags first.
func (o *office) in(input string, words ...string) ran {
	o.t.Helper()
	args := append(append([]string{"users", words[0]}, o.flags...), words[1:]...)
	var out, errs bytes.Buffer
	status := run(o.t.Context(), terminal{environ: o.environ, in: strings.NewReader(input), out: &out, err: &errs}, args)
	if all := out.String() + errs.String(); strings.Contains(all, adminToken) || strings.Contains(all, "MARKED") {
		o.t.Errorf("tokensvc %s shows a secret:\n%s", args, all)
	}
	return ran{status, out.String(), errs.String()}
}

// users runs it with words from one text.
func (o *office) users(words string) ran {
	o.t.Helper()
	return o.in("", strings.Fields(words)...)
}

var (
	times    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	requests = regexp.MustCompile(`\(request [\w-]+\)`)
)

// wants wants what it prints, with a T for every time, and an ID for a request's.
func (o *office) wants(got ran, status int, lines ...string) {
	o.t.Helper()
	want := strings.Join(lines, "\n")
	if want != "" {
		want += "\n"
	}
	said := requests.ReplaceAllString(times.ReplaceAllString(got.out+got.err, "T"), "(request ID)")
	if got.status != status || said != want {
		o.t.Errorf("status %d and\n%swant %d and\n%s", got.status, said, status, want)
	}
}

func inEveryOffice(t *testing.T, test func(o *office)) {
	t.Helper()
	for way, o := range offices(t) {
		t.Run(way, func(t *testing.T) {
			o.t = t
			test(o)
		})
	}
}

func TestPeopleComeAndGo(t *testing.T) {
	inEveryOffice(t, func(o *office) {
		const head = "DEVICE   CREDENTIAL                            SIP USERNAME  CREATED BY US  EXPIRES  LAST TOKEN"
		o.wants(o.users("add alice -name Alice"), exitOK, "user     main:alice", "name     Alice", "state    enabled", "since    T", "devices  -")
		o.wants(o.users("add -credential "+deskPhone+" main:alice"), exitOK,
			"user     main:alice", "name     Alice", "state    enabled", "since    T", "", head,
			"default  "+deskPhone+"  -             no             -        -")
		o.wants(o.in("", "add", "--", "-b/o?b#"), exitOK, "user     main:-b/o?b#", "name     -", "state    enabled", "since    T", "devices  -")
		o.wants(o.in("", "add", "main:-b/o?b#", "-credential", deskPhone), exitFailed, o.only(
			"main:-b/o?b#: this credential is somebody else's already",
			"main:-b/o?b#: conflict: The credential is another user's, or another device's: take it away from there first. (request ID)"))
		o.users("add alice -device cell -credential " + cellPhone)
		o.wants(o.users("list"), exitOK,
			"USER          NAME   STATE    DEVICES", "main:-b/o?b#  -      enabled  -", "main:alice    Alice  enabled  cell, default")
		o.wants(o.users("list -search ALI -json"), exitOK, fmt.Sprintf(`{"user":"main:alice","name":"Alice","disabled":false,"created_at":"T","version":%d,"devices":[`+
			`{"device":"cell","credential_id":"%s","sip_username":"","provisioned":false,"created_at":"T"},`+
			`{"device":"default","credential_id":"%s","sip_username":"","provisioned":false,"created_at":"T"}]}`, 4, cellPhone, deskPhone))

		o.wants(o.users("remove alice -device desk"), exitFailed, "main:alice has no device desk")
		o.wants(o.users("remove alice -device cell -keep-credentials"), exitOK, "main:alice has lost the device, and nothing is deleted at Telnyx")
		o.wants(o.users("disable alice"), exitOK, "main:alice is disabled: no further token, and the service deletes the user's credentials at Telnyx")
		o.wants(o.users("show alice"), exitOK, "user     main:alice", "name     Alice", "state    disabled since T", "since    T", "devices  -")
		o.wants(o.users("add alice -credential "+thirdOne), exitFailed, o.only(
			"main:alice: the user is disabled: enable first: tokensvc users enable main:alice", "alice: conflict: The user is disabled, and can have no credential until enabled. (request ID)"))
		o.wants(o.users("enable alice"), exitOK, "main:alice is enabled, and has no credential: "+o.only("",
			"the next login creates a credential, if the service does that; otherwise ")+"give one: tokensvc users add main:alice -credential UUID")
		o.wants(o.users("add alice -credential "+deskPhone), exitFailed, o.only(
			"main:alice: this credential is being deleted at Telnyx", "alice: conflict: The credential is about to be deleted at Telnyx. (request ID)"))
		o.in("", "add", "alice", "-name", "")
		o.wants(o.users("remove alice -json"), exitOK, `{"user":"main:alice","removed":true}`)
		for _, command := range []string{"show", "remove", "disable", "enable"} {
			o.wants(o.users(command+" alice"), exitFailed, o.only("main:alice: not in the directory", "alice: not in the directory"))
		}
	})
}

// only is what this office says: two of them see the same error from two sides.
func (o *office) only(database, api string) string {
	if len(o.flags) == 0 {
		return database
	}
	return api
}

func (o *office) actor() string { return o.only(actor(), "admin token") }

func TestTheTrailSaysWhoDidWhat(t *testing.T) {
	inEveryOffice(t, func(o *office) {
		for i := range 3 {
			o.users(fmt.Sprintf("add u%d", i))
		}
		o.users("add u1 -credential " + deskPhone)
		o.users("disable u1")
		var said []string
		for line := range strings.Lines(o.users("events u1 -json").out) {
			var e handler.EventAnswer
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			if e.Actor != o.actor() || e.User != "main:u1" {
				t.Errorf("by %q of %q", e.Actor, e.User)
			}
			said = append(said, fmt.Sprint(e.Number, " ", e.Action, " ", e.Device, " ", e.Credential))
		}
		want := "6 user_disabled  \n5 credential_released default " + deskPhone + "\n4 credential_assigned default " + deskPhone + "\n2 user_created  "
		if got := strings.Join(said, "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if got := o.users("events -limit 2"); strings.Count(got.out, "\n") != 3 || !strings.Contains(got.out, "user_disabled") || strings.Contains(got.out, "assigned") {
			t.Errorf("the newest two: %s", got.out)
		}
		if got := o.users("events -limit 0"); strings.Count(got.out, "\n") != 7 {
			t.Errorf("all: %s", got.out)
		}
	})
}

func (o *office) file(name, list string) string {
	o.t.Helper()
	path := filepath.Join(o.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(list), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

func TestAListIsTakenLineByLine(t *testing.T) {
	inEveryOffice(t, func(o *office) {
		path := o.file("people.csv", "user,name,device,credential_id,disabled\n"+
			"alice,Alice,desk,"+deskPhone+",\nbob,,,,true\nerin,,,"+deskPhone+",\ncarol,,,MARKED,\n\"d\nave\",,,,\n")
		wrong := []string{
			"people.csv:4: the same credential as in line 2",
			"people.csv:5: credential_id must be a UUID: 8-4-4-4-12 hexadecimal digits",
			"people.csv:6: user: a user is 1 to 256 bytes of printable characters, without space around them",
		}
		o.wants(o.in("", "import", path, "-dry-run"), exitFailed,
			append([]string{"2 created, 0 updated, 0 unchanged, 3 failed; nothing was changed (-dry-run)"}, wrong...)...)
		o.wants(o.in("", "import", "-atomic", path), exitFailed, append([]string{"0 created, 0 updated, 0 unchanged, 3 failed; nothing was changed (-atomic)"}, wrong...)...)
		if got := o.users("list -json"); got.status != exitOK || got.out != "" {
			t.Errorf("something is there: %+v", got)
		}
		o.wants(o.in("", "import", path), exitFailed, append([]string{"2 created, 0 updated, 0 unchanged, 3 failed"}, wrong...)...)
		o.wants(o.in("", "import", path, "-json"), exitFailed,
			`{"line":4,"error":"the same credential as in line 2"}`,
			`{"line":5,"error":"credential_id must be a UUID: 8-4-4-4-12 hexadecimal digits"}`,
			`{"line":6,"error":"user: a user is 1 to 256 bytes of printable characters, without space around them"}`,
			`{"created":0,"updated":0,"unchanged":2,"failed":3,"dry_run":false}`)
		o.wants(o.in(`{"user":"bob","disabled":false}`, "import", "-", "-format", "ndjson", "-atomic"), exitOK, "0 created, 1 updated, 0 unchanged, 0 failed")
		const bad = "the first line must name the columns: "
		for list, says := range map[string]string{
			"name\nx\n": bad + "the column user is missing", "user;name\nx;y\n": bad + "there must be commas between them; save as CSV with commas",
		} {
			semi := o.file("semi.csv", list)
			for _, how := range []string{"-dry-run", "-atomic", "-format=csv"} {
				o.wants(o.in("", "import", how, semi), exitFailed, "semi.csv:1: "+says)
			}
			o.wants(o.in(list, "import", "-format", "csv", "-json", "-"), exitFailed, `{"line":1,"error":"`+says+`"}`)
		}
		o.wants(o.in("User,DISABLED\nbob,TRUE\nbob,\n", "import", "-format", "csv", "-dry-run", "-"), exitFailed,
			"0 created, 1 updated, 0 unchanged, 1 failed; nothing was changed (-dry-run)", "stdin:3: the same user and device as in line 2")
		o.users("disable bob")
		o.wants(o.in("user,credential_id\nbob,"+thirdOne+"\n", "import", "-format", "csv", "-"), exitFailed,
			"0 created, 0 updated, 0 unchanged, 1 failed", "stdin:2: the user is disabled: enable first")
		o.users("enable bob")
		o.wants(o.users("list"), exitOK, "USER        NAME   STATE    DEVICES", "main:alice  Alice  enabled  desk", "main:bob    -      enabled  -")
	})
}

func TestAnExportIsAnImport(t *testing.T) {
	for _, format := range []string{"csv", "ndjson"} {
		from, to := offices(t), offices(t)
		for way, o := range from {
			o.t = t
			o.in("", "add", "alice", "-name", `=A "quoted", one`, "-credential", deskPhone)
			o.users("add alice -device cell -credential " + cellPhone)
			o.users("add bob")
			o.users("disable bob")
			exported := o.users("export -format " + format)
			other := to[way]
			other.wants(other.in(exported.out, "import", "-", "-format", format), exitOK, "3 created, 0 updated, 0 unchanged, 0 failed")
			if again := other.users("export -format " + format); again.out != exported.out || exported.status != exitOK || strings.Count(exported.out, "alice") != 2 {
				t.Errorf("%s: exported\n%s, and imported and exported again\n%s", way, exported.out, again.out)
			}
			o.wants(o.in(exported.out, "import", "-", "-format", format), exitOK, "0 created, 0 updated, 3 unchanged, 0 failed")
			o.users("disable alice") // and an old list does not bring her back
			if got := o.in(exported.out, "import", "-", "-format", format); got.status != exitFailed || !strings.Contains(o.users("show alice").out, "disabled since") {
				t.Errorf("%s: %d, %s", way, got.status, got.err)
			}
		}
	}
}

func TestOnlyTheFirstThousandMistakesAreSaid(t *testing.T) {
	for _, o := range offices(t) {
		o.t = t
		if len(o.flags) > 0 { // a service tells of fewer
			continue
		}
		got := o.in("user\n"+strings.Repeat(" x\n", 1234), "import", "-", "-format", "csv")
		if strings.Count(got.err, "\n") != 1001 || !strings.HasSuffix(got.err, "stdin: and 234 lines more\n") || got.out != "0 created, 0 updated, 0 unchanged, 1234 failed\n" {
			t.Errorf("%s%s", got.out, got.err[max(0, len(got.err)-200):])
		}
	}
}

func TestALongListGoesToAServiceInParts(t *testing.T) {
	o := offices(t)["the admin API"]
	o.t = t
	var list strings.Builder
	for i := range 300 {
		fmt.Fprintf(&list, `{"user":"u%d"%s}`+"\n", i, strings.Repeat(" ", 60_000))
		if i == 290 {
			list.WriteString(strings.Repeat("x", 100_000) + "\n[]\n")
		}
	}
	path := o.file("people.jsonl", list.String())
	o.wants(o.in("", "import", "-atomic", path), exitFailed, "0 created, 0 updated, 0 unchanged, 0 failed", errTooLongForOne.Error())
	o.wants(o.in("", "import", path), exitFailed, "300 created, 0 updated, 0 unchanged, 2 failed",
		"people.jsonl:292: longer than 65536 bytes", "people.jsonl:293: must be one JSON object, in which no member stands twice")
}

func TestUsersCommandLines(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	writeKey(t, token, adminToken)
	empty := filepath.Join(t.TempDir(), "empty")
	writeKey(t, empty, "\n")
	o := &office{t: t, environ: inDatabase("TOKENSVC_DIRECTORY=sqlite:" + filepath.Join(t.TempDir(), "books.db"))}
	for _, row := range []struct {
		words  string
		status int
		says   string
	}{
		{"help", exitOK, "tokensvc users COMMAND"},
		{"-h", exitOK, "tokensvc users COMMAND"},
		{"lst", exitUsage, "there is no command of that name"},
		{"list -h", exitOK, "usage: tokensvc users list"},
		{"add -h", exitOK, "the device that it is for; without one, the device \"default\"\n"},
		{"list", exitFailed, "there is no database yet"},
		{"list alice", exitUsage, "usage: tokensvc users list"},
		{"list -nonsense", exitUsage, "not defined: -nonsense"},
		{"show", exitUsage, "usage: tokensvc users show [FLAGS] USER"},
		{"show alice bob", exitUsage, "usage: tokensvc users show"},
		{"add alice -device Desk -credential " + deskPhone, exitUsage, "-device: a device is 1 to 64"},
		{"add alice -device desk", exitUsage, "says whose the -credential is, which is missing"},
		{"add alice -credential MARKED", exitUsage, "-credential: a credential id must be a UUID"},
		{"events -limit -1", exitUsage, "-limit must be 0 or more"},
		{"import people.txt", exitUsage, "-format must be csv or ndjson"},
		{"import people.csv -format xml", exitUsage, "-format must be csv or ndjson"},
		{"add alice", exitOK, "main:alice"},
		{"import nowhere.csv", exitFailed, "no such file"},
		{"export -format xml", exitUsage, "-format must be csv or ndjson"},
		{"list -config x -server http://127.0.0.1:1 -token-file " + token, exitUsage, "either -config or -server"},
		{"list -server http://127.0.0.1:1", exitUsage, "-server and -token-file go together"},
		{"list -token-file " + token, exitUsage, "-server and -token-file go together"},
		{"list -server http://example.com -token-file " + token, exitUsage, "-server must be"},
		{"list -server http://127.0.0.1:1 -token-file " + token + ".not", exitUsage, "-token-file: there is no such file"},
		{"list -server http://127.0.0.1:1 -token-file " + empty, exitUsage, "-token-file: the token is empty"},
		{"show .. -server http://127.0.0.1:1 -token-file " + token, exitUsage, "this is no user"},
		{"list -server http://" + freeAddress(t) + " -token-file " + token, exitFailed, "the service does not answer"},
	} {
		got := o.users(row.words)
		if said := got.out + got.err; got.status != row.status || !strings.Contains(said, row.says) {
			t.Errorf("users %s: status %d and %q, want %d and %q", row.words, got.status, said, row.status, row.says)
		}
	}
	o.environ = withEnviron()
	if got := o.users("list"); got.status != exitUsage || !strings.Contains(got.err, "the directory is no database") {
		t.Errorf("%d %s", got.status, got.err)
	}
}

// Whoever is at the address of a service may be anybody.
func TestTheAdminTokenIsForWhoWasNamed(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	writeKey(t, token, adminToken)
	stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a stranger has the token")
		}
	}))
	defer stranger.Close()
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"sends elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, stranger.URL, http.StatusTemporaryRedirect)
		}, "the service answers 307"},
		"is another product": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>MARKED") }, "its answer cannot be read"},
		"knows nothing":      {http.NotFound, "the service answers 404, and not as the admin API does"},
		"goes away":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the service does not answer"},
		"obeys no terminal": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"users":[{"user":"main:\u001b[2Jx\ty","name":"","devices":[]}]}`)
		}, `main:\x1b[2Jx\ty  -     enabled  -`},
	} {
		t.Run(what, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			o := &office{t: t, flags: []string{"-server", server.URL, "-token-file", token}}
			if got := o.users("list"); !strings.Contains(got.out+got.err, c.says) {
				t.Errorf("%d %s%s, want %s", got.status, got.out, got.err, c.says)
			}
		})
	}
}

// What a terminal might obey gets to it in no way.
func TestNoAnswerCommandsATerminal(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	writeKey(t, token, adminToken)
	for _, evil := range []string{`\u001b[2J`, `\u009b2J`, `\u202e`, `\ud83d\udc4d\udb40\udc01`, "\u009b2J", `\r`, `\u0085`} {
		for member, answer := range map[string]string{
			"the user": `{"user":"main:x@","name":"","devices":[]}`, "the name": `{"user":"main:x","name":"@","devices":[]}`,
			"the SIP username": `{"user":"main:x","devices":[{"device":"default","credential_id":"` + deskPhone + `","sip_username":"@"}]}`,
			"the device":       `{"user":"main:x","devices":[{"device":"@","credential_id":"` + deskPhone + `"}]}`,
			"the credential":   `{"user":"main:x","devices":[{"device":"desk","credential_id":"@"}]}`,
			"the time":         `{"user":"main:x","disabled":true,"disabled_at":"@","created_at":"@","devices":[]}`,
			"an event":         `{"user":"main:x","actor":"@","detail":"@","action":"@","at":"@","devices":[]}`,
			"the problem":      `{"line":1,"problem":"@","devices":[]}`,
		} {
			answer = strings.ReplaceAll(answer, "@", evil)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/users/x"):
					fmt.Fprint(w, answer)
				default:
					fmt.Fprintf(w, `{"users":[%s],"events":[%s],"errors":[%s],"failed":1}`, answer, answer, answer)
				}
			}))
			o := &office{t: t, flags: []string{"-server", server.URL, "-token-file", token}}
			for _, words := range []string{"list", "list -json", "show x", "show x -json", "export", "export -json", "events", "events -json", "enable x", "import - -format ndjson", "import - -format ndjson -json"} {
				got := o.in(`{"user":"x"}`, strings.Fields(words)...)
				all := strings.ReplaceAll(got.out+got.err, "\n", "")
				if strings.ContainsFunc(all, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%s, %s in %s: %q", words, evil, member, all)
				}
				if strings.Contains(words, "json") && words != "export -json" && got.status == exitOK {
					for line := range strings.Lines(got.out) {
						if !json.Valid([]byte(line)) {
							t.Errorf("%s: no JSON: %s", words, line)
						}
					}
				}
			}
			server.Close()
		}
	}
}

// A command that is newer than the service changes nothing of what that runs on.
func TestNoCommandChangesTheSchemaBehindAService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "books.db")
	environ := inDatabase("TOKENSVC_DIRECTORY=sqlite:" + path)
	o := &office{t: t, environ: environ}
	if got := o.users("add alice"); got.status != exitOK {
		t.Fatal(got)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `DELETE FROM tokensvc_schema WHERE version_id > 0`); err != nil { // as if it were of long ago
		t.Fatal(err)
	}
	list := o.file("people.csv", "user\nbob\n")
	for _, words := range []string{
		"users list", "users show alice", "users export", "users events", "users add bob", "users disable alice", "users enable alice",
		"users remove alice", "users import " + list, "users import -dry-run " + list, "reconcile",
	} {
		got := ranWith(t, environ, strings.Fields(words)...)
		if got.status != exitFailed || !strings.Contains(got.err, "the database has an older schema: run tokensvc migrate") {
			t.Errorf("%s: %+v", words, got)
		}
		var rows int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM tokensvc_schema WHERE version_id > 0`).Scan(&rows); err != nil || rows > 0 {
			t.Fatalf("%s has migrated the database: %d %v", words, rows, err)
		}
	}
	none := filepath.Join(t.TempDir(), "none.db")
	for _, words := range []string{"users list", "reconcile"} {
		got := ranWith(t, inDatabase("TOKENSVC_DIRECTORY=sqlite:"+none), strings.Fields(words)...)
		if there, _ := lookAtFile(none); there || got.status != exitFailed || !strings.Contains(got.err, errNoFile.Error()) {
			t.Errorf("%s, without a database: %+v", words, got)
		}
	}
}

// A misspelt issuer is no part of somebody's value.
func TestAColonEndsAnIssuersName(t *testing.T) {
	inEveryOffice(t, func(o *office) {
		for _, user := range []string{"mian:alice", "main:", ":alice"} {
			got := o.in("", "add", user, "-credential", deskPhone)
			if got.status != exitUsage || !strings.Contains(got.err, "write ISSUER:VALUE") {
				t.Errorf("%s: %+v", user, got)
			}
			if want := o.only("the issuers are: main", ""); !strings.Contains(got.err, want) {
				t.Errorf("%s: %s, want %s", user, got.err, want)
			}
		}
		if got := o.users("list -json"); got.out != "" {
			t.Errorf("somebody is there: %s", got.out)
		}
		if got := o.users("add main:urn:x:alice"); got.status != exitOK || !strings.Contains(got.out, "main:urn:x:alice") {
			t.Errorf("a value with colons: %+v", got)
		}
	})
}

// While a list comes in that is taken as a whole, the directory is everybody's.
func TestWhoeverSendsAListSlowlyKeepsNobodyFromTheBooks(t *testing.T) {
	o := offices(t)["the database"]
	o.t = t
	o.users("add zoe")
	for what, input := range map[string]func(*io.PipeReader) (in io.Reader, file string){
		"standard input": func(r *io.PipeReader) (io.Reader, string) { return r, "-" },
		"a pipe": func(r *io.PipeReader) (io.Reader, string) {
			path := filepath.Join(t.TempDir(), "people.csv")
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			go func() {
				w, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err == nil {
					_, err = io.Copy(w, r)
				}
				if err := errors.Join(err, w.Close()); err != nil {
					t.Error(err)
				}
			}()
			return nil, path
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			r, w := io.Pipe()
			in, file := input(r)
			imported := make(chan ran)
			var out, errs bytes.Buffer
			go func() {
				status := run(t.Context(), terminal{environ: o.environ, in: in, out: &out, err: &errs}, []string{"users", "import", "-atomic", "-format", "csv", file})
				imported <- ran{status, out.String(), errs.String()}
			}()
			_, _ = io.WriteString(w, "user\nalice\n")
			for range 3 {
				if got := o.users("add zoe -name " + rand.Text()); got.status != exitOK {
					t.Errorf("meanwhile: %+v", got)
				}
			}
			_, _ = io.WriteString(w, "bob\n")
			_ = w.Close()
			if got := <-imported; got.status != exitOK || !strings.Contains(got.out, ", 0 failed") {
				t.Errorf("%+v", got)
			}
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestSpooling(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for list, want := range map[string]error{"12345": nil, "123456": errSpool} {
		file, err := spool(strings.NewReader(list), 5)
		if !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", len(list), err, want)
		}
		if err != nil {
			continue
		}
		if info, err := file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		if text, err := io.ReadAll(file); err != nil || string(text) != list {
			t.Errorf("%q %v", text, err)
		}
		_ = file.Close()
	}
	if _, err := spool(iotest.ErrReader(io.ErrUnexpectedEOF), 5); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a broken pipe: %v", err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if _, err := spool(strings.NewReader(""), 5); err == nil {
		t.Error("spooled nowhere")
	}
}

// Where all devices use one credential, no other is put down, where nobody would
// ever look for it.
func TestSharedDevicesAreNotNamed(t *testing.T) {
	for way, o := range offices(t, "TOKENSVC_DEVICES=shared") {
		t.Run(way, func(t *testing.T) {
			o.t = t
			const sentence = "devices is shared: leave the device out, all devices use one credential"
			for _, device := range []string{"desk", "default", ""} {
				words := strings.Fields("add alice -credential " + deskPhone)
				if device != "" {
					words = append(words, "-device", device)
				}
				got := o.in("", words...)
				if refused := device == "desk"; (got.status == exitUsage && strings.Contains(got.err, sentence)) != refused || !refused && got.status != exitOK {
					t.Errorf("%q: %+v", device, got)
				}
			}
			o.wants(o.in("user,device,credential_id\nbob,desk,"+cellPhone+"\ncarol,default,"+thirdOne+"\n", "import", "-format", "csv", "-"), exitFailed,
				"1 created, 0 updated, 0 unchanged, 1 failed", "stdin:2: "+sentence)
		})
	}
}

func TestWhatTheNextLoginNeeds(t *testing.T) {
	o := &office{t: t, environ: inDatabase("TOKENSVC_DIRECTORY=sqlite:"+filepath.Join(t.TempDir(), "books.db"), "TOKENSVC_PROVISION_CONNECTION_ID=1234", "TOKENSVC_PROVISION_INSTANCE=blue")}
	o.users("add alice -credential " + deskPhone)
	o.wants(o.users("enable alice"), exitOK, "main:alice is enabled")
	o.users("disable alice")
	o.wants(o.users("enable alice"), exitOK, "main:alice is enabled, and has no credential: the next login creates a credential")
}

func TestAnExportInJSON(t *testing.T) {
	inEveryOffice(t, func(o *office) {
		o.users("add alice -credential " + deskPhone)
		o.wants(o.users("export -json"), exitOK, `{"user":"main:alice","device":"default","credential_id":"`+deskPhone+`"}`)
		o.wants(o.users("export -format ndjson -json"), exitOK, `{"user":"main:alice","device":"default","credential_id":"`+deskPhone+`"}`)
		o.wants(o.users("export"), exitOK, "user,name,disabled,device,credential_id,sip_username", "main:alice,,,default,"+deskPhone+",")
		o.wants(o.users("export -json -format csv"), exitUsage, "either -json or -format csv")
	})
}

type goneTerminal struct{}

var errGone = errors.New("gone")

func (goneTerminal) Write([]byte) (int, error) { return 0, errGone }

func TestAnExportThatCannotBeWrittenFails(t *testing.T) {
	environ := inDatabase("TOKENSVC_DIRECTORY=sqlite:" + filepath.Join(t.TempDir(), "books.db"))
	if got := ranWith(t, environ, "users", "add", "alice"); got.status != exitOK {
		t.Fatal(got)
	}
	var errs bytes.Buffer
	status := run(t.Context(), terminal{environ: environ, out: goneTerminal{}, err: &errs}, []string{"users", "export"})
	if status != exitFailed || errs.String() != "gone\n" {
		t.Errorf("status %d, %s", status, errs.String())
	}
}

// What docs/users.md says of lists and commands is so.
func TestTheGuideToPeople(t *testing.T) {
	guide := readGuide(t, filepath.FromSlash("../../docs/users.md"))
	for _, c := range usersCommands {
		row := "| `users " + strings.ReplaceAll(strings.TrimSpace(c.name+" "+c.synopsis), "|", `\|`) + "` |"
		if !strings.Contains(guide, row) {
			t.Errorf("the guide has no row %s", row)
		}
	}
	lists := regexp.MustCompile("(?ms)^```(csv|json)\n(.*?)^```$").FindAllStringSubmatch(guide, -1)
	if len(lists) != 2 {
		t.Fatalf("%d lists, want one in each format", len(lists))
	}
	for _, list := range lists {
		o := offices(t)["the database"]
		o.t = t
		format := map[string]string{"csv": "csv", "json": "ndjson"}[list[1]]
		if got := o.in(list[2], "import", "-", "-format", format); got.status != exitOK {
			t.Errorf("%s: %s%s", list[1], got.out, got.err)
		}
	}
}
