package telnyxtest_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// softphone speaks to the gateway as @telnyx/webrtc does.
type softphone struct {
	t    *testing.T
	conn *websocket.Conn
	asks int
}

// spoken is a frame from the gateway.
type spoken struct {
	JSONRPC    string `json:"jsonrpc"`
	ID         string `json:"id"`
	Method     string `json:"method"`
	VoiceSDKID string `json:"voice_sdk_id"`
	Result     struct {
		Message string `json:"message"`
		SessID  string `json:"sessid"`
		Params  struct {
			State string `json:"state"`
		} `json:"params"`
	} `json:"result"`
	Error struct {
		Code int `json:"code"`
	} `json:"error"`
}

// dial connects a softphone, and returns the status with which the gateway
// answered.
func dial(t *testing.T, url string) (*softphone, int) {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return nil, resp.StatusCode
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &softphone{t: t, conn: conn}, resp.StatusCode
}

func connect(t *testing.T, s *telnyxtest.Server) *softphone {
	t.Helper()
	p, status := dial(t, s.GatewayURL()+"/?voice_sdk_id=x")
	mustStatus(t, status, 101)
	return p
}

// registered connects a softphone and registers it with a token.
func registered(t *testing.T, s *telnyxtest.Server, token string) *softphone {
	t.Helper()
	p := connect(t, s)
	if code := p.login(token); code != 0 {
		t.Fatalf("the login was answered %d", code)
	}
	p.mustHear("telnyx_rtc.clientReady")
	if state := p.ask("telnyx_rtc.gatewayState", nil).Result.Params.State; state != "REGED" {
		t.Fatalf("the state is %q", state)
	}
	return p
}

// login returns the error's code.
func (p *softphone) login(token string) int {
	p.t.Helper()
	return p.ask("login", map[string]any{"login_token": token}).Error.Code
}

func (p *softphone) ping() { p.t.Helper(); p.mustAnswer("telnyx_rtc.ping", 0) }

func (p *softphone) mustAnswer(method string, code int) {
	p.t.Helper()
	if got := p.ask(method, map[string]any{}).Error.Code; got != code {
		p.t.Errorf("%s is answered %d, want %d", method, got, code)
	}
}

func (p *softphone) mustHear(method string) {
	p.t.Helper()
	if f := p.hear(); f.Method != method {
		p.t.Fatalf("heard %+v, want %s", f, method)
	}
}

// tryToRegister does what registered does, and gives up when the connection
// ends.
func (p *softphone) tryToRegister(token string) {
	for _, text := range []string{
		`{"id":"login","method":"login","params":{"login_token":"` + token + `"}}`,
		`{"id":"state","method":"telnyx_rtc.gatewayState"}`,
	} {
		if p.conn.Write(p.t.Context(), websocket.MessageText, []byte(text)) != nil {
			return
		}
	}
	for {
		_, text, err := p.conn.Read(p.t.Context())
		if err != nil || strings.Contains(string(text), `"state"`) {
			return
		}
	}
}

// ask sends a request and returns its answer, which must come next.
func (p *softphone) ask(method string, params any) spoken {
	p.t.Helper()
	p.asks++
	id := strconv.Itoa(p.asks)
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		p.t.Fatal(err)
	}
	p.say(websocket.MessageText, text)
	f := p.hear()
	if f.ID != id || f.Method != "" || f.JSONRPC != "2.0" || f.VoiceSDKID == "" {
		p.t.Fatalf("%s is answered by %+v", method, f)
	}
	return f
}

func (p *softphone) say(kind websocket.MessageType, text []byte) {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), kind, text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *softphone) hear() spoken {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	var f spoken
	_, text, err := p.conn.Read(ctx)
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// mustEnd waits until the connection ends, with this status; -1 is without a
// word.
func (p *softphone) mustEnd(want websocket.StatusCode) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	_, text, err := p.conn.Read(ctx)
	if got := websocket.CloseStatus(err); err == nil || ctx.Err() != nil || got != want {
		p.t.Errorf("heard %s, %v; want status %d", text, err, want)
	}
}

// mint returns a token of a credential.
func mint(t *testing.T, s *telnyxtest.Server, id string) string {
	t.Helper()
	resp := send(t, "POST", s.URL()+"/telephony_credentials/"+id+"/token", "")
	mustStatus(t, resp.StatusCode, 201)
	return text(t, resp)
}
