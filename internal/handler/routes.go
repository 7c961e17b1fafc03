package handler

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/cors"

	"github.com/tokensvc/tokensvc/internal/audit"
)

const (
	tokenRoute      = "/v1/token"
	whoamiRoute     = "/v1/whoami"
	requestIDHeader = "X-Request-Id"
	proofHeader     = "DPoP"
	nonceHeader     = "DPoP-Nonce"
	preflightLife   = time.Hour
)

// listener builds the handler of the public listener, or of the trusted proxy's.
// The chain around the routes decides nothing about the user.
func (s *Service) listener(cfg Config, fromProxy bool) http.Handler {
	routes := s.routes(cfg, fromProxy)
	token, path := s.entry(place{tokenRoute, audit.Token, fromProxy}, s.counting(s.token)), cfg.BasePath+tokenRoute
	return around(cfg, func(w http.ResponseWriter, r *http.Request) {
		// What nearly every request is for is found without the router, which makes
		// a copy of each to note down what it has found.
		if r.Method == http.MethodPost && r.URL.Path == path && r.URL.RawPath == "" {
			token(w, r)
			return
		}
		routes.ServeHTTP(w, r)
	})
}

// routes are all of a listener's.
func (s *Service) routes(cfg Config, fromProxy bool) chi.Router {
	r := chi.NewRouter()
	r.NotFound(s.entry(place{"none", "", fromProxy}, notFound))
	r.MethodNotAllowed(s.entry(place{"none", "", fromProxy}, methodNotAllowed(r)))
	r.Post(cfg.BasePath+tokenRoute, s.entry(place{tokenRoute, audit.Token, fromProxy}, s.counting(s.token)))
	r.Post(cfg.BasePath+operationRoute, s.entry(place{operationRoute, audit.Token, fromProxy}, s.counting(s.operation)))
	r.Get(cfg.BasePath+whoamiRoute, s.entry(place{whoamiRoute, "", fromProxy}, s.counting(s.whoami)))
	r.Get(cfg.BasePath+"/openapi.yaml", s.contract)
	r.Head(cfg.BasePath+"/openapi.yaml", s.contract)
	r.Get(cfg.BasePath+"/client.js", s.module.serve)
	r.Head(cfg.BasePath+"/client.js", s.module.serve)
	return r
}

// entry has requests to a place go through the intake.
func (s *Service) entry(at place, e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { s.serve(at, e, w, r) }
}

// around is what every request goes through before it is looked at.
func around(cfg Config, next http.HandlerFunc) http.Handler {
	var chain http.Handler = next
	if len(cfg.Origins) > 0 { // without any, the library would allow all
		chain = crossOrigin(cfg)(chain)
	}
	if len(cfg.TrustedProxies) > 0 {
		chain = throughProxies(cfg.TrustedProxies)(chain)
	}
	return headers(chain)
}

// headers sets what every answer carries. A caller's request id is kept if it
// could not harm a log.
func headers(next http.Handler) http.Handler {
	noStore, noSniff := []string{"no-store"}, []string{"nosniff"} // which nobody changes
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !harmless(id) {
			id = newRequestID()
		}
		h := w.Header()
		h[requestIDHeader] = []string{id}
		h["Cache-Control"] = noStore
		h["X-Content-Type-Options"] = noSniff
		next.ServeHTTP(w, r)
	})
}

// requestID is the id that headers has put into the answer.
func requestID(w http.ResponseWriter) string {
	if ids := w.Header()[requestIDHeader]; len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// newRequestID returns an id that nobody else has.
func newRequestID() string { return rand.Text() }

// harmless reports whether a request id is 1 to 64 letters, digits, dots,
// underscores and dashes.
func harmless(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return 1 <= len(id) && len(id) <= 64
}

// sdkHeaders are what Telnyx's SDK for JavaScript adds in a browser. Nobody reads them.
var sdkHeaders = []string{
	"User-Agent", "X-Stainless-Arch", "X-Stainless-Lang", "X-Stainless-OS", "X-Stainless-Package-Version",
	"X-Stainless-Retry-Count", "X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Timeout",
}

// crossOrigin lets browsers call from these origins. It protects nobody: it only
// tells a browser whom to let read the answer.
func crossOrigin(cfg Config) func(http.Handler) http.Handler {
	options := cors.Options{
		AllowedOrigins:   cfg.Origins,
		AllowedMethods:   []string{http.MethodGet, http.MethodPost},
		AllowedHeaders:   slices.Concat([]string{"Authorization", "Content-Type", "Accept", "Cache-Control", requestIDHeader}, sdkHeaders),
		ExposedHeaders:   []string{"Retry-After", requestIDHeader, "WWW-Authenticate", timingHeader, shouldRetryHeader},
		AllowCredentials: cfg.Cookies,
		MaxAge:           int(preflightLife / time.Second),
	}
	if cfg.DPoP {
		options.AllowedHeaders = append(options.AllowedHeaders, proofHeader)
		options.ExposedHeaders = append(options.ExposedHeaders, nonceHeader)
	}
	return cors.Handler(options)
}

func notFound(context.Context, *event, http.ResponseWriter, *http.Request) error {
	return &requestError{outcome: NotFound}
}

// methodNotAllowed names the methods that would be (RFC 9110 section 15.5.6).
func methodNotAllowed(routes chi.Routes) endpoint {
	return func(_ context.Context, _ *event, w http.ResponseWriter, r *http.Request) error {
		path := cmp.Or(chi.RouteContext(r.Context()).RoutePath, r.URL.Path) // the former below a router of another
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if routes.Match(chi.NewRouteContext(), method, path) {
				w.Header().Add("Allow", method)
			}
		}
		return &requestError{outcome: MethodNotAllowed}
	}
}

// contract serves openapi.yaml. It is no request for a token, and has no outcome:
// it is neither logged nor counted.
func (s *Service) contract(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, "application/yaml", s.openAPI)
}
