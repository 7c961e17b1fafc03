package handler

import (
	"context"
	"net/http"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/tracing"
)

// traces is how an intake's requests are traced. The zero traces does nothing.
type traces struct {
	tracer *tracing.Tracer
	// all says that whoever sends a request may decide whether it is traced, and
	// proxies are who else may.
	all     bool
	proxies []netip.Prefix
}

// begin begins the trace of a request.
func (t traces) begin(ev *event, r *http.Request) context.Context {
	if t.tracer == nil {
		return r.Context()
	}
	ctx, span := t.tracer.Request(r.Context(), tracing.Request{
		Method: ev.method, Route: ev.route, Began: ev.began, Header: r.Header, Trusted: t.all || ev.fromProxy || t.isProxy(peer(r)),
	})
	ev.span, ev.traceID = span, span.TraceID()
	return ctx
}

func (t traces) isProxy(from netip.Addr) bool {
	return slices.ContainsFunc(t.proxies, func(p netip.Prefix) bool { return p.Contains(from) })
}

// told ends the trace with what became of the request. Whose it was, it does not say.
func (ev *event) told() {
	if !ev.span.IsSent() {
		return
	}
	a := tracing.Answer{Status: ev.status, Outcome: string(ev.outcome), Reason: string(ev.reason), Source: string(ev.source)}
	if ev.who != nil {
		a.Issuer = ev.who.Issuer
	}
	ev.span.Answered(a)
}

// left ends a step's span, with what a request was refused for there.
func left(step tracing.Span, refused *error) {
	if !step.IsSent() {
		return
	}
	outcome := ""
	if *refused != nil {
		outcome = string(OutcomeOf(*refused))
	}
	step.Ended(outcome)
}

// observe notes down how long something took, with the trace that shows what, if
// there is one to be found at the collector.
func (ev *event) observe(in prometheus.Observer, seconds float64) {
	if with, ok := in.(prometheus.ExemplarObserver); ok && ev.span.IsSent() {
		with.ObserveWithExemplar(seconds, prometheus.Labels{"trace_id": ev.traceID})
		return
	}
	in.Observe(seconds)
}
