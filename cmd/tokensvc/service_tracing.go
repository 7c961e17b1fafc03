package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/tracing"
)

// openTracer makes what traces requests, if they are to be. Nobody is connected to
// yet.
func (s *service) openTracer(registry prometheus.Registerer) error {
	c := s.cfg.Tracing
	if c.Endpoint == "" {
		return nil
	}
	var headers func() secret.Text
	if c.HeadersFile != "" {
		file, err := openSecretFile(c.HeadersFile, readTracingHeaders)
		if err != nil {
			return fmt.Errorf("tracing.headers_file: %w", err)
		}
		s.follow("headers of the collector", c.HeadersFile, file.readAgain)
		headers = file.Text
	}
	observer := newSpanObserver(s.log, registry)
	cfg := s.cfg.tracing(headers)
	cfg.OnEnd, cfg.OnSent, cfg.OnTrouble = observer.ended, observer.sent, observer.trouble
	var err error
	s.tracer, err = tracing.Open(cfg)
	return err
}

// lastSpans is for how long a stop waits for the collector.
const lastSpans = 2 * time.Second

// closeTracer sends the last spans.
func (s *service) closeTracer() {
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	if err := s.tracer.Close(ctx); err != nil {
		s.log.Warn().Msg("the last traces are lost: the collector has not taken them in time")
	}
}

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

// spansOfCalls has Telnyx's client make spans of what it does for requests.
type spansOfCalls struct{ *tracing.Tracer }

// Attempt begins the span of an attempt.
func (s spansOfCalls) Attempt(ctx context.Context, op string, number int) (context.Context, func(telnyx.Attempt)) {
	ctx, span := s.Call(ctx, "telnyx "+op, number)
	return ctx, func(a telnyx.Attempt) {
		span.Called(a.Status, outcomeWord(a.Kind), a.Kind != nil && !errors.Is(a.Kind, context.Canceled))
	}
}
