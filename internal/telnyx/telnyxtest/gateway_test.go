package telnyxtest_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const incorrect = -32001

func TestASoftphoneRegistersOnce(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	id := s.AddCredential(telnyxtest.Credential{})
	p := connect(t, s)
	if state := p.ask("telnyx_rtc.gatewayState", nil).Result.Params.State; state != "NOREG" {
		t.Errorf("the state is %q before the login", state)
	}
	p.ping()
	in := p.ask("login", map[string]any{"login_token": mint(t, s, id), "User-Agent": map[string]string{}})
	if in.Error.Code != 0 || in.Result.Message != "logged in" || len(in.Result.SessID) != 36 {
		t.Fatalf("the login is answered %+v", in)
	}
	p.mustHear("telnyx_rtc.clientReady")
	if n := s.Registered(id); n != 0 {
		t.Errorf("%d registered before it asks for its state", n)
	}
	for range 2 {
		if state := p.ask("telnyx_rtc.gatewayState", nil).Result.Params.State; state != "REGED" {
			t.Errorf("the state is %q", state)
		}
	}
	if n := s.Registered(strings.ToUpper(id)); n != 1 {
		t.Errorf("%d are registered", n)
	}
	want := telnyxtest.GatewayCount{Connections: 1, Logins: 1, Registrations: 1, Live: 1, Pings: 1}
	if d := cmp.Diff(want, s.Gateway()); d != "" {
		t.Error(d)
	}
}

// world is an emulator whose clock moves, and a credential in it.
type world struct {
	*telnyxtest.Server
	clock *clock
	id    string
}

func newWorld(t *testing.T, o telnyxtest.Options) world {
	t.Helper()
	c := new(clock)
	o.Now = c.now
	s := telnyxtest.StartT(t, o)
	return world{s, c, s.AddCredential(telnyxtest.Credential{})}
}

func TestWhichTokensLogIn(t *testing.T) {
	for name, row := range map[string]struct {
		token func(w world) string
		code  int
	}{
		"a good one":              {func(w world) string { return mint(t, w.Server, w.id) }, 0},
		"none":                    {func(world) string { return "" }, incorrect},
		"rubbish":                 {func(world) string { return "a.b.c" }, incorrect},
		"another Telnyx's":        {func(world) string { w := newWorld(t, telnyxtest.Options{}); return mint(t, w.Server, w.id) }, incorrect},
		"a second before it ends": {func(w world) string { return aged(t, w, 24*time.Hour-time.Second) }, 0},
		"when it ends":            {func(w world) string { return aged(t, w, 24*time.Hour) }, incorrect},
		"with a forged signature": {func(w world) string { token := mint(t, w.Server, w.id); return token[:len(token)-2] + "AA" }, incorrect},
		"from before ExpireTokens": {func(w world) string {
			token := mint(t, w.Server, w.id)
			w.ExpireTokens(w.id)
			return token
		}, incorrect},
		"from before another's ExpireTokens": {func(w world) string {
			token := mint(t, w.Server, w.id)
			w.ExpireTokens(w.AddCredential(telnyxtest.Credential{}))
			return token
		}, 0},
		"from after ExpireTokens": {func(w world) string {
			w.ExpireTokens("")
			return mint(t, w.Server, w.id)
		}, 0},
		"of a deleted credential": {func(w world) string {
			token := mint(t, w.Server, w.id)
			w.RemoveCredential(w.id)
			return token
		}, incorrect},
		"of an expired credential": {func(w world) string {
			token := mint(t, w.Server, w.id)
			w.ExpireCredential(w.id)
			return token
		}, incorrect},
		"of a credential that another took the id of": {func(w world) string {
			token := mint(t, w.Server, w.id)
			w.AddCredential(telnyxtest.Credential{ID: w.id})
			return token
		}, incorrect},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, telnyxtest.Options{})
			token := row.token(w)
			if code := connect(t, w.Server).login(token); code != row.code {
				t.Errorf("answered %d, want %d", code, row.code)
			}
			if of, ok := w.CredentialOf(token); row.code == 0 && (!ok || of != w.id) {
				t.Errorf("the token is for %q", of)
			}
		})
	}
}

func aged(t *testing.T, w world, age time.Duration) string {
	token := mint(t, w.Server, w.id)
	w.clock.forward(age)
	return token
}

func TestALoginOnALiveSessionChangesItsToken(t *testing.T) {
	w := newWorld(t, telnyxtest.Options{})
	p := registered(t, w.Server, mint(t, w.Server, w.id))
	w.clock.forward(23 * time.Hour)
	other := w.AddCredential(telnyxtest.Credential{})
	for _, token := range []string{"a.b.c", mint(t, w.Server, other)} { // it stays who it is
		if code := p.login(token); code != incorrect {
			t.Errorf("answered %d, want %d", code, incorrect)
		}
	}
	if code := p.login(mint(t, w.Server, w.id)); code != 0 {
		t.Fatalf("answered %d", code)
	}
	w.clock.forward(23 * time.Hour) // the first token is long over
	p.ping()
	want := telnyxtest.GatewayCount{Connections: 1, Logins: 4, Refused: 2, Registrations: 1, Live: 1, Pings: 1}
	if d := cmp.Diff(want, w.Gateway()); d != "" {
		t.Error(d)
	}
	w.clock.forward(time.Hour)
	p.mustEnd(-1)
}

func TestASessionAtItsTokensExpiry(t *testing.T) {
	for _, row := range []struct {
		at   telnyxtest.AtExpiry
		live int
	}{{telnyxtest.CloseSession, 0}, {telnyxtest.KeepSession, 1}} {
		w := newWorld(t, telnyxtest.Options{SessionAtExpiry: row.at})
		p := registered(t, w.Server, mint(t, w.Server, w.id))
		w.clock.forward(24 * time.Hour)
		if row.live == 1 {
			p.ping()
		} else {
			p.mustEnd(-1) // though it says nothing
		}
		if n := w.Registered(w.id); n != row.live {
			t.Errorf("%q: %d are live, want %d", row.at, n, row.live)
		}
	}
}

func TestWhatEndsSessions(t *testing.T) {
	for name, row := range map[string]struct {
		do         func(s *telnyxtest.Server, id string)
		own, other bool // end
	}{
		"dropping a credential's":     {func(s *telnyxtest.Server, id string) { s.DropSessions(id) }, true, false},
		"dropping all":                {func(s *telnyxtest.Server, _ string) { s.DropSessions("") }, true, true},
		"expiring a credential's":     {func(s *telnyxtest.Server, id string) { s.ExpireTokens(id) }, true, false},
		"expiring all":                {func(s *telnyxtest.Server, _ string) { s.ExpireTokens("") }, true, true},
		"the gateway's end":           {func(s *telnyxtest.Server, _ string) { s.SetGatewayDown(true) }, true, true},
		"the server's end":            {func(s *telnyxtest.Server, _ string) { s.Close() }, true, true},
		"the credential's end: not":   {func(s *telnyxtest.Server, id string) { s.RemoveCredential(id) }, false, false},
		"another key at the API: not": {func(s *telnyxtest.Server, _ string) { s.AcceptKeys("KEYother") }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := telnyxtest.StartT(t, telnyxtest.Options{})
			id, otherID := s.AddCredential(telnyxtest.Credential{}), s.AddCredential(telnyxtest.Credential{})
			own, other := registered(t, s, mint(t, s, id)), registered(t, s, mint(t, s, otherID))
			row.do(s, id)
			if got := [2]bool{s.Registered(id) == 0, s.Registered(otherID) == 0}; got != [2]bool{row.own, row.other} {
				t.Errorf("own and other ended: %v", got) // at once, not when the network is done
			}
			for p, end := range map[*softphone]bool{own: row.own, other: row.other} {
				if end {
					p.mustEnd(-1)
				} else {
					p.ping()
				}
			}
		})
	}
}

func TestAGatewayThatIsDownLetsNobodyIn(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	id := s.AddCredential(telnyxtest.Credential{})
	s.SetGatewayDown(true)
	_, status := dial(t, s.GatewayURL())
	mustStatus(t, status, 503)
	token := mint(t, s, id) // the API goes on
	s.SetGatewayDown(false)
	registered(t, s, token)
	if n := s.Gateway().Connections; n != 1 {
		t.Errorf("%d connections are counted", n)
	}
}

func TestLoginsAreRefusedOnDemand(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	p := registered(t, s, mint(t, s, s.AddCredential(telnyxtest.Credential{})))
	refused := func(want ...int) {
		t.Helper()
		for i, code := range want {
			if got := p.login(mint(t, s, s.Credentials()[0].ID)); got != code {
				t.Errorf("login %d is answered %d, want %d", i, got, code)
			}
		}
	}
	s.RefuseLogins(-32000, 2)
	refused(-32000, -32000, 0)
	s.RefuseLogins(incorrect, 0)
	refused(incorrect, incorrect, incorrect)
	s.RefuseLogins(0, 0)
	refused(0)
	if c := s.Gateway(); c.Refused != 5 || c.Live != 1 {
		t.Errorf("counted %+v", c)
	}
}

func TestThereAreNoCalls(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	p := registered(t, s, mint(t, s, s.AddCredential(telnyxtest.Credential{})))
	for _, method := range []string{"telnyx_rtc.invite", "telnyx_rtc.bye", "anonymous_login"} {
		p.mustAnswer(method, -32601)
	}
	p.say(websocket.MessageText, []byte(`{"jsonrpc":"2.0","id":"x","result":{}}`)) // an answer gets none
	p.ping()
}

func TestWhatIsNoFrameEndsTheSession(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	for name, row := range map[string]struct {
		kind   websocket.MessageType
		text   string
		status websocket.StatusCode
	}{
		"not JSON":  {websocket.MessageText, "#SPU 1024", websocket.StatusInvalidFramePayloadData},
		"a list":    {websocket.MessageText, "[]", websocket.StatusInvalidFramePayloadData},
		"binary":    {websocket.MessageBinary, "{}", websocket.StatusInvalidFramePayloadData},
		"too large": {websocket.MessageText, `{"id":"` + strings.Repeat("x", 64<<10) + `"}`, websocket.StatusMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, s)
			p.say(row.kind, []byte(row.text))
			p.mustEnd(row.status)
		})
	}
}

func TestASilentSessionIsEnded(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{IdleTime: 50 * time.Millisecond})
	connect(t, s).mustEnd(-1)
}

func TestSessionsAreBounded(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	for range 200 {
		connect(t, s)
	}
	_, status := dial(t, s.GatewayURL())
	mustStatus(t, status, 503)
	s.DropSessions("")
	connect(t, s)
}

func TestTheGatewayHasOnePath(t *testing.T) {
	var reported atomic.Int32
	s, err := telnyxtest.Start(telnyxtest.Options{Unexpected: func(string) { reported.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	_, status := dial(t, s.GatewayURL()+"/v2")
	mustStatus(t, status, 501)
	mustStatus(t, send(t, "GET", strings.TrimSuffix(s.URL(), "v2"), "").StatusCode, 501) // no upgrade
	if n := reported.Load(); n != 2 {
		t.Errorf("%d reported, want 2", n)
	}
}

// Whatever happens while softphones log in, none is left with a token that has
// been expired.
func TestNobodyOutlivesHisTokenInARace(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	id := s.AddCredential(telnyxtest.Credential{})
	token := mint(t, s, id)
	phones := make([]*softphone, 20)
	for i := range phones {
		phones[i] = connect(t, s)
	}
	var all sync.WaitGroup
	for i, p := range phones {
		if i == len(phones)/2 {
			all.Go(func() { s.ExpireTokens(id) })
		}
		all.Go(func() { p.tryToRegister(token) })
	}
	all.Wait()
	if n := s.Registered(id); n != 0 {
		t.Errorf("%d are registered with an expired token", n)
	}
	if c := s.Gateway(); c.Logins != len(phones) {
		t.Errorf("counted %+v", c)
	}
}
