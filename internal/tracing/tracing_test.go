package tracing

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen starts a collector and a tracer that sends to it.
func listen(t *testing.T, answer http.HandlerFunc, cfg Config) *Tracer {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	cfg.Endpoint = server.URL
	tracer, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func finish(t *testing.T, tracer *Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := tracer.Close(ctx); err != nil {
		t.Error(err)
	}
}

func (t *Tracer) request(parent string, trusted bool) (context.Context, Span) {
	header := http.Header{}
	if parent != "" {
		header.Set("Traceparent", parent)
	}
	return t.Request(context.Background(), Request{Method: "POST", Route: "/v1/token", Began: time.Now(), Header: header, Trusted: trusted})
}

// More than may wait is not waited for, and is told of.
func TestWhatWaitsForTheCollectorIsBounded(t *testing.T) {
	const requests = 4 * maxWaiting
	hang := make(chan struct{})
	var ended, sent atomic.Int64
	tracer := listen(t, func(http.ResponseWriter, *http.Request) { <-hang }, Config{
		Sample: 1, OnEnd: func() { ended.Add(1) }, OnSent: func(spans int, _ error) { sent.Add(int64(spans)) },
	})
	for range requests {
		_, span := tracer.request("", false)
		span.Answered(Answer{Status: 200, Outcome: "issued"})
	}
	close(hang)
	finish(t, tracer)
	if ended.Load() != requests {
		t.Errorf("told of %d spans, want %d", ended.Load(), requests)
	}
	// Had anybody waited for the collector, nothing would have been left out.
	if n := sent.Load(); n < maxWaiting/2 || n > maxWaiting+2*maxBatch {
		t.Errorf("%d spans were sent, want about the %d that may wait", n, maxWaiting)
	}
}

// What the collector answers is told in our words, once for each batch, and is tried
// no second time.
func TestABatchIsTriedOnce(t *testing.T) {
	const secret = "what the collector said"
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"takes it": {func(http.ResponseWriter, *http.Request) {}, ""},
		"refuses":  {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, secret, http.StatusServiceUnavailable) }, "it answered status 503"},
		"redirects": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/"+secret)
			w.WriteHeader(http.StatusFound)
		}, "it answered status 302"},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "it cannot be reached"},
	} {
		var tries atomic.Int64
		var said []string
		tracer := listen(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			tries.Add(1)
			row.answer(w, r)
		}, Config{Sample: 1, OnSent: func(_ int, err error) {
			if err == nil {
				err = errors.New("")
			}
			said = append(said, err.Error())
		}})
		_, span := tracer.request("", false)
		span.Answered(Answer{Status: 200})
		finish(t, tracer)
		if tries.Load() != 1 || len(said) != 1 || said[0] != row.want {
			t.Errorf("%s: %d tries, and told %q, want one and %q", name, tries.Load(), said, row.want)
		}
	}
}

// The environment may add to what a span is of, and changes nothing else.
func TestTheEnvironmentDecidesNothing(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	t.Setenv("OTEL_SERVICE_NAME", "another")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://192.0.2.1")
	t.Setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=tokensvc-7")
	var data pb.TracesData
	tracer := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err := errors.Join(err, proto.Unmarshal(body, &data)); err != nil {
			t.Error(err)
		}
	}, Config{Sample: 1, Version: "1.2.3"})
	for range 3 {
		_, span := tracer.request("", false)
		span.Answered(Answer{Status: 200, Outcome: "issued"})
	}
	finish(t, tracer)
	if len(data.ResourceSpans) != 1 {
		t.Fatalf("%d resources have come, want 1", len(data.ResourceSpans))
	}
	resource := map[string]string{}
	for _, a := range data.ResourceSpans[0].Resource.Attributes {
		resource[a.Key] = a.Value.GetStringValue()
	}
	if resource["service.name"] != "tokensvc" || resource["service.version"] != "1.2.3" || resource["k8s.pod.name"] != "tokensvc-7" || len(resource) != 3 {
		t.Errorf("the spans are of %v", resource)
	}
	spans := data.ResourceSpans[0].ScopeSpans[0].Spans
	if len(spans) != 3 || len(spans[0].Attributes) != 4 {
		t.Errorf("%d spans have come, and %v in one, want 3 with 4 attributes", len(spans), spans[0].Attributes)
	}
}

// What the library has to say is ours to tell.
func TestTheLibraryPrintsNothing(t *testing.T) {
	var told []error
	tracer := listen(t, func(http.ResponseWriter, *http.Request) {}, Config{OnTrouble: func(err error) { told = append(told, err) }})
	defer finish(t, tracer)
	otel.Handle(errors.New("trouble"))
	if len(told) != 1 {
		t.Errorf("told %v, want the trouble", told)
	}
}

// A share of strangers' requests is traced, whatever ids and wishes they send.
func TestStrangersAreDrawn(t *testing.T) {
	tracer := listen(t, func(http.ResponseWriter, *http.Request) {}, Config{Sample: 0.5})
	defer finish(t, tracer)
	const requests = 2000
	traced := 0
	for range requests {
		_, span := tracer.request("00-00000000000000000000000000000001-0000000000000001-01", false)
		if span.IsSent() {
			traced++
		}
		if id := span.TraceID(); id != "00000000000000000000000000000001" {
			t.Fatalf("trace %s, want the caller's", id)
		}
	}
	if traced < requests*2/5 || traced > requests*3/5 {
		t.Errorf("%d of %d are traced, want about half", traced, requests)
	}
}

// Nobody's request has no trace, and no request of ours says that it has one.
func TestWithoutARequestNothingIsTraced(t *testing.T) {
	tracer := listen(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }, Config{Sample: 1})
	defer finish(t, tracer)
	for _, t1 := range []*Tracer{tracer, nil} {
		ctx, step := t1.Step(t.Context(), Verify)
		ctx, call := t1.Call(ctx, "telnyx mint", 1)
		header := http.Header{}
		t1.Carry(ctx, header)
		step.Ended("")
		call.Called(200, "answered", false)
		if ctx != t.Context() || step.IsSent() || call.IsSent() || step.TraceID() != "" || len(header) != 0 {
			t.Errorf("a span of nothing: %v, %v, %v", step, call, header)
		}
	}
}

func TestWhatIsRefusedAtTheStart(t *testing.T) {
	const secret = "s3cret"
	for _, endpoint := range []string{"", "collector:4317", "ftp://collector", "http://", "http://me:" + secret + "@collector", "http://collector/?key=" + secret, "http://collector/#" + secret} {
		_, err := Open(Config{Endpoint: endpoint})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	for _, share := range []float64{-0.1, 1.1} {
		if _, err := Open(Config{Endpoint: "http://collector", Sample: share}); err == nil {
			t.Errorf("a share of %v is accepted", share)
		}
	}
	for given, want := range map[string]string{
		"http://collector:4318": "http://collector:4318/v1/traces", "https://c.example.com/otlp/": "https://c.example.com/otlp/v1/traces", "https://c.example.com/v1/traces": "https://c.example.com/v1/traces",
	} {
		if got := tracesAt(given); got != want {
			t.Errorf("%s: traces go to %s, want %s", given, got, want)
		}
	}
}
