package authz_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// What form encoding is for: a colon in the id, a plus and more in the secret.
var client = oidctest.Client{ID: "token:svc", Secret: "s+cr%t &c:ö"}

func always(s string) func() secret.Text { return func() secret.Text { return secret.New(s) } }

// askedOf is issuerOf, with introspection.
func askedOf(i *oidctest.Issuer) authz.Issuer {
	issuer := issuerOf(i)
	issuer.Introspection = &authz.Introspection{ClientID: client.ID, ClientSecret: always(client.Secret)}
	return issuer
}

func startAsked(t testing.TB) (*oidctest.Issuer, *authz.Verifier, *clock) {
	t.Helper()
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client, Now: clock.Now})
	return issuer, newVerifier(t, authz.Config{Issuers: []authz.Issuer{askedOf(issuer)}, Now: clock.Now}), clock
}

func TestWhatAnIssuerSaysOfAToken(t *testing.T) {
	clock := newClock()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client, Now: clock.Now})
	in := func(d time.Duration) int64 { return clock.Now().Add(d).Unix() }
	says := func(extra map[string]any) string {
		answer := issuer.Claims("alice", map[string]any{"active": true})
		for name, value := range extra {
			answer[name] = value
			if value == nil {
				delete(answer, name)
			}
		}
		return mustJSON(answer)
	}
	with := func(name string, value any) string { return says(map[string]any{name: value}) }
	const unavailable = "issuer_unavailable"

	for name, row := range map[string]struct{ answer, want string }{
		"all is well":                       {says(nil), "main:alice"},
		"it does not name itself":           {with("iss", nil), "main:alice"},
		"no expiry":                         {with("exp", nil), "main:alice"},
		"one audience of several":           {with("aud", []string{"other", audience}), "main:alice"},
		"expired within the clock skew":     {with("exp", in(-20*time.Second)), "main:alice"},
		"token_type bearer":                 {with("token_type", "bearer"), "main:alice"},
		"token_type DPoP":                   {with("token_type", "DPoP"), "binding"},
		"white space around":                {"\n " + says(nil) + "\r\n", "main:alice"},
		"inactive":                          {`{"active":false}`, "inactive"},
		"inactive, and yet all the claims":  {with("active", false), "inactive"},
		"active as a string":                {with("active", "true"), "inactive"},
		"active as a number":                {with("active", 1), "inactive"},
		"active in another case":            {says(map[string]any{"active": nil, "Active": true}), "inactive"},
		"nothing about being active":        {with("active", nil), "inactive"},
		"another audience":                  {with("aud", "other"), "audience"},
		"no audience":                       {with("aud", nil), "audience"},
		"an empty audience":                 {with("aud", ""), "audience"},
		"another issuer":                    {with("iss", "https://other.example.com"), "issuer"},
		"itself with a slash more":          {with("iss", issuer.URL()+"/"), "issuer"},
		"an issuer of nothing":              {with("iss", ""), "issuer"},
		"expired":                           {with("exp", in(-time.Minute)), "expired"},
		"not yet valid":                     {with("nbf", in(time.Minute)), "not_yet_valid"},
		"issued in the future":              {with("iat", in(time.Minute)), "not_yet_valid"},
		"a refresh token":                   {with("token_type", "refresh_token"), "type"},
		"token_type of a wrong type":        {with("token_type", []string{"Bearer"}), "type"},
		"nobody":                            {with("sub", nil), "user_claim"},
		"nobody that can be":                {with("sub", "a\nb"), "user_claim"},
		"a subject that is a number":        {with("sub", 7), "malformed"},
		"an audience that is a number":      {with("aud", 7), "malformed"},
		"an audience with a number":         {with("aud", []any{audience, 7}), "malformed"},
		"an expiry in words":                {with("exp", "tomorrow"), "malformed"},
		"an expiry beyond any calendar":     {with("exp", 1e300), "malformed"},
		"an issuer that is a list":          {with("iss", []string{issuer.URL()}), "malformed"},
		"active twice":                      {`{"active":false,` + says(nil)[1:], unavailable},
		"a subject twice":                   {`{"sub":"bob",` + says(nil)[1:], unavailable},
		"nothing":                           {"", unavailable},
		"null":                              {"null", unavailable},
		"true":                              {"true", unavailable},
		"a list":                            {"[" + says(nil) + "]", unavailable},
		"two answers":                       {says(nil) + says(nil), unavailable},
		"half an answer":                    {says(nil)[:40], unavailable},
		"garbage":                           {"\x00\xff\x17", unavailable},
		"HTML":                              {"<html><body>Sign in</body></html>", unavailable},
		"a signed answer, which nobody has": {issuer.Bearer("alice", nil), unavailable},
		"far too much":                      {with("x", strings.Repeat("x", 300<<10)), unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			issuer.BreakIntrospection(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, row.answer) })
			defer issuer.BreakIntrospection(nil)
			v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{askedOf(issuer)}, Now: clock.Now}) // whose breaker is closed
			if got := outcome(v, issuer.Opaque("alice", nil)); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	const echoed = "words-of-the-issuer"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("somebody else is asked: %s %s", r.Method, r.URL.Path)
	}))
	defer elsewhere.Close()
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			w.WriteHeader(status)
			fmt.Fprintln(w, echoed, r.Form.Get("token"))
		}
	}
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			c, _, _ := w.(http.Hijacker).Hijack()
			defer c.Close()
			_, _ = io.WriteString(c, strings.ReplaceAll(text, "TOKEN", r.Form.Get("token")))
		}
	}
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"500":                   {answers(500), "status 500"},
		"503":                   {answers(503), "status 503"},
		"400":                   {answers(400), "status 400"},
		"404":                   {answers(404), "status 404"},
		"201":                   {answers(201), "status 201"},
		"401":                   {answers(401), "does not accept our client credentials (status 401)"},
		"403":                   {answers(403), "does not accept our client credentials (status 403)"},
		"slow":                  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "did not answer in time"},
		"a body without end":    {endless, "larger than 262144 bytes"},
		"a body that stops":     {raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "did not complete"},
		"a redirect":            {redirect(elsewhere.URL), "status 307"},
		"a broken redirect":     {raw("HTTP/1.1 307 No\r\nLocation: http://%TOKEN\r\nContent-Length: 0\r\n\r\n"), "status 307"},
		"no HTTP":               {raw(echoed + " TOKEN\r\n\r\n"), "did not complete"},
		"a header that is none": {raw("HTTP/1.1 200 OK\r\nTOKEN " + echoed + "\r\n\r\n"), "did not complete"},
		"a closed connection":   {raw(""), "did not complete"},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
			v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{askedOf(issuer)}, Transport: impatient{t}})
			issuer.BreakIntrospection(row.answer)
			token := issuer.Opaque("alice", nil)
			_, err := v.Verify(t.Context(), bearing(token))
			if !errors.Is(err, authz.ErrIssuerUnavailable) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want unavailable and a word of %q", err, row.says)
			}
			if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, token) || strings.Contains(text, echoed) {
				t.Errorf("the token or the answer is in %q", text)
			}
			issuer.BreakIntrospection(nil)
			if got := outcome(v, token); got != "main:alice" {
				t.Errorf("and when it answers again: %s", got)
			}
		})
	}
}

// impatient gives a request half a second, where we give it five.
type impatient struct{ t *testing.T }

func (i impatient) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 500*time.Millisecond)
	i.t.Cleanup(cancel)
	return http.DefaultTransport.RoundTrip(r.WithContext(ctx))
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat(" ", 8<<10)); err != nil {
			return
		}
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
}

// Who is asked about what, with an issuer of JWTs beside the one that is asked.
func TestWhoIsAskedAboutABearer(t *testing.T) {
	asked := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	jwts := oidctest.StartT(t, oidctest.Options{Audience: audience})
	second := issuerOf(jwts)
	second.Name = "jwts"
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{askedOf(asked), second}})
	none := encode(`{"alg":"none"}`)
	for name, row := range map[string]struct {
		bearer    string
		want      string
		questions int
	}{
		"an opaque token":                   {asked.Opaque("alice", nil), "main:alice", 1},
		"one that the issuer does not know": {"unknown", "inactive", 1},
		"one in three parts":                {"abc.def.ghi", "inactive", 1},
		"one in five":                       {"abc.def.ghi.jkl.mno", "inactive", 1},
		"a JWT of the issuer":               {asked.Bearer("alice", nil), "main:alice", 1},
		"a forged JWT in its name":          {oidctest.NewKey("k").Sign(nil, asked.Claims("alice", nil)), "inactive", 1},
		"a JWT of the other":                {jwts.Bearer("bob", nil), "jwts:bob", 0},
		"a forged JWT in the other's name":  {oidctest.NewKey(jwts.Key().ID).Sign(nil, jwts.Claims("bob", nil)), "signature", 0},
		"a JWT of a stranger":               {jwts.Bearer("eve", map[string]any{"iss": "https://eve.example.com"}), "issuer", 0},
		"a JWT of nobody":                   {jwts.Bearer("eve", map[string]any{"iss": nil}), "issuer", 0},
		"a JWT of the issuer, almost":       {jwts.Bearer("eve", map[string]any{"iss": asked.URL() + "/"}), "issuer", 0},
		"a JWT of two":                      {none + "." + encode(`{"iss":"`+asked.URL()+`","iss":"x"}`) + ".AAAA", "algorithm", 0},
		"a JWT that says nothing":           {encode(`{"alg":"ES256"}`) + ".AAAA.AAAA", "malformed", 0},
		"white space":                       {"a b", "malformed", 0},
		"a line break":                      {"a\r\nb", "malformed", 0},
		"not ASCII":                         {"jeton-é", "malformed", 0},
		"longer than looked at":             {strings.Repeat("A", authz.MaxBearerBytes+1), "malformed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := asked.Introspections()
			if got := outcome(v, row.bearer); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
			if n := asked.Introspections() - before; n != row.questions {
				t.Errorf("%d questions, want %d", n, row.questions)
			}
		})
	}
}

// An opaque token shows neither whose it is nor where it belongs: only the place
// tells who is asked about it.
func TestAnOpaqueTokenCountsInItsPlaceOnly(t *testing.T) {
	phones := oidctest.StartT(t, oidctest.Options{Audience: audience})
	header := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	cookie := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	inHeader, inCookie := askedOf(header), askedOf(cookie)
	inHeader.Name, inHeader.Source = "header", source(t, "header:X-Opaque")
	inCookie.Name, inCookie.Source = "cookie", source(t, "cookie:opaque")
	const page = "https://phone.example.com"
	p := door{t, newVerifier(t, authz.Config{Issuers: []authz.Issuer{issuerOf(phones), inHeader, inCookie}, Origins: []string{page}})}
	alice, bob := header.Opaque("alice", nil), cookie.Opaque("bob", nil)

	for _, known := range []string{"not seen before", "known from its place"} {
		p.deny("malformed", "as a bearer, "+known, sent("Authorization", "Bearer "+alice))
		p.deny("inactive", "in the other's place, "+known, sent("Cookie", "opaque="+alice, "Origin", page))
		p.deny("inactive", "in the other's place, "+known, sent("X-Opaque", bob))
		p.allow("header:alice", "in its place", sent("X-Opaque", alice))
		p.allow("cookie:bob", "in its place", sent("Cookie", "opaque="+bob, "Origin", page))
	}
	if h, c := header.Introspections(), cookie.Introspections(); h > 3 || c > 3 {
		t.Errorf("%d and %d questions, want each token asked about once in a place", h, c)
	}
}

// A thousand groups are many, and no fault of whoever is in them.
func TestAThousandGroupsArriveFromEverySource(t *testing.T) {
	var groups []any
	var joined strings.Builder
	for i := range 1000 {
		group := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)
		groups = append(groups, group)
		joined.WriteString(group + ",")
	}
	extra := map[string]any{"groups": groups}
	jwts := oidctest.StartT(t, oidctest.Options{Audience: audience})
	opaque := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	asked, behind := askedOf(opaque), trustedProxy()
	asked.Name, asked.Source = "opaque", source(t, "header:X-Opaque")
	issuers := []authz.Issuer{issuerOf(jwts), asked, behind}
	for i := range issuers {
		issuers[i].Require = []authz.Requirement{{Claim: "groups", Contains: []any{groups[999]}}}
	}
	v, policy := newVerifier(t, authz.Config{Issuers: issuers}), authz.NewPolicy(issuers)
	for name, e := range map[string]authz.Evidence{
		"a bearer": bearing(jwts.Bearer("alice", extra)),
		"opaque":   sent("X-Opaque", opaque.Opaque("alice", extra)),
		"a proxy":  fromProxy("X-Forwarded-Groups", joined.String()),
	} {
		who, err := v.Verify(t.Context(), e)
		if err == nil {
			_, err = policy.Judge(who, time.Now())
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheAudienceClaimOfAnAnswer(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	cfg := askedOf(issuer)
	cfg.AudienceClaim = "client_id"
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	for name, row := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"a client that is ours":     {map[string]any{"aud": nil, "client_id": audience}, "main:alice"},
		"a client that is not ours": {map[string]any{"client_id": "other"}, "audience"},
		"aud alone":                 {nil, "audience"},
	} {
		if got := outcome(v, issuer.Opaque("alice", row.claims)); got != row.want {
			t.Errorf("%s: got %s, want %s", name, got, row.want)
		}
	}
}

// How long an answer is believed, asked for anew each time it is not.
func TestHowLongAnAnswerIsBelieved(t *testing.T) {
	type step struct {
		after     time.Duration
		want      string
		questions int // so far
	}
	for name, row := range map[string]struct {
		cache   time.Duration
		claims  map[string]any
		revoked bool // after the first step
		steps   []step
	}{
		"by default 30 s": {0, nil, false, []step{
			{0, "main:alice", 1}, {29 * time.Second, "main:alice", 1}, {2 * time.Second, "main:alice", 2},
		}},
		"a revocation is seen then": {0, nil, true, []step{
			{0, "main:alice", 1}, {29 * time.Second, "main:alice", 1}, {2 * time.Second, "inactive", 2},
		}},
		"as configured": {5 * time.Minute, nil, true, []step{
			{0, "main:alice", 1}, {299 * time.Second, "main:alice", 1}, {2 * time.Second, "inactive", 2},
		}},
		"not at all": {-1, nil, true, []step{{0, "main:alice", 1}, {0, "inactive", 2}}},
		"not beyond its expiry": {5 * time.Minute, map[string]any{"exp": time.Now().Add(time.Minute).Unix()}, false, []step{
			{0, "main:alice", 1}, {50 * time.Second, "main:alice", 1}, {11 * time.Second, "inactive", 2},
		}},
		"also without an expiry": {0, map[string]any{"exp": nil}, false, []step{
			{0, "main:alice", 1}, {29 * time.Second, "main:alice", 1}, {2 * time.Second, "main:alice", 2},
		}},
		"that it is for others: 10 s": {0, map[string]any{"aud": "other"}, false, []step{
			{0, "audience", 1}, {9 * time.Second, "audience", 1}, {2 * time.Second, "audience", 2},
		}},
		"that it is inactive: 10 s": {5 * time.Minute, map[string]any{"exp": 1}, false, []step{
			{0, "inactive", 1}, {9 * time.Second, "inactive", 1}, {2 * time.Second, "inactive", 2},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client, Now: clock.Now})
			cfg := askedOf(issuer)
			cfg.Introspection.Cache = row.cache
			v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}, Now: clock.Now})
			token := issuer.Opaque("alice", row.claims)
			for i, step := range row.steps {
				clock.Advance(step.after)
				if got := outcome(v, token); got != step.want {
					t.Errorf("step %d: got %s, want %s", i, got, step.want)
				}
				if n := issuer.Introspections(); n != step.questions {
					t.Errorf("step %d: %d questions, want %d", i, n, step.questions)
				}
				if row.revoked {
					issuer.Revoke(token)
				}
			}
		})
	}
}

func TestNoAnswerIsNotRemembered(t *testing.T) {
	issuer, v, _ := startAsked(t)
	token := issuer.Opaque("alice", nil)
	issuer.BreakIntrospection(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	if got := outcome(v, token); got != "issuer_unavailable" {
		t.Errorf("got %s", got)
	}
	issuer.BreakIntrospection(nil)
	if got := outcome(v, token); got != "main:alice" {
		t.Errorf("a moment later: %s", got)
	}
}

func TestNobodyIsEverTakenForSomebodyElseByAnAnswer(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	cfg := askedOf(issuer)
	cfg.Introspection.Cache = -1 // so that all of them are asked about, all the time
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{cfg}})
	var all sync.WaitGroup
	for i := range 20 {
		token := issuer.Opaque(fmt.Sprint("user-", i), nil)
		for range 2 {
			all.Go(func() {
				for range 20 {
					if got, want := outcome(v, token), fmt.Sprint("main:user-", i); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
				}
			})
		}
	}
	all.Wait()
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"active":false}`)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	v, err := authz.New(authz.Config{Issuers: []authz.Issuer{{
		Name: "main", URL: noDiscovery, Audiences: []string{audience},
		Introspection: &authz.Introspection{ClientID: "id", ClientSecret: always("secret"), Endpoint: server.URL},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	const crowd, rounds = 16, 10
	for round := range rounds {
		var all sync.WaitGroup
		for i := range crowd {
			all.Go(func() { outcome(v, fmt.Sprint("token-", round, "-", i)) })
		}
		all.Wait()
	}
	// A question that waits for a connection takes whichever comes first, a new one
	// or one that another question leaves, so of the first there may be too many.
	if n := opened.Load(); n > 2*crowd {
		t.Errorf("%d connections for %d at a time, %d times", n, crowd, rounds)
	}
}

func TestWhenAnAskedIssuerIsThere(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	issuer.Break(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{askedOf(issuer)}})
	if v.Ready() || len(v.Missing()) != 1 {
		t.Errorf("ready is %v and missing %v before the endpoint is known", v.Ready(), v.Missing())
	}
	if got := outcome(v, issuer.Opaque("alice", nil)); got != "issuer_unavailable" {
		t.Errorf("then: %s", got)
	}
	cfg := askedOf(issuer)
	cfg.Introspection.Endpoint = issuer.URL() + "/introspect"
	v, err := authz.New(authz.Config{Issuers: []authz.Issuer{cfg}})
	if err != nil {
		t.Fatal(err)
	}
	if !v.Ready() || len(v.Missing()) != 0 {
		t.Errorf("ready is %v and missing %v with a configured endpoint", v.Ready(), v.Missing())
	}
	if got := outcome(v, issuer.Opaque("alice", nil)); got != "main:alice" {
		t.Errorf("then: %s", got)
	}
}

func TestTheDiscoveredEndpoint(t *testing.T) {
	for name, row := range map[string]struct{ endpoint, says string }{
		"none":             {"", "no usable introspection_endpoint"},
		"plain http":       {"http://login.example.com/introspect", "not https"},
		"a password":       {"https://a:b@login.example.com/", "no usable introspection_endpoint"},
		"a file":           {"file:///etc/passwd", "no usable introspection_endpoint"},
		"one that will do": {"https://login.example.com/introspect?tenant=a", ""},
	} {
		var self string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, mustJSON(map[string]string{"issuer": self, "introspection_endpoint": row.endpoint}))
		}))
		self = server.URL
		told := make(chan error, 1)
		v := newVerifier(t, authz.Config{
			Issuers: []authz.Issuer{{Name: "main", URL: self, Audiences: []string{audience},
				Introspection: &authz.Introspection{ClientID: "id", ClientSecret: always("secret")}}},
			OnFetch: func(_ string, err error) {
				select {
				case told <- err:
				default:
				}
			},
		})
		err := <-told
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want a word of %q", name, err, row.says)
		}
		if v.Ready() != (row.says == "") {
			t.Errorf("%s: ready is %v", name, v.Ready())
		}
		server.Close()
	}
}

func TestIntrospectionThatIsRefusedAtConstruction(t *testing.T) {
	key := pemOf(t, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t))
	change := func(f func(*authz.Issuer)) authz.Issuer {
		i := authz.Issuer{Name: "main", URL: noDiscovery, Audiences: []string{audience}}
		i.Introspection = &authz.Introspection{ClientID: "id", ClientSecret: always("secret")}
		f(&i)
		return i
	}
	for name, row := range map[string]struct {
		issuer authz.Issuer
		field  string
	}{
		"no client id":    {change(func(i *authz.Issuer) { i.Introspection.ClientID = "" }), "introspection.client_id"},
		"no credential":   {change(func(i *authz.Issuer) { i.Introspection.ClientSecret = nil }), "introspection.client_secret_file"},
		"two credentials": {change(func(i *authz.Issuer) { i.Introspection.PrivateKey = always(key) }), "introspection.client_secret_file"},
		"an empty secret": {change(func(i *authz.Issuer) { i.Introspection.ClientSecret = always("") }), "introspection.client_secret_file"},
		"plain http":      {change(func(i *authz.Issuer) { i.Introspection.Endpoint = "http://login.example.com" }), "introspection.endpoint"},
		"a query":         {change(func(i *authz.Issuer) { i.Introspection.Endpoint = "https://login.example.com?a" }), "introspection.endpoint"},
		"a day of cache":  {change(func(i *authz.Issuer) { i.Introspection.Cache = 24 * time.Hour }), "introspection.cache"},
		"no audience":     {change(func(i *authz.Issuer) { i.Audiences = nil }), "audience"},
		"keys":            {change(func(i *authz.Issuer) { i.Keys = "https://login.example.com/keys" }), "keys"},
		"algorithms":      {change(func(i *authz.Issuer) { i.Algorithms = []string{"ES256"} }), "algorithms"},
		"a key that is none": {change(func(i *authz.Issuer) {
			i.Introspection.ClientSecret, i.Introspection.PrivateKey = nil, always("x")
		}), "introspection.private_key_file"},
	} {
		if got := row.issuer.Problems(); len(got) != 1 || got[0].Field != row.field {
			t.Errorf("%s: %v, want a problem of %s", name, got, row.field)
		}
		if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{row.issuer}}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	good := change(func(*authz.Issuer) {})
	second := good
	second.Name, second.URL = "second", noDiscovery+"/second"
	if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{good, second}}); err == nil {
		t.Error("two issuers that would be asked are accepted")
	}
}
