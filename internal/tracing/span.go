package tracing

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// A Span is a part of a request while it lasts. The zero Span is of a request that is
// not traced: it may be asked and told everything, and does nothing.
type Span struct{ span trace.Span }

// A Step is a part of a request that is ours.
type Step string

// The steps of a token's story.
const (
	Verify    Step = "verify"
	Directory Step = "directory"
	Mint      Step = "mint"
)

// Request is what is known of a request when it comes. Its words are from closed
// sets.
type Request struct {
	Method, Route string
	Began         time.Time
	Header        http.Header // of which traceparent is read, and nothing else
	// Trusted says that who sent it, or brought it here, may decide whether it is
	// traced. All others may only name the trace.
	Trusted bool
}

// Answer is what became of it. Its words are from closed sets, or of our
// configuration.
type Answer struct {
	Status                          int
	Outcome, Reason, Source, Issuer string
}

// wire is how a trace goes from service to service (W3C Trace Context).
var wire propagation.TraceContext

// Request begins the span of a request.
func (t *Tracer) Request(ctx context.Context, r Request) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if from := t.comesFrom(r); from.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
	}
	ctx, span := t.tracer.Start(ctx, r.Method+" "+r.Route, trace.WithTimestamp(r.Began), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Route)))
	return ctx, Span{span}
}

// comesFrom is the span that a request names as its cause. What another tracing system
// has to say to itself beside it, in tracestate, ends here: it is text of anybody's.
func (t *Tracer) comesFrom(r Request) trace.SpanContext {
	from := trace.SpanContextFromContext(wire.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
	from = from.WithTraceState(trace.TraceState{})
	if !r.Trusted { // and a draw is not of the trace's id, which a stranger could choose
		from = from.WithTraceFlags(trace.TraceFlags(0).WithSampled(rand.Float64() < t.sample)) //nolint:gosec // guards no secret
	}
	return from
}

// Step begins a step of the request whose context this is.
func (t *Tracer) Step(ctx context.Context, s Step) (context.Context, Span) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, string(s))
	return ctx, Span{span}
}

// Call begins an attempt at a call of somebody else's service, the how manieth of one
// call, from 1. What nobody's request is the cause of is not traced.
func (t *Tracer) Call(ctx context.Context, name string, attempt int) (context.Context, Span) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.Int("tokensvc.attempt", attempt)))
	return ctx, Span{span}
}

// Carry has a request of ours name its cause.
func (t *Tracer) Carry(ctx context.Context, to http.Header) {
	if t != nil {
		wire.Inject(ctx, propagation.HeaderCarrier(to))
	}
}

// TraceID is the trace's id in hex, or "" if there is no trace.
func (s Span) TraceID() string {
	if s.span == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// IsSent reports whether the span will be sent to the collector.
func (s Span) IsSent() bool { return s.span != nil && s.span.IsRecording() }

// Answered ends the span of a request.
func (s Span) Answered(a Answer) {
	if !s.IsSent() {
		return
	}
	s.tell("tokensvc.reason", a.Reason)
	s.tell("tokensvc.source", a.Source)
	s.tell("tokensvc.issuer", a.Issuer)
	s.end(a.Status, a.Outcome, a.Status >= http.StatusInternalServerError)
}

// Ended ends the span of a step, with the outcome of a request that was refused there,
// or "".
func (s Span) Ended(outcome string) {
	if s.IsSent() {
		s.end(0, outcome, false)
	}
}

// Called ends the span of a call: with the answer's status, 0 if there was none, and
// what came of it in our words.
func (s Span) Called(status int, outcome string, failed bool) {
	if s.IsSent() {
		s.end(status, outcome, failed)
	}
}

func (s Span) end(status int, outcome string, failed bool) {
	s.tell("tokensvc.outcome", outcome)
	if status != 0 {
		s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if failed {
		s.span.SetStatus(codes.Error, outcome)
	}
	s.span.End()
}

func (s Span) tell(key, word string) {
	if word != "" {
		s.span.SetAttributes(attribute.String(key, word))
	}
}
