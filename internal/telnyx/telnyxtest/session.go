package telnyxtest

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coder/websocket"
)

const (
	// writeTime is how long a frame may take to be written.
	writeTime = 10 * time.Second
	// expiryCheck is how often the token of a silent session is held against
	// Options.Now, which tests move.
	expiryCheck = 100 * time.Millisecond
)

// Codes of JSON-RPC errors.
const (
	codeLoginIncorrect = -32001
	codeUnknownMethod  = -32601
)

// session is one connection of a softphone.
type session struct {
	conn   *websocket.Conn
	ctx    context.Context
	cancel context.CancelFunc
	id     string
	voice  string // voice_sdk_id, by which Telnyx finds a connection's logs

	// The rest needs Server.mu.
	credential string    // empty until it has logged in
	expires    time.Time // its token
	registered bool
}

func newSession() *session {
	ctx, cancel := context.WithCancel(context.Background())
	return &session{ctx: ctx, cancel: cancel, id: randomUUID(), voice: randomUUID()}
}

// frame is what comes: a request, or an answer to one of ours, without a method.
type frame struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

var errNoFrame = errors.New("telnyxtest: not one JSON object in a text frame")

// converse answers frames until the connection ends.
func (s *Server) converse(one *session) {
	defer func() { _ = one.conn.CloseNow() }()
	s.talking.Go(func() { s.watch(one) })
	defer one.cancel() // for the watch
	for {
		f, err := one.read(s.options.IdleTime)
		if err != nil {
			return
		}
		for _, reply := range s.replies(one, f) {
			if one.write(reply) != nil {
				return
			}
		}
	}
}

// watch ends a session that says nothing when its token expires.
func (s *Server) watch(one *session) {
	ticker := time.NewTicker(expiryCheck)
	defer ticker.Stop()
	for {
		select {
		case <-one.ctx.Done():
			return
		case <-ticker.C:
			s.mu.Lock()
			s.live(one)
			s.mu.Unlock()
		}
	}
}

// live reports whether a session has not ended, and ends it if its token has
// expired. It needs s.mu.
func (s *Server) live(one *session) bool {
	if s.options.SessionAtExpiry == CloseSession && one.credential != "" && !s.options.Now().Before(one.expires) {
		s.end(one)
	}
	_, live := s.gateway.sessions[one]
	return live
}

func (one *session) read(idle time.Duration) (frame, error) {
	ctx, cancel := context.WithTimeout(one.ctx, idle)
	defer cancel()
	kind, text, err := one.conn.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	var f frame
	if kind != websocket.MessageText || json.Unmarshal(text, &f) != nil {
		_ = one.conn.Close(websocket.StatusInvalidFramePayloadData, errNoFrame.Error())
		return frame{}, errNoFrame
	}
	return f, nil
}

func (one *session) write(reply map[string]any) error {
	ctx, cancel := context.WithTimeout(one.ctx, writeTime)
	defer cancel()
	reply["jsonrpc"], reply["voice_sdk_id"] = "2.0", one.voice
	text, err := json.Marshal(reply)
	if err != nil {
		return err
	}
	return one.conn.Write(ctx, websocket.MessageText, text)
}

// replies are what a frame is answered with.
func (s *Server) replies(one *session, f frame) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live(one) {
		return nil // ended while it spoke
	}
	switch f.Method {
	case "": // an answer
		return nil
	case "login":
		return s.login(one, f)
	case "telnyx_rtc.gatewayState":
		return result(f, map[string]any{"params": map[string]any{"state": s.register(one)}})
	case "telnyx_rtc.ping":
		s.gateway.count.Pings++
		return result(f, map[string]any{"message": "pong"})
	}
	return failure(f, codeUnknownMethod, "Method Not Found") // calls are outside of this emulator
}

// login answers a login. The first tells the client that it may ask for its
// registration; one on a live session changes the token, and nothing else.
func (s *Server) login(one *session, f frame) []map[string]any {
	s.gateway.count.Logins++
	first := one.credential == ""
	if code := s.admitToken(one, f.loginToken()); code != 0 {
		s.gateway.count.Refused++
		return failure(f, code, "Login Incorrect")
	}
	replies := result(f, map[string]any{"message": "logged in", "sessid": one.id})
	if first {
		replies = append(replies, map[string]any{
			"id": randomUUID(), "method": "telnyx_rtc.clientReady", "params": map[string]any{"reattached_sessions": []string{}},
		})
	}
	return replies
}

// admitToken gives a session the token it logs in with, or returns the code it
// is refused with.
func (s *Server) admitToken(one *session, jwt string) (code int) {
	if code := s.gateway.refusal.take(); code != 0 {
		return code
	}
	c, signed := s.verify(jwt)
	r, known := s.byID[s.subjects[c.Subject]]
	now, expires := s.options.Now(), time.Unix(c.Expires, 0)
	switch {
	case !signed, !now.Before(expires):
		return codeLoginIncorrect
	case !known, r.subject != c.Subject, r.expired(now): // a credential of today, a token since ExpireTokens
		return codeLoginIncorrect
	case one.credential != "" && one.credential != r.ID: // nobody changes who he is
		return codeLoginIncorrect
	}
	one.credential, one.expires = r.ID, expires
	return 0
}

// register makes a session REGED that has logged in, once.
func (s *Server) register(one *session) string {
	if one.credential == "" {
		return "NOREG"
	}
	if !one.registered {
		one.registered = true
		s.gateway.count.Registrations++
	}
	return "REGED"
}

func (f frame) loginToken() string {
	var p struct {
		LoginToken string `json:"login_token"`
	}
	_ = json.Unmarshal(f.Params, &p) // then there is no token
	return p.LoginToken
}

func result(f frame, body map[string]any) []map[string]any {
	return []map[string]any{{"id": f.ID, "result": body}}
}

func failure(f frame, code int, message string) []map[string]any {
	return []map[string]any{{"id": f.ID, "error": map[string]any{"code": code, "message": message}}}
}
