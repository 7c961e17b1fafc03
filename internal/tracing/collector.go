package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxAnswer bounds what is read of a collector's answer. Nothing in it is looked at.
const maxAnswer = 64 << 10 // bytes

// collector is whom spans are sent to: the client of OpenTelemetry's exporter. It
// tries each batch once: a collector that is down is not to be stormed when it comes
// back, and what is lost are traces.
type collector struct {
	address   string
	header    func() http.Header
	transport *http.Transport
}

func newCollector(cfg Config) *collector {
	return &collector{
		address: tracesAt(cfg.Endpoint), header: cfg.Header,
		transport: &http.Transport{
			Proxy:                  cfg.Proxy,
			DialContext:            (&net.Dialer{Timeout: exportTimeout / 2}).DialContext,
			TLSHandshakeTimeout:    exportTimeout / 2,
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        2,
			MaxIdleConns:           1,
			IdleConnTimeout:        10 * batchEvery,
			MaxResponseHeaderBytes: maxAnswer,
		},
	}
}

// tracesAt is where a collector takes traces: below the address that it has for
// everything, unless it is written out.
func tracesAt(endpoint string) string {
	const path = "/v1/traces"
	endpoint = strings.TrimRight(endpoint, "/")
	if strings.HasSuffix(endpoint, path) {
		return endpoint
	}
	return endpoint + path
}

// Start implements otlptrace.Client.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *collector) Stop(context.Context) error { return nil }

func (c *collector) close() { c.transport.CloseIdleConnections() }

var (
	errNoAnswer = errors.New("it cannot be reached")
	errTooSlow  = errors.New("it did not answer in time")
	errRequest  = errors.New("the request could not be built")
)

// UploadTraces implements otlptrace.Client. Its errors hold nothing that came over
// the wire. A TracesData is what the collector's own request is, byte by byte, which
// would bring gRPC along.
func (c *collector) UploadTraces(ctx context.Context, spans []*pb.ResourceSpans) error {
	body, err := proto.Marshal(&pb.TracesData{ResourceSpans: spans})
	if err != nil {
		return errRequest
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(body))
	if err != nil {
		return errRequest
	}
	for name, values := range c.header() {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	// Without an http.Client, which would follow redirects, with the header.
	resp, err := c.transport.RoundTrip(req)
	switch {
	case ctx.Err() != nil:
		err = errTooSlow
	case err != nil:
		err = errNoAnswer
	}
	if resp == nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection can be used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answered status %d", resp.StatusCode)
	}
	return nil
}

// reporting tells what became of each batch, and nobody else: the library would
// print it.
type reporting struct {
	sdk.SpanExporter
	told func(spans int, err error)
}

// ExportSpans implements sdk.SpanExporter.
func (r *reporting) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := r.SpanExporter.ExportSpans(ctx, spans)
	r.told(len(spans), errors.Unwrap(err))
	return nil
}

// counting counts what is to be sent.
type counting struct {
	sdk.SpanProcessor
	told func()
}

// OnEnd implements sdk.SpanProcessor.
func (c *counting) OnEnd(s sdk.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		c.told()
	}
	c.SpanProcessor.OnEnd(s)
}
