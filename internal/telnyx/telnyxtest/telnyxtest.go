// Package telnyxtest is a Telnyx to test and develop against: its telephony
// credentials API on a real listener on a loopback address, with faults on
// demand, and on the same listener the gateway where softphones log in with the
// tokens. There are no calls.
//
// It stands for Telnyx, not for us, so it shares no code with the client. The
// contract that it keeps is telnyx.openapi.yaml beside it, which says what is
// documented and what is a guess. A request outside of the contract is
// answered 501 and reported to Options.Unexpected: Telnyx would do something,
// and nobody knows what.
//
// It is part of the product, for the developer's mode, and imports neither
// the testing package nor anything large.
package telnyxtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The operations, as Fault.Op and Requests name them.
const (
	List   = "list"
	Create = "create"
	Get    = "get"
	Update = "update"
	Delete = "delete"
	Token  = "token"
)

// Defaults of Options.
const (
	DefaultAPIKey             = "KEYemulator"
	DefaultTokenLife          = 24 * time.Hour
	DefaultNewCredentialDelay = 5 * time.Second
	DefaultIdleTime           = 5 * time.Minute
)

// Options says how the server behaves. The zero value is a Telnyx in good
// health.
type Options struct {
	// Addr is where it listens: a loopback address and a port, 0 for any free
	// one. Default "127.0.0.1:0". Other addresses are refused, because whoever
	// reaches it can have tokens.
	Addr string
	// APIKey is the key it accepts until AcceptKeys. Default DefaultAPIKey. Any
	// other gets 401, code 10009.
	APIKey string
	// TokenLife is how long a login token lasts, unless its credential expires
	// first. Default DefaultTokenLife.
	TokenLife time.Duration
	// NewCredentialDelay is how long a created credential gets no token.
	// Telnyx's documents say to wait about 5 s before the first login, "it may
	// fail until then", not how: here the token call answers 404. Default
	// DefaultNewCredentialDelay; negative is none.
	NewCredentialDelay time.Duration
	// RateLimit is how many requests are served in a RateWindow; those above
	// get 429, code 10011, and every answer has the x-ratelimit headers.
	// 0 is no limit and no headers.
	RateLimit int
	// RateWindow is the fixed window of RateLimit. Default 1 s.
	RateWindow time.Duration
	// Latency is waited before every answer of the API.
	Latency time.Duration
	// SessionAtExpiry is what a live session of the gateway gets when its token
	// expires. Default CloseSession.
	SessionAtExpiry AtExpiry
	// IdleTime is how long a session of the gateway may be silent before it is
	// ended. @telnyx/webrtc pings every 20 s, and a browser slows a hidden page's
	// timers to one a minute. Default DefaultIdleTime.
	IdleTime time.Duration
	// Now is the clock for lifetimes and rate windows. Default time.Now.
	Now func() time.Time
	// Unexpected is called with a description of every request outside of the
	// contract, from the server's goroutines.
	Unexpected func(what string)
	// SIPPassword, if set, is the SIP password of every credential, and
	// TokenMark is found in every token's tel_token claim: for tests that look
	// for them where they must not be. Default random, and none.
	SIPPassword string
	TokenMark   string
}

// A Server is a running emulator. Its methods may be called from any
// goroutine.
type Server struct {
	options    Options
	signingKey []byte
	listener   net.Listener
	http       *http.Server
	closed     chan struct{} // frees whoever hangs or waits
	served     chan struct{}
	closeOnce  sync.Once
	talking    sync.WaitGroup // the gateway's sessions

	accepted atomic.Int64
	keys     keys

	mu          sync.Mutex
	credentials []*record // oldest first
	byID        map[string]*record
	subjects    map[string]string // a token's sub to its credential, also after its deletion
	requests    map[string]int
	faults      []*Fault
	window      time.Time // when the running rate window began
	inWindow    int
	limited     int // requests above the rate limit
	minted      int // login tokens
	gateway     gateway
}

// Start starts a server. Close ends it.
func Start(o Options) (*Server, error) {
	o = o.withDefaults()
	if err := checkLoopback(o.Addr); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("telnyxtest: %w", err)
	}
	s := &Server{
		options:    o,
		signingKey: randomBytes(64),
		listener:   listener,
		closed:     make(chan struct{}),
		served:     make(chan struct{}),
		byID:       make(map[string]*record),
		subjects:   make(map[string]string),
		requests:   make(map[string]int),
		gateway:    gateway{sessions: make(map[*session]struct{})},
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ConnState:         s.countConnection,
	}
	s.AcceptKeys(o.APIKey)
	go func() {
		defer close(s.served)
		_ = s.http.Serve(listener) // always ErrServerClosed, after Close
	}()
	return s, nil
}

// TB is what StartT needs of a testing.TB.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// StartT starts a server for a test. It is closed with the test, which fails
// at any request outside of the contract; Options.Unexpected is called too.
func StartT(tb TB, o Options) *Server {
	tb.Helper()
	unexpected := o.Unexpected
	o.Unexpected = func(what string) {
		tb.Errorf("telnyxtest: unexpected request: %s", what)
		if unexpected != nil {
			unexpected(what)
		}
	}
	s, err := Start(o)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

func (o Options) withDefaults() Options {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.APIKey == "" {
		o.APIKey = DefaultAPIKey
	}
	if o.TokenLife == 0 {
		o.TokenLife = DefaultTokenLife
	}
	if o.NewCredentialDelay == 0 {
		o.NewCredentialDelay = DefaultNewCredentialDelay
	}
	if o.IdleTime <= 0 {
		o.IdleTime = DefaultIdleTime
	}
	if o.RateWindow <= 0 {
		o.RateWindow = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Unexpected == nil {
		o.Unexpected = func(string) {}
	}
	return o
}

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("telnyxtest: Addr: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("telnyxtest: Addr must be a loopback address")
	}
	return nil
}

// URL returns the base URL of the API, version included, without a slash at
// its end.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/v2" }

// Close ends the server, and with it every request that hangs and every session
// of the gateway. It may be called more than once.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		close(s.closed)
		s.DropSessions("")
		_ = s.http.Close()
		<-s.served
		s.talking.Wait()
	})
}

// Requests returns how many requests of an operation have come in, those that
// were refused or met a fault included.
func (s *Server) Requests(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[op]
}

// Limited returns how many requests were refused because they were above the
// rate limit. 429 of a fault is not counted.
func (s *Server) Limited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limited
}

// Minted returns how many login tokens have been made, those that a fault kept from
// whoever asked included.
func (s *Server) Minted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.minted
}

// Connections returns how many connections have been accepted, those to the
// gateway included.
func (s *Server) Connections() int { return int(s.accepted.Load()) }

func (s *Server) countConnection(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.accepted.Add(1)
	}
}

// wait waits for d and reports whether the client and the server are still
// there.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.closed:
	}
	return false
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

func randomUUID() string {
	b := randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
