package handler

import (
	"maps"
	"net/http"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Readiness says whether the service can vend tokens, and how each part is that
// this rests on.
type Readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"` // part to "ok" or what it lacks
}

// Ops is the listener for operators and their machines. It must not be reachable
// by callers.
type Ops struct {
	check    func() Readiness
	stopping atomic.Bool
	routes   chi.Router
}

// NewOps returns the handler of the ops listener. check is asked at each request
// for /readyz; it must not wait.
func NewOps(check func() Readiness, registry prometheus.Gatherer) *Ops {
	o := &Ops{check: check}
	r := chi.NewRouter()
	r.Use(headers, byEscapedPath)
	r.NotFound(nothing)
	r.Get("/livez", live)
	r.Get("/readyz", o.ready)
	r.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	o.routes = r
	return o
}

// Administer serves the admin API too. Without, there is nothing at its paths. It
// is for the time before the first request.
func (o *Ops) Administer(a *Admin) { o.routes.Mount(adminRoute, a.routes) }

// byEscapedPath has routes looked up by the path as it was sent, in which a slash
// that is encoded is no slash.
func byEscapedPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chi.RouteContext(r.Context()).RoutePath = r.URL.EscapedPath()
		next.ServeHTTP(w, r)
	})
}

// nothing is what is anywhere else: it is neither logged nor counted.
func nothing(w http.ResponseWriter, _ *http.Request) {
	err := &requestError{outcome: NotFound}
	new(intake).refuse(w, &event{requestID: requestID(w), outcome: err.outcome, err: err})
}

// ServeHTTP serves the ops listener.
func (o *Ops) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.routes.ServeHTTP(w, r) }

// Stopping makes the service not ready, for good.
func (o *Ops) Stopping() { o.stopping.Store(true) }

func live(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (o *Ops) ready(w http.ResponseWriter, _ *http.Request) {
	now := o.check()
	if o.stopping.Load() {
		now.Ready = false
		now.Parts = maps.Clone(now.Parts) // it is check's own
		now.Parts["service"] = "stopping"
	}
	status := http.StatusOK
	if !now.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, "application/json", now)
}
