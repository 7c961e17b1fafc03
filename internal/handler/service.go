// Package handler is everything inbound over HTTP: the routes, the story of a
// token, the table of outcomes, and what operators read. It trusts nothing that
// a request says but what authz has verified.
package handler

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

type verifier interface {
	Verify(ctx context.Context, e authz.Evidence) (*authz.Principal, error)
}

type finder interface {
	Find(ctx context.Context, q directory.Query) (telnyx.CredentialID, error)
}

type vendor interface {
	Vend(ctx context.Context, id telnyx.CredentialID) (vending.Vended, error)
}

// Config is what a Service needs. What has no default is required.
type Config struct {
	Verifier  verifier
	Policy    *authz.Policy
	Directory finder
	Vendor    vendor

	// DirectoryName is what callers are told of where their credential is
	// looked up, such as "file" or "claim:telnyx_credential".
	DirectoryName string
	// OpenAPI is the contract, served at /openapi.yaml.
	OpenAPI []byte
	// BasePath is a prefix of every path, "" or "/like/this".
	BasePath string
	// Origins are the origins that browsers may call from, exactly as they send
	// them. Default none: then no cross-origin header is ever sent.
	Origins []string
	// Cookies lets those pages send cookies along, for issuers whose tokens are
	// in one.
	Cookies bool
	// DPoP tells callers that bearers may be bound to a key (RFC 9449).
	DPoP bool
	// TrustedProxies are the ranges whose X-Forwarded-For counts. Default none:
	// then the client is who opened the connection.
	TrustedProxies []netip.Prefix
	// UserPerMinute and UserBurst bound how often one user may ask.
	UserPerMinute, UserBurst int
	// InFlight bounds how many requests are served at once; more are refused.
	InFlight int
	// Timeout bounds one request.
	Timeout time.Duration

	Metrics *Metrics
	Log     zerolog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A Service answers requests for tokens.
type Service struct {
	verifier  verifier
	policy    atomic.Pointer[authz.Policy]
	directory finder
	vendor    vendor
	shares    *shares
	metrics   *Metrics
	log       zerolog.Logger
	now       func() time.Time
	timeout   time.Duration
	room      int64 // how many requests may be in flight
	inFlight  atomic.Int64
	openAPI   []byte
	basePath  string
	dpop      bool

	directoryName string
	public        chi.Router
	fromProxy     chi.Router
}

// New returns a Service, or says what is missing.
func New(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.Verifier == nil || cfg.Policy == nil || cfg.Directory == nil || cfg.Vendor == nil || cfg.Metrics == nil:
		return nil, errors.New("handler: Verifier, Policy, Directory, Vendor and Metrics are required")
	case len(cfg.OpenAPI) == 0:
		return nil, errors.New("handler: OpenAPI is required")
	case cfg.InFlight < 1 || cfg.Timeout <= 0:
		return nil, errors.New("handler: InFlight and Timeout must be positive")
	}
	shares, err := newShares(cfg.UserPerMinute, cfg.UserBurst, cfg.Now)
	if err != nil {
		return nil, err
	}
	s := &Service{
		verifier: cfg.Verifier, directory: cfg.Directory, vendor: cfg.Vendor,
		shares: shares, metrics: cfg.Metrics, log: cfg.Log, now: cfg.Now,
		timeout: cfg.Timeout, room: int64(cfg.InFlight), openAPI: cfg.OpenAPI, basePath: cfg.BasePath, dpop: cfg.DPoP, directoryName: cfg.DirectoryName,
	}
	s.policy.Store(cfg.Policy)
	s.public, s.fromProxy = s.routes(cfg, false), s.routes(cfg, true)
	return s, nil
}

// Close ends the Service's background work.
func (s *Service) Close() { s.shares.users.StopAllGoroutines() }

// SetPolicy makes these the rules, from the next request on.
func (s *Service) SetPolicy(p *authz.Policy) { s.policy.Store(p) }

// ServeHTTP serves the public listener.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.public.ServeHTTP(w, r) }

// ProxyListener serves a listener on which only the trusted proxy is listened to.
func (s *Service) ProxyListener() http.Handler { return s.fromProxy }

// endpoint answers one request, or returns why it does not, in which case it has
// written nothing.
type endpoint func(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error

// serve wraps an endpoint into what every request gets: a deadline, a bound on
// how many there are, an answer whatever happens, and one log line and one
// metric when it is over. fromProxy says that the request came in over the
// trusted proxy's listener.
func (s *Service) serve(route string, e endpoint, fromProxy bool, w http.ResponseWriter, r *http.Request) {
	ev := &event{
		began:     s.now(),
		requestID: w.Header().Get(requestIDHeader),
		method:    loggedMethod(r.Method),
		route:     route,
		client:    middleware.GetClientIP(r.Context()),
		fromProxy: fromProxy,
		outcome:   Answered, // unless there is more to say
	}
	defer s.finish(ev)
	ctx, cancel := context.WithTimeout(r.Context(), s.timeout)
	defer cancel()
	ev.end(s.attempt(ctx, e, ev, w, r))
	if ev.err != nil {
		s.refuse(w, ev)
	}
}

// attempt runs an endpoint if there is room for it, and turns a panic into an
// error.
func (s *Service) attempt(ctx context.Context, e endpoint, ev *event, w http.ResponseWriter, r *http.Request) (err error) {
	defer s.inFlight.Add(-1)
	if s.inFlight.Add(1) > s.room {
		return &requestError{outcome: Overloaded}
	}
	defer crash.Into(&err)
	return e(ctx, ev, w, r)
}

func (s *Service) finish(ev *event) {
	took := s.now().Sub(ev.began)
	s.metrics.request(ev, took)
	line := s.log.WithLevel(ev.level()).EmbedObject(ev).Dur("duration_ms", took.Round(time.Microsecond))
	if p, ok := errors.AsType[*crash.Error](ev.err); ok {
		line.Bytes("stack", p.Stack)
	}
	line.Msg("request")
}
