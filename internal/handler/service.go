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

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/tracing"
	"github.com/tokensvc/tokensvc/internal/vending"
)

type verifier interface {
	Verify(ctx context.Context, e authz.Evidence) (*authz.Principal, error)
	Known(e authz.Evidence) bool
}

type finder interface {
	Find(ctx context.Context, q directory.Query) (telnyx.CredentialID, error)
	DeviceOf(ctx context.Context, q directory.Query, id telnyx.CredentialID) (directory.Device, error)
}

type vendor interface {
	Vend(ctx context.Context, id telnyx.CredentialID, ask vending.Ask) (vending.Vended, error)
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
	// ClientModule is the module for browsers, served at /client.js.
	ClientModule []byte
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
	// AddressPerMinute and AddressBurst bound how many of the requests from one
	// address may be refused for who sends them; what comes from there beyond it,
	// without a bearer that was verified before, is not looked at. Default 0 a
	// minute: no bound.
	AddressPerMinute, AddressBurst int
	// SharedRate takes one of what a key may have of a kind of rate, "user" or
	// "address", for all replicas, or says how long to wait for it. ok is false when
	// that cannot be told now: then this replica decides by itself. It must not take
	// long. Default none.
	SharedRate sharedRate
	// InFlight bounds how many requests are served at once; more are refused.
	InFlight int
	// Timeout bounds one request.
	Timeout time.Duration
	// Issued is told of every token that was handed over: of which credential,
	// and when. It must not wait. Default none.
	Issued func(telnyx.CredentialID, time.Time)

	// Trail keeps the records of every request for a token. It decides whether one is
	// handed over that cannot be recorded.
	Trail trail
	// Tracer traces the requests. Default nil: none.
	Tracer *tracing.Tracer
	// TrustParent lets everybody decide whether their request is traced, and not
	// only the trusted proxies.
	TrustParent bool

	Metrics *Metrics
	Log     zerolog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A Service answers requests for tokens.
type Service struct {
	intake
	verifier  verifier
	policy    atomic.Pointer[authz.Policy]
	directory finder
	vendor    vendor
	shares    *shares
	addresses *addresses // nil if there is no bound
	answers   answers
	issued    func(telnyx.CredentialID, time.Time)
	openAPI   []byte
	module    module
	basePath  string

	directoryName string
	public        http.Handler
	fromProxy     http.Handler
}

// New returns a Service, or says what is missing.
func New(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Issued == nil {
		cfg.Issued = func(telnyx.CredentialID, time.Time) {}
	}
	switch {
	case cfg.Verifier == nil || cfg.Policy == nil || cfg.Directory == nil || cfg.Vendor == nil || cfg.Metrics == nil || cfg.Trail == nil:
		return nil, errors.New("handler: Verifier, Policy, Directory, Vendor, Metrics and Trail are required")
	case len(cfg.OpenAPI) == 0 || len(cfg.ClientModule) == 0:
		return nil, errors.New("handler: OpenAPI and ClientModule are required")
	case cfg.InFlight < 1 || cfg.Timeout <= 0:
		return nil, errors.New("handler: InFlight and Timeout must be positive")
	}
	shares, err := newShares(cfg)
	if err != nil {
		return nil, err
	}
	addresses, err := newAddresses(cfg)
	if err != nil {
		return nil, err
	}
	s := &Service{
		intake: intake{
			metrics: cfg.Metrics, log: cfg.Log, trail: cfg.Trail, now: cfg.Now,
			traces:  traces{cfg.Tracer, cfg.TrustParent, cfg.TrustedProxies},
			timeout: cfg.Timeout, room: int64(cfg.InFlight), client: peer, dpop: cfg.DPoP, telnyx: cfg.BasePath + telnyxPaths,
		},
		verifier: cfg.Verifier, directory: cfg.Directory, vendor: cfg.Vendor, shares: shares, addresses: addresses, issued: cfg.Issued,
		openAPI: cfg.OpenAPI, module: newModule(cfg.ClientModule), basePath: cfg.BasePath, directoryName: cfg.DirectoryName,
	}
	if len(cfg.TrustedProxies) > 0 {
		s.client = forwarded
	}
	s.policy.Store(cfg.Policy)
	s.public, s.fromProxy = s.listener(cfg, false), s.listener(cfg, true)
	return s, nil
}

// Close ends the Service's background work.
func (s *Service) Close() {
	s.shares.users.StopAllGoroutines()
	s.addresses.close()
}

// SetPolicy makes these the rules, from the next request on.
func (s *Service) SetPolicy(p *authz.Policy) { s.policy.Store(p) }

// ServeHTTP serves the public listener.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.public.ServeHTTP(w, r) }

// ProxyListener serves a listener on which only the trusted proxy is listened to.
func (s *Service) ProxyListener() http.Handler { return s.fromProxy }
