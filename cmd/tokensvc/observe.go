package main

import (
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// observer logs and counts what goes on between requests.
type observer struct {
	*bookObserver
	*telnyxObserver
	log         zerolog.Logger
	fetches     *prometheus.CounterVec
	mints       *prometheus.CounterVec
	withheld    *prometheus.CounterVec
	calls       *prometheus.CounterVec
	mintSeconds prometheus.Histogram
	files       *prometheus.GaugeVec
}

// newRegistry returns a registry that knows the process and the build.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "tokensvc_build_info",
		Help:        "1, with the version for a label.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

func newObserver(log zerolog.Logger, registry prometheus.Registerer) *observer {
	o := &observer{
		bookObserver:   newBookObserver(log, registry),
		telnyxObserver: &telnyxObserver{log: log},

		log: log,
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_issuer_fetches_total",
			Help: "Attempts to fetch an issuer's keys or the address of its introspection, by issuer and whether they succeeded.",
		}, []string{"issuer", "success"}),
		mints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_mints_total",
			Help: "Tokens asked of Telnyx, by outcome.",
		}, []string{"outcome"}),
		withheld: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_mints_withheld_total",
			Help: "Tokens that Telnyx was not asked for, because of its limit or because it is down, by outcome.",
		}, []string{"outcome"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tokensvc_telnyx_calls_total",
			Help: "Calls made of Telnyx, of whatever kind and repetitions included, by outcome; upstream_limited are its 429s.",
		}, []string{"outcome"}),
		mintSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tokensvc_mint_seconds",
			Help:    "Time until Telnyx gave a token, or the attempt ended.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		files: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tokensvc_file_current",
			Help: "1 if what is in force is what the file says, 0 if the file was refused or is gone.",
		}, []string{"file"}),
	}
	registry.MustRegister(o.fetches, o.mints, o.withheld, o.calls, o.mintSeconds, o.files)
	return o
}

// fetch is told of every attempt to fetch what is needed of an issuer.
func (o *observer) fetch(issuer string, err error) {
	if err != nil {
		o.fetches.WithLabelValues(issuer, "false").Inc()
		o.log.Warn().Str("issuer", issuer).Err(err).Msg("issuer not fetched")
		return
	}
	o.fetches.WithLabelValues(issuer, "true").Inc()
	o.log.Debug().Str("issuer", issuer).Msg("issuer fetched")
}

// file is told whenever a file was read again whether it is in force.
func (o *observer) file(what string, current bool) {
	value := 0.0
	if current {
		value = 1
	}
	o.files.WithLabelValues(what).Set(value)
}

// mint is told of every token asked of Telnyx.
func (o *observer) mint(took time.Duration, err error) {
	o.asked(err)
	if wasNotSent(err) {
		o.withheld.WithLabelValues(string(handler.OutcomeOf(err))).Inc()
		return
	}
	o.mints.WithLabelValues(string(handler.OutcomeOf(err))).Inc()
	o.mintSeconds.Observe(took.Seconds())
	if bug, ok := errors.AsType[*crash.Error](err); ok { // once, however many wait for it
		o.log.Error().Err(err).Bytes("stack", bug.Stack).Msg("mint failed")
		return
	}
	if err != nil {
		o.log.Debug().Err(err).Dur("duration_ms", took.Round(time.Microsecond)).Msg("mint failed")
	}
}

// wasNotSent reports whether nothing was asked of Telnyx for a call.
func wasNotSent(err error) bool {
	failed, ok := errors.AsType[*telnyx.Error](err)
	return ok && failed.WasWithheld() && failed.Attempts == 0
}

// called is told of every call made of Telnyx.
func (o *observer) called(a telnyx.Attempt) { o.calls.WithLabelValues(outcomeWord(a.Kind)).Inc() }
