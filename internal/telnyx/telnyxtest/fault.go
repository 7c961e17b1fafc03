package telnyxtest

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Shape is how an answer is wrong. The first group changes the body, the
// second leaves HTTP.
type Shape string

// The shapes.
const (
	ErrorsArray  Shape = ""              // Telnyx's usual errors[]; with a status below 300, the real answer
	ErrorsObject Shape = "errors-object" // errors as one object
	NoErrors     Shape = "no-errors"     // a JSON object without errors
	Empty        Shape = "empty"         // nothing
	HTML         Shape = "html"          // a maintenance page
	NotJWT       Shape = "not-jwt"       // text that is no token
	JSONInstead  Shape = "json"          // the token inside of JSON
	Newline      Shape = "newline"       // the real answer and a line break
	Redirect     Shape = "redirect"      // 302 to this server
	Endless      Shape = "endless"       // a body without an end

	Hang            Shape = "hang"             // no answer until the client leaves
	HangBody        Shape = "hang-body"        // the head of the answer, a byte, and then none
	Reset           Shape = "reset"            // RST instead of an answer
	ResetBody       Shape = "reset-body"       // RST in the middle of the body
	Close           Shape = "close"            // the connection ends without an answer
	MalformedStatus Shape = "malformed-status" // a status line that is none
	MalformedHeader Shape = "malformed-header" // a header that is none
)

// Shapes returns all of them.
func Shapes() []Shape {
	return []Shape{
		ErrorsArray, ErrorsObject, NoErrors, Empty, HTML, NotJWT, JSONInstead, Newline, Redirect, Endless,
		Hang, HangBody, Reset, ResetBody, Close, MalformedStatus, MalformedHeader,
	}
}

// A Fault is what happens to requests instead of, or after, what they ask for.
type Fault struct {
	Op     string // which operation; empty is all
	Times  int    // how many requests; 0 is all until ClearFaults
	Status int    // of the answer; 0 is 200 for a changed body, 503 for errors
	Shape  Shape
	Code   string // Telnyx's code in errors[]; default by Status
	// RetryAfter is the value of that header, seconds or a date; empty is no
	// header.
	RetryAfter string
	// Delay is waited first. A Fault with a Delay and nothing else is a slow
	// Telnyx: the real answer follows.
	Delay time.Duration
	// After does what was asked for before the fault: a token is minted, a
	// credential created or deleted, and only the answer is lost.
	After bool
	// Mark is put into every body and header value the fault makes up.
	Mark string
}

// Inject adds a fault. Of several that fit a request the oldest counts.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults removes all faults. Requests that hang go on hanging.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// takeFault returns the fault that a request of op meets. It needs s.mu.
func (s *Server) takeFault(op string) (Fault, bool) {
	i := slices.IndexFunc(s.faults, func(f *Fault) bool { return f.Op == "" || f.Op == op })
	if i < 0 {
		return Fault{}, false
	}
	f := s.faults[i]
	taken := *f
	if f.Times == 1 {
		s.faults = slices.Delete(s.faults, i, i+1)
	} else if f.Times > 1 {
		f.Times--
	}
	return taken, true
}

// slowOnly reports whether the real answer follows the delay.
func (f Fault) slowOnly() bool {
	return f.Shape == ErrorsArray && f.Status == 0 && f.RetryAfter == "" && f.Code == "" && !f.After
}

func (s *Server) answerFault(w http.ResponseWriter, r *http.Request, f Fault, real answer) {
	if f.Mark != "" {
		w.Header().Set("X-Mark", f.Mark)
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	switch f.Shape {
	case Hang:
		s.hang(r)
	case HangBody:
		s.hangBody(w, r, f)
	case Endless:
		s.endless(w, f)
	case Reset, ResetBody, Close, MalformedStatus, MalformedHeader:
		f.breakConnection(w)
	default:
		f.answer(real).write(w)
	}
}

// answer is the answer of a fault that keeps to HTTP.
func (f Fault) answer(real answer) answer {
	switch f.Shape {
	case Empty:
		return answer{status: f.statusOr(200), contentType: "text/plain"}
	case HTML:
		return answer{f.statusOr(200), "text/html", "<html><title>Maintenance</title>" + f.Mark + "</html>"}
	case NotJWT:
		return answer{f.statusOr(201), "text/plain", "not a token " + f.Mark}
	case JSONInstead:
		return answer{f.statusOr(201), "application/json", `{"data":{"token":"` + real.body + `"},"mark":"` + f.Mark + `"}`}
	case Newline:
		return answer{f.statusOr(real.status), real.contentType, real.body + "\n"}
	case Redirect:
		return answer{f.statusOr(302), "text/html", f.Mark}
	case NoErrors:
		return answer{f.statusOr(503), "application/json", `{"mark":"` + f.Mark + `"}`}
	case ErrorsObject:
		return answer{f.statusOr(422), "application/json", `{"errors":{"code":"` + f.code() + `","detail":"` + f.Mark + `"}}`}
	}
	if f.Status != 0 && f.Status < 300 {
		real.status = f.Status
		return real
	}
	return errorAnswer(f.statusOr(503), f.code(), "Injected fault "+f.Mark)
}

func (f Fault) statusOr(status int) int {
	if f.Status != 0 {
		return f.Status
	}
	return status
}

func (f Fault) code() string {
	if f.Code != "" {
		return f.Code
	}
	switch f.Status {
	case 401:
		return codeAuthentication
	case 403:
		return codeNotAllowed
	case 404:
		return codeNotFound
	case 429:
		return codeTooMany
	case 400, 422:
		return codeBadRequest
	}
	return codeUnexpected
}

func (s *Server) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.closed:
	}
}

func (s *Server) hangBody(w http.ResponseWriter, r *http.Request, f Fault) {
	w.WriteHeader(f.statusOr(201))
	fmt.Fprint(w, f.Mark+".")
	_ = http.NewResponseController(w).Flush()
	s.hang(r)
}

func (s *Server) endless(w http.ResponseWriter, f Fault) {
	w.WriteHeader(f.statusOr(201))
	chunk := strings.Repeat("A"+f.Mark, 4<<10)
	for {
		select {
		case <-s.closed:
			return
		default:
		}
		if _, err := fmt.Fprint(w, chunk); err != nil {
			return
		}
	}
}

// breakConnection writes to the connection itself and ends it.
func (f Fault) breakConnection(w http.ResponseWriter) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(buffer, f.rawAnswer())
	_ = buffer.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok && (f.Shape == Reset || f.Shape == ResetBody) {
		_ = tcp.SetLinger(0) // Close sends RST
	}
}

func (f Fault) rawAnswer() string {
	switch f.Shape {
	case MalformedStatus:
		return "HTTP/1.1 " + f.Mark + " nonsense\r\n\r\n"
	case MalformedHeader:
		return "HTTP/1.1 201 Created\r\n" + f.Mark + " no colon\r\n\r\n"
	case ResetBody:
		return fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: 1000\r\n\r\n%s", f.statusOr(201), f.Mark)
	}
	return ""
}
