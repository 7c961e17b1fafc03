package handler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/handler/contracttest"
	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	adminToken = "an-admin-token-of-forty-bytes-0123456789"

	one   = "11111111-1111-4111-8111-111111111111"
	two   = "22222222-2222-4222-8222-222222222222"
	three = "33333333-3333-4333-8333-333333333333"
)

// office is the ops listener with the admin API, over a SQLite database, on a real
// listener.
type office struct {
	t        *testing.T
	url      string
	store    *store.Store
	admin    *handler.Admin
	token    atomic.Pointer[string]
	client   *http.Client
	log      *log
	records  *log // of changes
	registry *prometheus.Registry
}

func openOffice(t *testing.T, change func(*handler.AdminConfig)) *office {
	t.Helper()
	o := &office{t: t, log: &log{}, records: &log{}, registry: prometheus.NewRegistry()}
	o.set(adminToken)
	var err error
	o.store, err = store.Open(store.Config{SQLite: filepath.Join(t.TempDir(), "books.db")})
	o.must(err)
	t.Cleanup(func() { o.must(o.store.Close()) })
	_, _, err = o.store.Migrate(t.Context())
	o.must(err)
	cfg := handler.AdminConfig{
		Store: o.store, Issuers: []string{"main"},
		Token:    func() secret.Text { return secret.New(*o.token.Load()) },
		InFlight: 100, Timeout: 10 * time.Second, Trail: trailTo(o.records), Metrics: handler.NewMetrics(o.registry), Log: zerolog.New(o.log),
	}
	if change != nil {
		change(&cfg)
	}
	o.admin, err = handler.NewAdmin(cfg)
	o.must(err)
	ops := handler.NewOps(func() handler.Readiness { return handler.Readiness{Ready: true} }, o.registry)
	ops.Administer(o.admin)
	o.serve(ops)
	return o
}

func (o *office) serve(ops http.Handler) {
	server := httptest.NewServer(ops)
	o.t.Cleanup(server.Close)
	o.url = server.URL
	o.client = &http.Client{Transport: contracttest.Load(o.t).Transport(o.t, server.Client().Transport)}
}

func (o *office) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) set(token string) { o.token.Store(&token) }

// told is an answer of the admin API.
type told struct {
	status       int
	code, detail string // the problem's, if it is one
	etag         string
	header       http.Header
	body         string
}

// send sends a request without a credential of its own; headers are name and value
// in turn.
func (o *office) send(method, path string, body io.Reader, headers ...string) told {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.url+"/admin/v1"+path, body)
	o.must(err)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := o.client.Do(req)
	o.must(err)
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	o.must(err)
	var p struct{ Code, Detail string }
	_ = json.Unmarshal(content, &p) // then it is no problem
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if res.Header.Get(name) != want {
			o.t.Errorf("%s %s: %s is %q", method, path, name, res.Header.Get(name))
		}
	}
	return told{res.StatusCode, p.Code, p.Detail, res.Header.Get("Etag"), res.Header, string(content)}
}

// do sends a request with the admin token, and a JSON body if it is not empty.
func (o *office) do(method, path, body string, headers ...string) told {
	o.t.Helper()
	headers = append(headers, "Authorization", "Bearer "+adminToken)
	if body == "" {
		return o.send(method, path, nil, headers...)
	}
	return o.send(method, path, strings.NewReader(body), append(headers, "Content-Type", "application/json")...)
}

// expect is do, for what the answer must be: a status and a part of the body, or
// of a problem its code.
func (o *office) expect(method, path, body string, status int, part string, headers ...string) told {
	o.t.Helper()
	got := o.do(method, path, body, headers...)
	if got.status != status || !strings.Contains(got.body, part) {
		o.t.Errorf("%s %s %s: %d %s, want %d with %s in it", method, path, body, got.status, got.body, status, part)
	}
	return got
}

func decode[T any](t *testing.T, body string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return v
}

type userSeen struct {
	User, Name string
	Disabled   bool
	DisabledAt *time.Time `json:"disabled_at"`
	CreatedAt  time.Time  `json:"created_at"`
	Version    int64
	Devices    []deviceSeen
}

type deviceSeen struct {
	User         string
	Device       string
	Credential   string `json:"credential_id"`
	SIPUsername  string `json:"sip_username"`
	Provisioned  bool
	CreatedAt    time.Time  `json:"created_at"`
	UsableAt     *time.Time `json:"usable_at"`
	ExpiresAt    *time.Time `json:"expires_at"`
	LastVendedAt *time.Time `json:"last_vended_at"`
}

// people is an issuer and a bearer's office: bearers of the issuer main may
// administer, if they are of the group admins.
func people(t *testing.T) (o *office, main, other *oidctest.Issuer) {
	t.Helper()
	main = oidctest.StartT(t, oidctest.Options{Audience: audience})
	other = oidctest.StartT(t, oidctest.Options{Audience: audience})
	web := oidctest.StartT(t, oidctest.Options{Audience: audience})
	cookie, err := authz.ParseSource("cookie:session")
	if err != nil {
		t.Fatal(err)
	}
	issuers := []authz.Issuer{
		{Name: "main", URL: main.URL(), Audiences: []string{audience}, Mode: authz.ModeObserve},
		{Name: "other", URL: other.URL(), Audiences: []string{audience}},
		{Name: "web", URL: web.URL(), Audiences: []string{audience}, Source: cookie},
	}
	fetched := make(chan error, len(issuers))
	verifier, err := authz.New(authz.Config{
		Issuers: issuers, Origins: []string{"https://phone.example.com"}, OnFetch: func(_ string, err error) { fetched <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { verifier.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	for range issuers {
		if err := <-fetched; err != nil {
			t.Fatal(err)
		}
	}
	o = openOffice(t, func(c *handler.AdminConfig) {
		c.Issuers = []string{"main", "other", "web"}
		c.Issuer, c.Verifier = issuers[0], verifier
		c.Require = []authz.Requirement{{Claim: "groups", AnyOf: []any{"admins"}}}
	})
	return o, main, other
}

func TestWhoMayAdminister(t *testing.T) {
	o, main, other := people(t)
	admins := map[string]any{"groups": []string{"admins"}}
	good := main.Bearer("alice", admins)
	expired := map[string]any{"groups": []string{"admins"}, "exp": time.Now().Add(-time.Hour).Unix()}
	forged := good[:len(good)-8] + "AAAAAAAA"
	page := []string{"Origin", "https://phone.example.com"}
	for name, row := range map[string]struct {
		headers []string
		status  int
		code    string
		says    string // in WWW-Authenticate
	}{
		"nobody":                              {nil, 401, "unauthenticated", `Bearer realm="tokensvc"`},
		"the admin token":                     {[]string{"Authorization", "Bearer " + adminToken}, 200, "", ""},
		"the admin token, in another case":    {[]string{"Authorization", "Bearer " + strings.ToUpper(adminToken)}, 401, "invalid_token", "malformed"},
		"a token of the same length":          {[]string{"Authorization", "Bearer " + strings.Repeat("x", len(adminToken))}, 401, "invalid_token", "malformed"},
		"a part of the admin token":           {[]string{"Authorization", "Bearer " + adminToken[:len(adminToken)-1]}, 401, "invalid_token", "malformed"},
		"the admin token and more":            {[]string{"Authorization", "Bearer " + adminToken + "x"}, 401, "invalid_token", "malformed"},
		"the scheme alone":                    {[]string{"Authorization", "Bearer "}, 401, "unauthenticated", `Bearer realm="tokensvc"`},
		"the admin token without its scheme":  {[]string{"Authorization", adminToken}, 401, "unauthenticated", ""},
		"the admin token as a password":       {[]string{"Authorization", "Basic " + adminToken}, 401, "unauthenticated", ""},
		"the admin token twice":               {[]string{"Authorization", "Bearer " + adminToken, "Authorization", "Bearer " + adminToken}, 401, "unauthenticated", "invalid_request"},
		"the admin token and another":         {[]string{"Authorization", "Bearer " + adminToken, "Authorization", "Bearer " + good}, 401, "unauthenticated", "invalid_request"},
		"the admin token in a cookie":         {append(page, "Cookie", "session="+adminToken), 401, "unauthenticated", ""},
		"the admin token in another header":   {[]string{"X-Admin-Token", adminToken}, 401, "unauthenticated", ""},
		"one of the admins":                   {[]string{"Authorization", "Bearer " + good}, 200, "", ""},
		"somebody else of that issuer's":      {[]string{"Authorization", "Bearer " + main.Bearer("bob", map[string]any{"groups": []string{"agents"}})}, 403, "denied", ""},
		"somebody without groups":             {[]string{"Authorization", "Bearer " + main.Bearer("bob", nil)}, 403, "denied", ""},
		"an admin of another issuer":          {[]string{"Authorization", "Bearer " + other.Bearer("alice", admins)}, 403, "denied", ""},
		"a forged bearer":                     {[]string{"Authorization", "Bearer " + forged}, 401, "invalid_token", "signature"},
		"a bearer of yesterday's":             {[]string{"Authorization", "Bearer " + main.Bearer("alice", expired)}, 401, "invalid_token", "expired"},
		"a bearer for another service":        {[]string{"Authorization", "Bearer " + main.Bearer("alice", map[string]any{"groups": []string{"admins"}, "aud": "mail"})}, 401, "invalid_token", "audience"},
		"a bearer in a cookie":                {append(page, "Cookie", "session="+good), 401, "unauthenticated", ""},
		"an admin from a page, with a header": {append(page, "Authorization", "Bearer "+good), 200, "", ""},
	} {
		got := o.send(http.MethodGet, "/users", nil, row.headers...)
		if got.status != row.status || got.code != row.code || !strings.Contains(got.header.Get("Www-Authenticate"), row.says) {
			t.Errorf("%s: %d %s, WWW-Authenticate %q; want %d %s", name, got.status, got.code, got.header.Get("Www-Authenticate"), row.status, row.code)
		}
		if len(got.header.Values("Access-Control-Allow-Origin")) > 0 {
			t.Errorf("%s: a page may read the answer", name)
		}
	}
	for _, text := range []string{adminToken, strings.ToUpper(adminToken), good, forged, "AAAAAAAA"} {
		if strings.Contains(o.log.String(), text) {
			t.Errorf("the log has %q in it", text)
		}
	}
}

// An admin token that is wrong, or was replaced, is not shown to an issuer that is
// asked about opaque bearers, unless its people administer with such.
func TestWhoIsAskedAboutABearerOfAdmins(t *testing.T) {
	jwts := oidctest.StartT(t, oidctest.Options{Audience: audience})
	opaques := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: oidctest.Client{ID: "tokensvc", Secret: "a secret"}})
	issuers := []authz.Issuer{
		{Name: "jwts", URL: jwts.URL(), Audiences: []string{audience}},
		{Name: "opaques", URL: opaques.URL(), Audiences: []string{audience}, Introspection: &authz.Introspection{
			ClientID: "tokensvc", ClientSecret: func() secret.Text { return secret.New("a secret") }, Endpoint: opaques.URL() + "/introspect",
		}},
	}
	fetched := make(chan error, len(issuers))
	verifier, err := authz.New(authz.Config{Issuers: issuers, OnFetch: func(_ string, err error) { fetched <- err }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { verifier.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	if err := <-fetched; err != nil { // the keys of the first
		t.Fatal(err)
	}
	admins := map[string]any{"groups": []string{"admins"}}
	opaque := opaques.Opaque("alice", admins)
	for i, asked := range []bool{false, true} {
		o := openOffice(t, func(c *handler.AdminConfig) {
			c.Issuers, c.Issuer, c.Verifier, c.Opaque = []string{"jwts", "opaques"}, issuers[i], verifier, asked
			c.Require = []authz.Requirement{{Claim: "groups", AnyOf: []any{"admins"}}}
		})
		before := opaques.Introspections()
		for bearer, want := range map[string]string{
			adminToken: "", "another-" + adminToken: "invalid_token", "an.old." + adminToken: "invalid_token",
			opaque: map[bool]string{false: "invalid_token"}[asked], jwts.Bearer("alice", admins): map[bool]string{true: "denied"}[asked],
		} {
			if got := o.send("GET", "/users", nil, "Authorization", "Bearer "+bearer); got.code != want {
				t.Errorf("%s, with %s: %d %s, want %q", issuers[i].Name, bearer, got.status, got.body, want)
			}
		}
		if n := opaques.Introspections() - before; (n > 0) != asked {
			t.Errorf("%s vouches: the other was asked %d times", issuers[i].Name, n)
		}
	}
}

func TestAPageMayNotAskWhatItMay(t *testing.T) {
	o := openOffice(t, nil)
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		got := o.send(http.MethodOptions, "/users/alice", nil, "Origin", "https://evil.example.com",
			"Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization")
		if got.status != http.StatusMethodNotAllowed {
			t.Errorf("a preflight for %s is answered %d", method, got.status)
		}
		for name := range got.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("a preflight for %s is told %s", method, name)
			}
		}
	}
}

func TestATokenThatWasReplacedOpensNothing(t *testing.T) {
	o := openOffice(t, nil)
	o.expect("GET", "/users", "", 200, `"users":[]`)
	for name, next := range map[string]string{
		"another": "another-admin-token-of-40-bytes-01234567", "none": "", "a short one": adminToken[:handler.MinAdminToken-1],
	} {
		o.set(next)
		got := o.do("GET", "/users", "")
		if got.status != 401 || got.code != "invalid_token" || got.detail != "The bearer is not the admin token." {
			t.Errorf("%s: the old one is answered %d %s", name, got.status, got.body)
		}
		got = o.send("GET", "/users", nil, "Authorization", "Bearer "+next)
		if (got.status == 200) != (name == "another") {
			t.Errorf("%s: the new one is answered %d %s", name, got.status, got.body)
		}
	}
	for headers, want := range map[string]string{"": "unauthenticated", "Bearer x": "invalid_token"} {
		var sent []string
		if headers != "" {
			sent = []string{"Authorization", headers}
		}
		if got := o.send("GET", "/users", nil, sent...); got.status != 401 || got.code != want {
			t.Errorf("%q: %d %s, want %s", headers, got.status, got.code, want)
		}
	}
}

func TestRulesForAdminsCountFromTheNextRequestOn(t *testing.T) {
	o, main, _ := people(t)
	bearer := []string{"Authorization", "Bearer " + main.Bearer("alice", map[string]any{"groups": []string{"admins"}})}
	if got := o.send("GET", "/users", nil, bearer...); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	o.must(o.admin.SetRequire([]authz.Requirement{{Claim: "groups", AnyOf: []any{"owners"}}}))
	if got := o.send("GET", "/users", nil, bearer...); got.code != "denied" {
		t.Errorf("after a tighter rule: %d %s", got.status, got.body)
	}
	if err := o.admin.SetRequire(nil); err == nil {
		t.Error("no rule at all is accepted")
	}
	if got := o.send("GET", "/users", nil, bearer...); got.code != "denied" {
		t.Errorf("after no rule was refused: %d %s", got.status, got.body)
	}
}

// Somebody who is disabled cannot undo it: the admin token can.
func TestADisabledAdministratorIsNone(t *testing.T) {
	o, main, _ := people(t)
	alice := []string{"Authorization", "Bearer " + main.Bearer("alice", map[string]any{"groups": []string{"admins"}})}
	want := func(what, method, path string, status int, headers ...string) {
		t.Helper()
		if got := o.send(method, path, nil, headers...); got.status != status || status == 403 && got.code != "denied" {
			t.Errorf("%s: %d %s, want %d", what, got.status, got.body, status)
		}
	}
	want("nobody the directory knows", "GET", "/users", 200, alice...)
	o.expect("PUT", "/users/main:alice", `{}`, 201, "main:alice")
	want("enabled", "GET", "/users", 200, alice...)
	want("disables herself", "POST", "/users/main:alice/disable", 200, alice...)
	want("disabled, looks", "GET", "/users", 403, alice...)
	want("disabled, enables herself", "POST", "/users/main:alice/enable", 403, alice...)
	want("disabled, removes herself", "DELETE", "/users/main:alice", 403, alice...)
	want("disabled, imports herself", "POST", "/import", 403, append(alice, "Content-Type", ndjsonList)...)
	o.expect("POST", "/users/main:alice/enable", "", 200, `"disabled":false`)
	want("enabled again", "GET", "/users", 200, alice...)
	o.must(o.store.Close())
	want("while the directory does not answer", "GET", "/users", 503, alice...)
}

func TestWhatAnAdminNeeds(t *testing.T) {
	o, _, _ := people(t)
	cookie, err := authz.ParseSource("cookie:session")
	o.must(err)
	header, err := authz.ParseSource("header:X-Assertion")
	o.must(err)
	verifier, err := authz.New(authz.Config{Issuers: []authz.Issuer{{Name: "main", URL: "https://login.example.com", Audiences: []string{audience}}}})
	o.must(err)
	for name, row := range map[string]struct {
		change  func(*handler.AdminConfig)
		refused string // "" if it is good
	}{
		"a token":              {func(c *handler.AdminConfig) { c.Issuer.Name = "" }, ""},
		"an issuer":            {func(c *handler.AdminConfig) { c.Token = nil }, ""},
		"both":                 {func(*handler.AdminConfig) {}, ""},
		"neither":              {func(c *handler.AdminConfig) { c.Token, c.Issuer.Name = nil, "" }, "a Token or an Issuer"},
		"a cookie":             {func(c *handler.AdminConfig) { c.Issuer.Source = cookie }, "Authorization header"},
		"a header":             {func(c *handler.AdminConfig) { c.Issuer.Source = header }, "Authorization header"},
		"a proxy":              {func(c *handler.AdminConfig) { c.Issuer.Proxy = &authz.Proxy{} }, "proxy"},
		"an issuer, unchecked": {func(c *handler.AdminConfig) { c.Verifier = nil }, "Verifier"},
		"a stranger":           {func(c *handler.AdminConfig) { c.Issuers = []string{"acme"} }, "none of the Issuers"},
		"everybody":            {func(c *handler.AdminConfig) { c.Require = nil }, "everybody"},
		"no store":             {func(c *handler.AdminConfig) { c.Store = nil }, "Store"},
		"no issuers' names":    {func(c *handler.AdminConfig) { c.Issuers = nil }, "Issuers"},
		"no room":              {func(c *handler.AdminConfig) { c.InFlight = 0 }, "InFlight"},
		"no time":              {func(c *handler.AdminConfig) { c.Timeout = 0 }, "Timeout"},
	} {
		cfg := handler.AdminConfig{
			Store: o.store, Issuers: []string{"main"}, Token: func() secret.Text { return secret.New(adminToken) },
			Issuer: authz.Issuer{Name: "main"}, Verifier: verifier, Require: []authz.Requirement{{Claim: "groups", Equals: "admins"}},
			InFlight: 1, Timeout: time.Second, Trail: trailTo(io.Discard), Metrics: handler.NewMetrics(prometheus.NewRegistry()),
		}
		row.change(&cfg)
		_, err := handler.NewAdmin(cfg)
		if (err == nil) != (row.refused == "") || err != nil && !strings.Contains(err.Error(), row.refused) {
			t.Errorf("%s: %v, want %q", name, err, row.refused)
		}
	}
}

func TestWithoutAnAdminThereIsNothing(t *testing.T) {
	o := &office{t: t, log: &log{}}
	o.serve(handler.NewOps(func() handler.Readiness { return handler.Readiness{} }, prometheus.NewRegistry()))
	for _, path := range []string{"/users", "/users/alice", "/import", "/events", ""} {
		if got := o.do("GET", path, ""); got.status != 404 || got.code != "not_found" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestAnAdminsRequestIsLoggedAndCounted(t *testing.T) {
	o, main, _ := people(t)
	bearer := "Bearer " + main.Bearer("alice", map[string]any{"groups": []string{"admins"}})
	body := `{"name":"Bob Private"}`
	got := o.send("PUT", "/users/main:bob%2Fb", strings.NewReader(body), "Authorization", bearer, "Content-Type", "application/json", "X-Request-Id", "r-1")
	if got.status != 201 || got.header.Get("X-Request-Id") != "r-1" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	line := o.log.String()
	for _, want := range []string{
		`"request_id":"r-1"`, `"method":"PUT"`, `"route":"/admin/v1/users/{user}"`, `"client":"127.0.0.1"`, `"outcome":"answered"`, `"status":201`,
		`"issuer":"main"`, `"user":"main:alice"`, `"actor":"admin main:alice"`, `"target":"main:bob/b"`,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("logged %s, want %s in it", line, want)
		}
	}
	if strings.Count(line, "\n") != 1 || strings.Contains(line, "Private") {
		t.Errorf("logged %s", line)
	}
	events, err := o.store.Events(t.Context(), store.EventList{})
	o.must(err)
	if len(events) != 1 || events[0].By != (store.By{Actor: "admin main:alice", RequestID: "r-1"}) {
		t.Errorf("the books say %+v", events)
	}
	o.do("GET", "/nowhere/"+strings.Repeat("x", 100), "")
	families, err := o.registry.Gather()
	o.must(err)
	routes, none := make(map[string]bool), 0
	for _, f := range families {
		if f.GetName() != "tokensvc_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if strings.HasPrefix(m.GetLabel()[1].GetValue(), "/admin/v1/") && m.GetCounter().GetValue() == 0 {
				none++
			}
			if m.GetCounter().GetValue() > 0 {
				routes[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = true
			}
		}
	}
	if len(routes) != 2 || !routes["/admin/v1/users/{user} answered"] || !routes["/admin/v1/* not_found"] {
		t.Errorf("counted %v", routes)
	}
	if none < 50 || none > 200 {
		t.Errorf("%d series of what has not happened yet, want some for each route", none)
	}
}

func TestAPanicOfTheAdminAPIIsInternal(t *testing.T) {
	o := openOffice(t, func(c *handler.AdminConfig) { c.Changed = func(string) { panic("at the disco") } })
	got := o.do("PUT", "/users/alice", `{}`)
	if got.status != 500 || got.code != "internal" || strings.Contains(got.body, "disco") || !bytes.Contains([]byte(o.log.String()), []byte(`"stack":`)) {
		t.Errorf("%d %s, logged %s", got.status, got.body, o.log)
	}
}

func TestTooManyAdminsAtOnceAreRefused(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	o := openOffice(t, func(c *handler.AdminConfig) {
		c.InFlight = 1
		c.Changed = func(string) { close(entered); <-leave }
	})
	first := make(chan told)
	go func() { first <- o.do("PUT", "/users/alice", `{}`) }()
	<-entered
	if got := o.do("GET", "/users", ""); got.code != "overloaded" || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	close(leave)
	if got := <-first; got.status != 201 {
		t.Errorf("the first: %d %s", got.status, got.body)
	}
}
