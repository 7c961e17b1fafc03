package handler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/vending"
)

// Metrics counts requests. Its labels take values from closed sets only.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	invalid  *prometheus.CounterVec
	vended   *prometheus.CounterVec
	observed *prometheus.CounterVec

	// The series of nearly every request, found once.
	outcomes     map[Outcome]prometheus.Counter // of the token's route
	tokenSeconds prometheus.Observer
	steps        stepSeconds
	sources      map[vending.Source]prometheus.Counter
}

// NewMetrics registers the metrics of a Service.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_requests_total",
			Help: "Requests on the public listener and to the admin API by what became of them; openapi.yaml, client.js and browsers' preflights, which have no outcome, are not counted.",
		}, []string{"route", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tokensvc_request_seconds",
			Help:    "Time from a request's header to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}, []string{"route"}),
		invalid: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_invalid_bearers_total",
			Help: "Bearers that did not verify, by the class of why.",
		}, []string{"reason"}),
		vended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_tokens_vended_total",
			Help: "Tokens handed over by where they came from.",
		}, []string{"source"}),
		observed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_rules_observed_total",
			Help: "Requests that a rule would have refused, had it been enforced.",
		}, []string{"issuer", "rule"}),
	}
	registry.MustRegister(m.requests, m.seconds, m.invalid, m.vended, m.observed)
	// What has not happened yet is 0, so that a rate over it exists from the start.
	m.outcomes = make(map[Outcome]prometheus.Counter)
	for _, o := range Outcomes() {
		m.outcomes[o] = m.requests.WithLabelValues(tokenRoute, string(o))
		m.requests.WithLabelValues(operationRoute, string(o))
		m.requests.WithLabelValues(whoamiRoute, string(o))
	}
	m.sources = make(map[vending.Source]prometheus.Counter)
	for _, source := range []vending.Source{vending.Cached, vending.Shared, vending.Minted, vending.Stale} {
		m.sources[source] = m.vended.WithLabelValues(string(source))
	}
	m.tokenSeconds = m.seconds.WithLabelValues(tokenRoute)
	m.steps = newStepSeconds(registry)
	return m
}

// stepSeconds are the histograms of the steps of a token's story.
type stepSeconds struct{ verify, directory, mint prometheus.Observer }

func newStepSeconds(registry prometheus.Registerer) stepSeconds {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tokensvc_step_seconds",
		Help: "Time that a step of a request took, also one at which it was refused: verify, until the caller is known; directory, until their credential is; mint, until there is a token, wherever it came from.",
		// A step that finds what was kept takes microseconds.
		Buckets: []float64{.00001, .0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
	}, []string{"step"})
	registry.MustRegister(seconds)
	return stepSeconds{
		verify: seconds.WithLabelValues("verify"), directory: seconds.WithLabelValues("directory"), mint: seconds.WithLabelValues("mint"),
	}
}

// observe notes down the steps that were reached.
func (s stepSeconds) observe(ev *event) {
	for _, step := range [...]struct {
		in   prometheus.Observer
		took time.Duration
	}{{s.verify, ev.steps.verify}, {s.directory, ev.steps.directory}, {s.mint, ev.steps.mint}} {
		if step.took > 0 {
			ev.observe(step.in, step.took.Seconds())
		}
	}
}

// administered has what usually becomes of a route of the admin API be 0 at first.
func (m *Metrics) administered(route string) {
	for _, o := range []Outcome{Answered, Unauthenticated, InvalidToken, Denied, DirectoryUnavailable, Internal} {
		m.requests.WithLabelValues(route, string(o))
	}
}

func (m *Metrics) request(ev *event, took time.Duration) {
	requests, known := m.outcomes[ev.outcome]
	seconds := m.tokenSeconds
	if !known || ev.route != tokenRoute {
		requests = m.requests.WithLabelValues(ev.route, string(ev.outcome))
		seconds = m.seconds.WithLabelValues(ev.route)
	}
	requests.Inc()
	ev.observe(seconds, took.Seconds())
	m.steps.observe(ev)
	if ev.reason != "" {
		m.invalid.WithLabelValues(string(ev.reason)).Inc()
	}
	if ev.observed != "" && ev.route != whoamiRoute { // both are the configuration's words, not the caller's
		m.observed.WithLabelValues(ev.who.Issuer, ev.observed).Inc()
	}
	if ev.outcome == Issued {
		m.sources[ev.source].Inc()
	}
}
