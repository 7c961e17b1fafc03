package main

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// spanObserver logs and counts what becomes of traces.
type spanObserver struct {
	log    zerolog.Logger
	spans  *prometheus.CounterVec
	failed atomic.Bool // the last batch was lost
}

func newSpanObserver(log zerolog.Logger, registry prometheus.Registerer) *spanObserver {
	o := &spanObserver{log: log, spans: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tokensvc_spans_total",
		Help: "Spans of traces: ended, sent to the collector, and lost because it did not take them.",
	}, []string{"result"})}
	registry.MustRegister(o.spans)
	for _, result := range []string{"ended", "sent", "lost"} {
		o.spans.WithLabelValues(result)
	}
	return o
}

func (o *spanObserver) ended() { o.spans.WithLabelValues("ended").Inc() }

// sent is told of every batch.
func (o *spanObserver) sent(spans int, err error) {
	if err == nil {
		o.spans.WithLabelValues("sent").Add(float64(spans))
	} else {
		o.spans.WithLabelValues("lost").Add(float64(spans))
	}
	switch before := o.failed.Swap(err != nil); {
	case err != nil && !before:
		o.log.Warn().Err(err).Msg("the collector does not take traces; they are lost meanwhile")
	case err == nil && before:
		o.log.Info().Msg("the collector takes traces again")
	}
}

// trouble is told what the library would print.
func (o *spanObserver) trouble(error) {
	o.log.Debug().Msg("OpenTelemetry has found fault with something")
}
