package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// spansOfCalls has Telnyx's client make spans of what it does for requests.
type spansOfCalls struct{ *tracing.Tracer }

// Attempt begins the span of an attempt.
func (s spansOfCalls) Attempt(ctx context.Context, op string, number int) (context.Context, func(telnyx.Attempt)) {
	ctx, span := s.Call(ctx, "telnyx "+op, number)
	return ctx, func(a telnyx.Attempt) {
		span.Called(a.Status, outcomeWord(a.Kind), a.Kind != nil && !errors.Is(a.Kind, context.Canceled))
	}
}
