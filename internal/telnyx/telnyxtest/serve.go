package telnyxtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Telnyx's error codes.
const (
	codeNotFound       = "10005"
	codeBadID          = "10006"
	codeUnexpected     = "10007"
	codeAuthentication = "10009"
	codeNotAllowed     = "10010"
	codeTooMany        = "10011"
	codeBadRequest     = "10015"
)

// maxRequestBytes bounds a request's body.
const maxRequestBytes = 64 << 10

// An answer is what goes back.
type answer struct {
	status      int
	contentType string
	body        string
}

func (a answer) write(w http.ResponseWriter) {
	if a.status >= 300 && a.status < 400 {
		w.Header().Set("Location", "/v2/telephony_credentials")
	}
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body) // a client that left is not our concern
}

func jsonAnswer(status int, body any) answer {
	text, _ := json.Marshal(body) // maps of strings, numbers and booleans
	return answer{status, "application/json; charset=utf-8", string(text)}
}

func errorAnswer(status int, code, detail string) answer {
	return jsonAnswer(status, map[string]any{
		"errors": []any{map[string]any{"code": code, "title": http.StatusText(status), "detail": detail}},
	})
}

// serve is every request's way: its operation, the rate limit, a fault, the
// key, the operation itself. The gateway is beside all of that.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if isUpgrade(r) {
		s.serveGateway(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	op, id, what := operation(r, body)
	if err != nil {
		op, what = "", "a body that cannot be read or is too large"
	}
	if op == "" {
		s.options.Unexpected(fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, what))
		errorAnswer(http.StatusNotImplemented, codeUnexpected, what).write(w)
		return
	}
	fault, faulty, limited := s.admit(op, w.Header())
	if !s.wait(r.Context(), s.options.Latency+fault.Delay) {
		return
	}
	switch {
	case limited:
		errorAnswer(http.StatusTooManyRequests, codeTooMany, "You have exceeded the maximum number of allowed requests.").write(w)
	case faulty && !fault.slowOnly():
		var real answer
		if fault.After || fault.needsAnswer() {
			real = s.do(op, id, r, body)
		}
		s.answerFault(w, r, fault, real)
	default:
		s.do(op, id, r, body).write(w)
	}
}

// needsAnswer reports whether the fault is made of the real answer.
func (f Fault) needsAnswer() bool {
	return f.Shape == Newline || f.Shape == JSONInstead || f.Shape == ErrorsArray && f.Status != 0 && f.Status < 300
}

// operation finds what a request asks for, or says why it is outside of the
// contract.
func operation(r *http.Request, body []byte) (op, id, what string) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v2/telephony_credentials")
	parts := strings.Split(rest, "/")
	switch {
	case !ok || parts[0] != "":
		return "", "", "no such path"
	case len(parts) == 1:
		op = map[string]string{"GET": List, "POST": Create}[r.Method]
	case len(parts) == 2 && parts[1] != "":
		op = map[string]string{"GET": Get, "PATCH": Update, "DELETE": Delete}[r.Method]
		id = parts[1]
	case len(parts) == 3 && parts[1] != "" && parts[2] == "token":
		op = map[string]string{"POST": Token}[r.Method]
		id = parts[1]
	}
	if op == "" {
		return "", "", "no such operation"
	}
	if what := outside(op, r, body); what != "" {
		return "", "", what
	}
	return op, id, ""
}

// outside says what about a request the contract does not know.
func outside(op string, r *http.Request, body []byte) string {
	for name := range r.URL.Query() {
		if op != List || !isListParameter(name) {
			return "an unknown query parameter"
		}
	}
	hasBody := op == Create || op == Update
	switch {
	case !hasBody && len(body) > 0:
		return "a body where none belongs"
	case hasBody && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		return "a body that is not application/json"
	}
	return ""
}

// admit counts a request, and finds out whether it is above the rate limit or
// else meets a fault.
func (s *Server) admit(op string, h http.Header) (f Fault, faulty, limited bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[op]++
	if s.limit(h) {
		s.limited++
		return Fault{}, false, true
	}
	f, faulty = s.takeFault(op)
	return f, faulty, false
}

// SetRateLimit changes Options.RateLimit while the server runs.
func (s *Server) SetRateLimit(requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.RateLimit = requests
}

// limit counts a request in the rate window, writes the headers, and reports
// whether it is one too many.
func (s *Server) limit(h http.Header) bool {
	if s.options.RateLimit <= 0 {
		return false
	}
	now := s.options.Now()
	if now.Sub(s.window) >= s.options.RateWindow {
		s.window, s.inWindow = now, 0
	}
	s.inWindow++
	reset := s.window.Add(s.options.RateWindow).Sub(now)
	h.Set("X-Ratelimit-Limit", strconv.Itoa(s.options.RateLimit))
	h.Set("X-Ratelimit-Remaining", strconv.Itoa(max(0, s.options.RateLimit-s.inWindow)))
	h.Set("X-Ratelimit-Reset", strconv.FormatInt(int64((reset+time.Second-1)/time.Second), 10))
	return s.inWindow > s.options.RateLimit
}
