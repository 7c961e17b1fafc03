package handler

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/tracing"
)

// Bounds of the admin API.
const (
	// MinAdminToken is the least that an admin token has, in bytes.
	MinAdminToken = 32

	// MaxImportBytes is the longest list that is taken at once, and ImportTimeout
	// how long that may take.
	MaxImportBytes = 16 << 20
	ImportTimeout  = 2 * time.Minute

	maxImports = 2 // at once: each keeps its list in memory
	// answerTime is what is left of a connection's time, when that is over, to say
	// so.
	answerTime = 10 * time.Second
)

// AdminConfig is what an Admin needs. What has no default is required, but of
// Token and Issuer one is enough.
type AdminConfig struct {
	Store *store.Store
	// Issuers are the names of all configured issuers: with only one, its name
	// may be left out of user keys.
	Issuers []string

	// SharedDevices says that all of a user's devices use one credential, so that no
	// other device than directory.DefaultDevice is given one.
	SharedDevices bool

	// Token returns the bearer that machines administer with, as it is now. One of
	// less than MinAdminToken bytes opens nothing. Default none.
	Token func() secret.Text
	// Issuer is the one that vouches for people who administer, and Verifier one
	// that knows it. Its bearers must be in the Authorization header, where no
	// browser puts them by itself. Default none.
	Issuer   authz.Issuer
	Verifier verifier
	// Opaque says that the Issuer is asked about bearers that are no JWTs. Others'
	// are not accepted, so without it no issuer is asked about one: it may be an
	// admin token, of before it was replaced or of another service, which is nobody
	// else's business. With it the Issuer gets to see those too.
	Opaque bool
	// Require is what those people's claims must say, all of it: at least one
	// thing, or everybody with a softphone would administer. The Issuer's own
	// rules and their mode are about tokens, and do not count.
	Require []authz.Requirement

	// Changed is told of every user that was changed, before the answer is sent;
	// of "" when it may be any. It must not wait. Default none.
	Changed func(user string)

	// InFlight bounds how many requests are served at once; more are refused.
	InFlight int
	// Timeout bounds one request. An import has ImportTimeout.
	Timeout time.Duration
	// Trail keeps the records of every request for a change. One that cannot be recorded
	// now is made all the same: it may be to take somebody's access away.
	Trail trail
	// Tracer traces the requests, if whoever sends them wants it or by its own
	// choice. Default nil: none.
	Tracer  *tracing.Tracer
	Metrics *Metrics
	Log     zerolog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// An Admin answers those who keep the directory. It belongs on the ops listener.
type Admin struct {
	intake
	imports  intake
	store    *store.Store
	issuers  []string
	shared   bool               // all of a user's devices use one credential
	token    func() secret.Text // or nil
	issuer   authz.Issuer
	verifier verifier // nil if no issuer vouches for admins
	opaque   bool     // bearers of theirs may be no JWTs
	policy   atomic.Pointer[authz.Policy]
	changed  func(user string)
	routes   chi.Router
}

// NewAdmin returns an Admin, or says what is missing or would let anybody in.
func NewAdmin(cfg AdminConfig) (*Admin, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Changed == nil {
		cfg.Changed = func(string) {}
	}
	switch {
	case cfg.Store == nil || cfg.Metrics == nil || cfg.Trail == nil || len(cfg.Issuers) == 0:
		return nil, errors.New("admin: Store, Metrics, Trail and Issuers are required")
	case cfg.InFlight < 1 || cfg.Timeout <= 0:
		return nil, errors.New("admin: InFlight and Timeout must be positive")
	case cfg.Token == nil && cfg.Issuer.Name == "":
		return nil, errors.New("admin: a Token or an Issuer is required")
	}
	every := func(room int, timeout time.Duration) intake {
		return intake{
			metrics: cfg.Metrics, log: cfg.Log, trail: cfg.Trail, now: cfg.Now, timeout: timeout, room: int64(room),
			traces: traces{tracer: cfg.Tracer, all: true},
			client: peer, dpop: cfg.Issuer.UsesDPoP(),
		}
	}
	a := &Admin{
		intake: every(cfg.InFlight, cfg.Timeout), imports: every(maxImports, ImportTimeout),
		store: cfg.Store, issuers: slices.Clone(cfg.Issuers), shared: cfg.SharedDevices, token: cfg.Token, changed: cfg.Changed,
	}
	if cfg.Issuer.Name != "" {
		if err := checkAdminIssuer(cfg); err != nil {
			return nil, err
		}
		a.issuer, a.verifier, a.opaque = cfg.Issuer, cfg.Verifier, cfg.Opaque
		if err := a.SetRequire(cfg.Require); err != nil {
			return nil, err
		}
	}
	a.routes = a.router()
	return a, nil
}

// checkAdminIssuer refuses an issuer whose credentials a browser or a proxy adds
// to a request that its owner may know nothing of.
func checkAdminIssuer(cfg AdminConfig) error {
	switch {
	case cfg.Issuer.Proxy != nil:
		return errors.New("admin: the issuer is a proxy, whose headers do not count here")
	case cfg.Issuer.Source != authz.Source{}:
		return errors.New("admin: the issuer's tokens are not in the Authorization header, and nothing else counts here")
	case !slices.Contains(cfg.Issuers, cfg.Issuer.Name):
		return errors.New("admin: the Issuer is none of the Issuers")
	case cfg.Verifier == nil:
		return errors.New("admin: a Verifier is required with an Issuer")
	}
	return nil
}

// SetRequire makes this what admins' claims must say, from the next request on.
func (a *Admin) SetRequire(require []authz.Requirement) error {
	if len(require) == 0 {
		return errors.New("admin: what the issuer's people must be is required, or everybody with a bearer would administer")
	}
	a.policy.Store(authz.NewPolicy([]authz.Issuer{{
		Name: a.issuer.Name, ClockSkew: a.issuer.ClockSkew, Require: require, Mode: authz.ModeEnforce,
	}}))
	return nil
}

// adminRoute is what all paths of the admin API begin with.
const adminRoute = "/admin/v1"

// router builds the routes below adminRoute. They are looked up by the path as it
// was sent: a user key may have an encoded slash in it.
func (a *Admin) router() chi.Router {
	r := chi.NewRouter()
	beside := func(e endpoint) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { a.serve(place{route: adminRoute + "/*"}, e, w, r) }
	}
	r.NotFound(beside(notFound))
	r.MethodNotAllowed(beside(methodNotAllowed(r)))
	for _, route := range []struct {
		method, pattern string
		through         *intake
		answer          adminEndpoint
	}{
		{http.MethodGet, "/users", &a.intake, a.listUsers},
		{http.MethodGet, "/users/{user}", &a.intake, a.getUser},
		{http.MethodPut, "/users/{user}", &a.intake, a.putUser},
		{http.MethodDelete, "/users/{user}", &a.intake, a.deleteUser},
		{http.MethodPost, "/users/{user}/disable", &a.intake, a.disableUser},
		{http.MethodPost, "/users/{user}/enable", &a.intake, a.enableUser},
		{http.MethodGet, "/users/{user}/devices", &a.intake, a.listDevices},
		{http.MethodGet, "/users/{user}/devices/{device}", &a.intake, a.getDevice},
		{http.MethodPut, "/users/{user}/devices/{device}", &a.intake, a.putDevice},
		{http.MethodDelete, "/users/{user}/devices/{device}", &a.intake, a.deleteDevice},
		{http.MethodGet, "/credentials", &a.intake, a.listCredentials},
		{http.MethodGet, "/credentials/{id}", &a.intake, a.getCredential},
		{http.MethodGet, "/events", &a.intake, a.listEvents},
		{http.MethodPost, "/import", &a.imports, a.importList},
	} {
		e, at := a.administered(route.answer), place{route: adminRoute + route.pattern}
		if route.method != http.MethodGet {
			at.decision = audit.Admin
		}
		a.metrics.administered(adminRoute + route.pattern)
		r.MethodFunc(route.method, route.pattern, func(w http.ResponseWriter, r *http.Request) {
			route.through.serve(at, e, w, r)
		})
	}
	return r
}

// adminEndpoint answers a call, or returns why it does not, in which case it has
// written nothing.
type adminEndpoint func(ctx context.Context, c *call) error

// A call is a request to the admin API by somebody who may make it.
type call struct {
	ev *event
	w  http.ResponseWriter
	r  *http.Request
	by store.By
}

// administered has an endpoint answer only those who may administer.
func (a *Admin) administered(e adminEndpoint) endpoint {
	return func(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error {
		if err := a.admit(ctx, ev, r); err != nil {
			return adminError(err)
		}
		return adminError(e(ctx, &call{ev, w, r, store.By{Actor: ev.admin.actor, RequestID: ev.requestID}}))
	}
}
