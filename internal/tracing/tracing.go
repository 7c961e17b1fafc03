// Package tracing tells a collector, in OpenTelemetry's words, what a request was made
// of and how long each part took.
//
// Whoever runs the collector need not be trusted with people: what a span can say is
// a closed set of words that are ours, numbers, and the names of issuers from the
// configuration. There is no way to give it a user, a credential, an address, a path
// or a header. The ids of a trace are the only thing that it takes from a request, and
// the only thing that it passes on.
//
// A nil *Tracer traces nothing, and costs nothing.
package tracing

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Bounds of what waits for the collector. What does not fit is not sent: nobody's
// login waits for a trace.
const (
	maxWaiting    = 2048 // spans
	maxBatch      = 512
	batchEvery    = 2 * time.Second
	exportTimeout = 5 * time.Second
)

// Config is what a Tracer needs.
type Config struct {
	// Endpoint is the collector's URL for traces in OTLP over HTTP. Required.
	Endpoint string
	// Header is sent to the collector along with them, such as a key. It is asked
	// every time, and not changed. Default none.
	Header func() http.Header
	// Sample is the share of requests that are traced, from 0 to 1, of those that
	// nobody has decided about before.
	Sample float64
	// Version is what is told of this service beside its name.
	Version string
	// Proxy chooses the proxy on the way to the collector, such as
	// http.ProxyFromEnvironment. Default none.
	Proxy func(*http.Request) (*url.URL, error)
	// OnEnd is told of every span that ended and is to be sent, and OnSent of every
	// batch of them, with a nil error if the collector has taken it. What was lost in
	// between there was no room for. Neither may block. Default none.
	OnEnd  func()
	OnSent func(spans int, err error)
	// OnTrouble is told what OpenTelemetry's library finds wrong otherwise, with its
	// environment, say, which it would print. It has one such function in a process.
	// Default none.
	OnTrouble func(error)
}

// A Tracer makes spans and sends them to a collector.
type Tracer struct {
	provider  *sdk.TracerProvider
	tracer    trace.Tracer
	collector *collector
	sample    float64
}

// Open returns a Tracer, or says what is wrong with the configuration. It asks nothing
// of the network.
func Open(cfg Config) (*Tracer, error) {
	if cfg.OnEnd == nil {
		cfg.OnEnd = func() {}
	}
	if cfg.OnSent == nil {
		cfg.OnSent = func(int, error) {}
	}
	if cfg.OnTrouble == nil {
		cfg.OnTrouble = func(error) {}
	}
	if cfg.Header == nil {
		cfg.Header = func() http.Header { return nil }
	}
	if err := CheckEndpoint(cfg.Endpoint); err != nil {
		return nil, errors.New("tracing: Endpoint " + err.Error())
	}
	if !(cfg.Sample >= 0 && cfg.Sample <= 1) { // so, and not the other way round, for NaN
		return nil, errors.New("tracing: Sample must lie between 0 and 1")
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(cfg.OnTrouble))
	to := newCollector(cfg)
	batches := sdk.NewBatchSpanProcessor(&reporting{SpanExporter: otlptrace.NewUnstarted(to), told: cfg.OnSent},
		sdk.WithMaxQueueSize(maxWaiting), sdk.WithMaxExportBatchSize(maxBatch),
		sdk.WithBatchTimeout(batchEvery), sdk.WithExportTimeout(exportTimeout))
	provider := sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(cfg.Sample))),
		sdk.WithRawSpanLimits(limits),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "tokensvc"), attribute.String("service.version", cfg.Version))),
		sdk.WithSpanProcessor(&counting{SpanProcessor: batches, told: cfg.OnEnd}),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("tokensvc"), collector: to, sample: cfg.Sample}, nil
}

// limits are more than any span of ours has.
var limits = sdk.SpanLimits{
	AttributeValueLengthLimit: 128, AttributeCountLimit: 16, EventCountLimit: 1, LinkCountLimit: 1,
	AttributePerEventCountLimit: 1, AttributePerLinkCountLimit: 1,
}

// Close sends what waits, for as long as ctx allows, and ends background work.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	err := t.provider.Shutdown(ctx)
	t.collector.close()
	return err
}

// CheckEndpoint refuses what is no address of a collector. The error says what it must
// be or have, and does not repeat the address, which may have a key in it.
func CheckEndpoint(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must be an http or https URL")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return errors.New("must have no user information, query or fragment")
	}
	return nil
}
