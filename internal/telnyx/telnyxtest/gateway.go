package telnyxtest

import (
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// Bounds of the gateway.
const (
	maxSessions   = 200
	maxFrameBytes = 64 << 10 // a login is below 2 KiB
)

// AtExpiry says what a live session gets when its login token expires.
type AtExpiry string

// What Telnyx does is not documented, and nobody could see it.
const (
	CloseSession AtExpiry = ""     // the connection ends
	KeepSession  AtExpiry = "keep" // nothing, until it connects again
)

// GatewayCount is what the gateway has seen.
type GatewayCount struct {
	Connections   int // accepted
	Logins        int // asked for, those on a live session included
	Refused       int // logins answered with an error
	Registrations int // how often a session became REGED
	Live          int // sessions that are REGED now
	Pings         int
}

// gateway is where softphones log in and register: a WebSocket with JSON-RPC,
// as @telnyx/webrtc 2.27.10 speaks it. How it answers what that client never
// sends is a guess, and so is that deleting a credential ends no live session.
// Its fields need Server.mu.
type gateway struct {
	sessions map[*session]struct{}
	down     bool
	refusal  refusal
	count    GatewayCount
}

// refusal is what logins are refused with on demand.
type refusal struct{ code, times int }

// take returns the code that a login is refused with, or 0.
func (r *refusal) take() int {
	code := r.code
	if r.times == 1 {
		*r = refusal{}
	}
	r.times = max(0, r.times-1)
	return code
}

// GatewayURL returns the gateway's address, on the listener of the API.
func (s *Server) GatewayURL() string { return "ws://" + s.listener.Addr().String() }

// Gateway returns what the gateway has seen.
func (s *Server) Gateway() GatewayCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := s.gateway.count
	for one := range s.gateway.sessions {
		if one.registered {
			count.Live++
		}
	}
	return count
}

// Registered returns how many live sessions are registered as a credential.
func (s *Server) Registered(credentialID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for one := range s.gateway.sessions {
		if one.registered && strings.EqualFold(one.credential, credentialID) {
			n++
		}
	}
	return n
}

// ExpireTokens has the gateway accept no token any more that was minted for a
// credential until now, and ends the sessions that hold one. An empty id is all
// credentials.
func (s *Server) ExpireTokens(credentialID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.credentials {
		if credentialID == "" || strings.EqualFold(r.ID, credentialID) {
			r.subject = randomUUID() // the old one goes on naming the credential for CredentialOf
			s.subjects[r.subject] = r.ID
		}
	}
	s.cut(credentialID)
}

// DropSessions ends the sessions of a credential as a network does: without a
// word. An empty id is all sessions, also those that have not logged in.
func (s *Server) DropSessions(credentialID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut(credentialID)
}

// RefuseLogins has the next logins answered with an error of this code,
// whatever their token: -32001 is "Login Incorrect"; -32000 makes
// @telnyx/webrtc 2.27.10 log in again at once, and again. times 0 is all until
// RefuseLogins(0, 0).
func (s *Server) RefuseLogins(code, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.refusal = refusal{code, times}
}

// SetGatewayDown has the gateway answer 503, and ends all sessions, until it is
// called with false. The API goes on.
func (s *Server) SetGatewayDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.down = down
	if down {
		s.cut("")
	}
}

// cut ends sessions at once for whoever counts, and soon on the wire. It needs
// s.mu.
func (s *Server) cut(credentialID string) {
	for one := range s.gateway.sessions {
		if credentialID == "" || strings.EqualFold(one.credential, credentialID) {
			s.end(one)
		}
	}
}

// end needs s.mu. A session may be ended more than once.
func (s *Server) end(one *session) {
	delete(s.gateway.sessions, one)
	one.cancel()
}

// isUpgrade reports whether a request is for the gateway: @telnyx/webrtc puts
// parameters into the query that mean nothing here.
func isUpgrade(r *http.Request) bool {
	return r.URL.Path == "/" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// serveGateway holds a session until it ends.
func (s *Server) serveGateway(w http.ResponseWriter, r *http.Request) {
	one := newSession()
	if !s.enter(one) {
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	defer s.leave(one)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // pages of every origin, as at Telnyx: what counts is the login token
	})
	if err != nil {
		return // it has been answered
	}
	conn.SetReadLimit(maxFrameBytes)
	one.conn = conn
	s.converse(one)
}

// enter admits a session, which must leave.
func (s *Server) enter(one *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return false
	default:
	}
	if s.gateway.down || len(s.gateway.sessions) >= maxSessions {
		return false
	}
	s.gateway.sessions[one] = struct{}{}
	s.gateway.count.Connections++
	s.talking.Add(1)
	return true
}

func (s *Server) leave(one *session) {
	s.mu.Lock()
	s.end(one)
	s.mu.Unlock()
	s.talking.Done()
}
