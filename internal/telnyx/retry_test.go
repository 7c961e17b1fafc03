package telnyx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

var goodToken = jwt(hs512, `{"exp":1590010143}`)

// A step is how the server of a script treats one request.
type step func(w http.ResponseWriter, r *http.Request)

func status(code int, headers ...string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
	}
}

// hang reads the body, without which a server does not notice that its client
// has left.
func hang(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// done is success, for any of the operations.
func done(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/token"):
		io.WriteString(w, goodToken)
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, credentialBody("false"))
	case strings.HasSuffix(r.URL.Path, "/telephony_credentials"):
		io.WriteString(w, `{"data":[],"meta":{}}`)
	default:
		io.WriteString(w, credentialBody("false"))
	}
}

// A script is a server that treats each request with the next of its steps,
// the last of them for ever. A nil step refuses the connection.
type script struct {
	steps []step
	count atomic.Int32 // requests and refused connections
}

func (s *script) next() step { return s.steps[min(int(s.count.Load()), len(s.steps)-1)] }

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	act := s.next()
	s.count.Add(1)
	act(w, r)
}

// pipes is a network in memory, so that a bubble of synctest can hold it.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// play returns a client of a script, inside of a bubble.
func play(t *testing.T, steps ...step) (*Client, *script) {
	t.Helper()
	client, err := New(Config{BaseURL: "http://127.0.0.1/v2", APIKeys: func() []secret.Text { return []secret.Text{secret.New("KEY")} }})
	if err != nil {
		t.Fatal(err)
	}
	s, network := &script{steps: steps}, make(pipes)
	server := &http.Server{Handler: s}
	go server.Serve(network)
	client.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		if s.next() == nil {
			s.count.Add(1)
			return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
		}
		ours, theirs := net.Pipe()
		network <- theirs
		return ours, nil
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		close(network)
		server.Close()
	})
	return client, s
}

var someID = CredentialID{"c215ade3-0d39-418e-94be-c5f780760199"}

var operations = map[string]func(context.Context, *Client) error{
	"mint": func(ctx context.Context, c *Client) error { _, err := c.Mint(ctx, someID); return err },
	"get":  func(ctx context.Context, c *Client) error { _, err := c.Credential(ctx, someID); return err },
	"list": func(ctx context.Context, c *Client) error { _, err := c.Credentials(ctx, Query{}); return err },
	"update": func(ctx context.Context, c *Client) error {
		_, err := c.UpdateCredential(ctx, someID, time.Unix(1, 0))
		return err
	},
	"delete": func(ctx context.Context, c *Client) error { return c.DeleteCredential(ctx, someID) },
	"create": func(ctx context.Context, c *Client) error {
		_, err := c.CreateCredential(ctx, NewCredential{ConnectionID: "1"})
		return err
	},
}

func TestWhatIsRepeated(t *testing.T) {
	const sure, unsure = false, true
	type row struct {
		name      string
		steps     []step
		requests  int
		kind      error // nil: success
		uncertain bool
	}
	repeatable := []row{
		{"a 503, then success", []step{status(503), done}, 2, nil, sure},
		{"two 500, then success", []step{status(500), status(500), done}, 3, nil, sure},
		{"three 502", []step{status(502), status(502), status(502), done}, 3, ErrUnavailable, unsure},
		{"a 504, then success", []step{status(504), done}, 2, nil, sure},
		{"a 429, then success", []step{status(429), done}, 2, nil, sure},
		{"three 429", []step{status(429)}, 3, ErrLimited, sure},
		{"hung up, then success", []step{hangUp, done}, 2, nil, sure},
		{"no connection, then success", []step{nil, nil, done}, 3, nil, sure},
		{"no connection", []step{nil}, 3, ErrUnavailable, sure},
		{"a 401", []step{status(401), done}, 1, ErrKeyRejected, sure},
		{"a 404", []step{status(404), done}, 1, ErrCredentialRejected, sure},
		{"a 409", []step{status(409), done}, 1, ErrBadAnswer, unsure},
		{"a redirect", []step{status(302, "Location", "/"), done}, 1, ErrBadAnswer, unsure},
		{"a 503, then a 401", []step{status(503), status(401)}, 2, ErrKeyRejected, unsure},
	}
	scripts := map[string][]row{
		"mint": repeatable, "get": repeatable, "list": repeatable, "update": repeatable, "delete": repeatable,
		"create": {
			{"success", []step{done}, 1, nil, sure},
			{"a 503", []step{status(503), done}, 1, ErrUnavailable, unsure},
			{"a 504", []step{status(504), done}, 1, ErrTimeout, unsure},
			{"hung up", []step{hangUp, done}, 1, ErrUnavailable, unsure},
			{"no answer", []step{hang, done}, 1, ErrTimeout, unsure},
			{"a 202", []step{status(202), done}, 1, ErrBadAnswer, unsure},
			{"a 422", []step{status(422), done}, 1, ErrCredentialRejected, sure},
			{"a 429, then success", []step{status(429), done}, 2, nil, sure},
			{"no connection, then success", []step{nil, nil, done}, 3, nil, sure},
			{"no connection, then a 503", []step{nil, status(503), done}, 2, ErrUnavailable, unsure},
		},
	}
	scripts["delete"] = append(scripts["delete"],
		row{"a 503, then a 404", []step{status(503), status(404)}, 2, nil, sure},
		row{"hung up, then a 404", []step{hangUp, status(404)}, 2, nil, sure},
		row{"a 429, then a 404", []step{status(429), status(404)}, 2, ErrCredentialRejected, sure},
		row{"no connection, then a 404", []step{nil, status(404)}, 2, ErrCredentialRejected, sure},
		row{"a 503, then a 422", []step{status(503), status(422)}, 2, ErrCredentialRejected, unsure},
	)
	for op, rows := range scripts {
		for _, row := range rows {
			t.Run(op+": "+row.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, script := play(t, row.steps...)
					err := operations[op](t.Context(), client)
					if !errors.Is(err, row.kind) {
						t.Errorf("got %v, want %v", err, row.kind)
					}
					if e, ok := errors.AsType[*Error](err); ok && (e.Uncertain != row.uncertain || e.Attempts != row.requests || e.Op != op) {
						t.Errorf("got %+v", *e)
					}
					if n := int(script.count.Load()); n != row.requests {
						t.Errorf("%d requests, want %d", n, row.requests)
					}
				})
			})
		}
	}
}

func TestHowLongIsWaited(t *testing.T) {
	inBubble := func(d time.Duration) string { // a date, by a bubble's clock
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat)
	}
	for _, row := range []struct {
		name       string
		steps      []step
		least      time.Duration
		most       time.Duration
		requests   int
		kind       error
		retryAfter time.Duration
	}{
		{"backoff", []step{status(503), status(503), done}, 0, 300 * time.Millisecond, 3, nil, 0},
		{"seconds", []step{status(429, "Retry-After", "2"), done}, 2 * time.Second, 2100 * time.Millisecond, 2, nil, 0},
		{"seconds of a 503", []step{status(503, "Retry-After", "3"), done}, 3 * time.Second, 3100 * time.Millisecond, 2, nil, 0},
		{"date", []step{status(429, "Retry-After", inBubble(4*time.Second)), done}, 4 * time.Second, 4100 * time.Millisecond, 2, nil, 0},
		{"a date that is past", []step{status(429, "Retry-After", inBubble(-time.Hour)), done}, 0, 100 * time.Millisecond, 2, nil, 0},
		{"ratelimit reset", []step{status(429, "x-ratelimit-reset", "2"), done}, 2 * time.Second, 2100 * time.Millisecond, 2, nil, 0},
		{"Retry-After goes first", []step{status(429, "x-ratelimit-reset", "9", "Retry-After", "1"), done}, time.Second, 1100 * time.Millisecond, 2, nil, 0},
		{"reset of a 503 means nothing", []step{status(503, "x-ratelimit-reset", "60"), done}, 0, 100 * time.Millisecond, 2, nil, 0},
		{"longer than is left", []step{status(429, "Retry-After", "60"), done}, 0, 0, 1, ErrLimited, time.Minute},
		{"exactly what is left", []step{status(429, "Retry-After", "10"), done}, 0, 0, 1, ErrLimited, 10 * time.Second},
		{"reset longer than is left", []step{status(429, "x-ratelimit-reset", "11"), done}, 0, 0, 1, ErrLimited, 11 * time.Second},
		{"without end", []step{status(503, "Retry-After", "999999999"), done}, 0, 0, 1, ErrUnavailable, MaxRetryAfter},
		{"second wait does not fit", []step{status(429, "Retry-After", "6")}, 6 * time.Second, 6100 * time.Millisecond, 2, ErrLimited, 6 * time.Second},
		{"no answer, then success", []step{hang, done}, 5 * time.Second, 5100 * time.Millisecond, 2, nil, 0},
		{"no answer", []step{hang}, 10 * time.Second, 10 * time.Second, 2, ErrTimeout, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, script := play(t, row.steps...)
				began := time.Now()
				err := operations["mint"](t.Context(), client)
				if took := time.Since(began); took < row.least || took > row.most {
					t.Errorf("it took %v, want %v to %v", took, row.least, row.most)
				}
				if n := int(script.count.Load()); n != row.requests || !errors.Is(err, row.kind) {
					t.Errorf("%d requests, %v; want %d, %v", n, err, row.requests, row.kind)
				}
				if e, ok := errors.AsType[*Error](err); ok && e.RetryAfter != row.retryAfter {
					t.Errorf("RetryAfter is %v, want %v", e.RetryAfter, row.retryAfter)
				}
			})
		})
	}
}

func TestACallerWhoLeavesDuringAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, script := play(t, status(429, "Retry-After", "5"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		err := operations["mint"](ctx, client)
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrLimited) || errors.Is(err, ErrTimeout) {
			t.Errorf("got %v, want context.Canceled alone", err)
		}
		if time.Since(began) != time.Second || script.count.Load() != 1 {
			t.Errorf("after %v and %d requests", time.Since(began), script.count.Load())
		}
	})
}

func TestACallersDeadlineCountsForTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := play(t, status(429, "Retry-After", "5"))
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		err := operations["mint"](ctx, client)
		if !errors.Is(err, ErrLimited) || time.Since(began) != 0 {
			t.Errorf("%v after %v, want ErrLimited at once", err, time.Since(began))
		}
	})
}

func TestAnOutageIsNotMadeWorse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, script := play(t, status(503))
		const calls = 200
		for range calls {
			if err := operations["mint"](t.Context(), client); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if n := script.count.Load(); n != calls+10 {
			t.Errorf("%d requests for %d calls, want 10 more", n, calls)
		}
		script.steps, script.count = []step{done}, atomic.Int32{}
		for range 25 {
			if err := operations["mint"](t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		script.steps, script.count = []step{status(503)}, atomic.Int32{}
		for range calls {
			operations["mint"](t.Context(), client)
		}
		if n := script.count.Load(); n != calls+2 {
			t.Errorf("%d requests for %d calls, want 2 more after 25 successes", n, calls)
		}
	})
}

func TestBackoffIsBounded(t *testing.T) {
	for attempt, most := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 5: 1600 * time.Millisecond, 6: backoffCap, 20: backoffCap} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := backoff(attempt)
			seen[d] = true
			if d < 0 || d >= most {
				t.Errorf("attempt %d: %v, want less than %v", attempt, d, most)
			}
		}
		if len(seen) < 90 {
			t.Errorf("attempt %d: only %d different waits of 100", attempt, len(seen))
		}
	}
}

func TestNoTransportErrorIsQuoted(t *testing.T) {
	const marked = "MARKED"
	for name, err := range map[string]error{
		"unknown":  fmt.Errorf("malformed HTTP response %q", marked),
		"dns":      &net.OpError{Op: "dial", Err: &net.DNSError{Err: marked, Name: marked, Server: marked, IsNotFound: true}},
		"dns down": &net.DNSError{Err: marked, Name: marked},
		"eof":      fmt.Errorf("%s: %w", marked, io.ErrUnexpectedEOF),
		"timeout":  &net.OpError{Op: "read", Net: marked, Err: context.DeadlineExceeded},
	} {
		for _, answered := range []bool{false, true} {
			if e := broken(err, answered); strings.Contains(e.Error(), marked) || errors.Is(e, err) {
				t.Errorf("%s: %v", name, e)
			}
		}
	}
}
