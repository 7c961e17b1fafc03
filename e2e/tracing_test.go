package e2e_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	pb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// collector is what traces are sent to.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	bytes  []byte // all that came
	spans  []*pb.Span
	header http.Header // of the last request
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data pb.TracesData
		if err = errors.Join(err, proto.Unmarshal(body, &data)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s to the collector: %v", r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bytes, c.header = append(c.bytes, body...), r.Header
		for _, resource := range data.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				c.spans = append(c.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) setting() setting { return setting{"TOKENSVC_TRACING_ENDPOINT", c.URL} }

// trace returns the spans of a trace once its request's own has come.
func (c *collector) trace(t *testing.T, id string) (spans []*pb.Span) {
	t.Helper()
	process.Eventually(t, 10*time.Second, "trace "+id, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		spans = nil
		whole := false
		for _, s := range c.spans {
			if hex.EncodeToString(s.TraceId) == id {
				spans = append(spans, s)
				whole = whole || s.Kind == pb.Span_SPAN_KIND_SERVER
			}
		}
		if !whole {
			return errors.New("it has not come")
		}
		return nil
	})
	return spans
}

// told is what a span says, and of which span it is a part.
func told(spans []*pb.Span) map[string]string {
	names := map[string]string{}
	for _, s := range spans {
		names[string(s.SpanId)] = s.Name
	}
	all := map[string]string{}
	for _, s := range spans {
		text := "in " + names[string(s.ParentSpanId)] + ":"
		for _, a := range s.Attributes {
			text += " " + a.Key + "=" + valueOf(a.Value)
		}
		all[s.Name] = text
	}
	return all
}

func valueOf(v *common.AnyValue) string {
	if n, ok := v.Value.(*common.AnyValue_IntValue); ok {
		return fmt.Sprint(n.IntValue)
	}
	return v.GetStringValue()
}

// through starts a proxy in front of a fake that notes down the requests' headers.
func through(t *testing.T, address string) (proxied string, headers func() []http.Header) {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []http.Header
	path := target.Path
	target.Path = ""
	forward := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header.Clone())
		mu.Unlock()
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL + path, func() []http.Header {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

const (
	ourTrace   = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan = "00f067aa0ba902b7"
)

func TestATraceShowsWhatALoginWasMadeOf(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	telnyx, calls := through(t, l.telnyx.URL())
	to := startCollector(t)
	s := startService(t, l.with(to.setting(), setting{"TELNYX_BASE_URL", telnyx},
		setting{"TOKENSVC_TRACING_HEADERS_FILE", secretFile(t, "X-Api-Key: the collector's\n")}))
	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: 503, Times: 1})
	got := call(t, s).send(bearing(l.issuer.Bearer("alice", nil)),
		header("traceparent", "00-"+ourTrace+"-"+callerSpan+"-00"), header("tracestate", "vendor=their-own"))
	l.wantToken(t, "alice", got)

	spans := to.trace(t, ourTrace)
	want := map[string]string{
		"POST /v1/token": "in : http.request.method=POST http.route=/v1/token tokensvc.source=mint tokensvc.issuer=main tokensvc.outcome=issued http.response.status_code=200",
		"verify":         "in POST /v1/token:",
		"directory":      "in POST /v1/token:",
		"mint":           "in POST /v1/token:",
	}
	saw := told(spans)
	delete(saw, "telnyx mint") // two of them
	if diff := cmp.Diff(want, saw); diff != "" {
		t.Errorf("wanted (-), seen (+):\n%s", diff)
	}
	var attempts []string
	for _, span := range spans {
		switch span.Kind {
		case pb.Span_SPAN_KIND_CLIENT:
			attempts = append(attempts, told([]*pb.Span{span})[span.Name])
		case pb.Span_SPAN_KIND_SERVER:
			if hex.EncodeToString(span.ParentSpanId) != callerSpan {
				t.Errorf("the request is a part of %x, want the caller's span", span.ParentSpanId)
			}
		}
	}
	if diff := cmp.Diff([]string{
		"in : tokensvc.attempt=1 tokensvc.outcome=upstream_unavailable http.response.status_code=503",
		"in : tokensvc.attempt=2 tokensvc.outcome=answered http.response.status_code=201",
	}, attempts); diff != "" {
		t.Errorf("attempts wanted (-), seen (+):\n%s", diff)
	}
	for _, h := range calls() {
		if parent := h.Get("traceparent"); !strings.HasPrefix(parent, "00-"+ourTrace) || strings.Contains(parent, callerSpan) || h.Get("tracestate") != "" {
			t.Errorf("a call to Telnyx has traceparent %q and tracestate %q", parent, h.Get("tracestate"))
		}
	}
	if id := s.request(t, got.header.Get("X-Request-Id"))["trace_id"]; id != ourTrace {
		t.Errorf("trace_id %v in the log, want the caller's", id)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	if to.header.Get("X-Api-Key") != "the collector's" {
		t.Errorf("the collector was shown %v", to.header)
	}
}

// A slow bucket leads to a trace.
func TestHistogramsNameATrace(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	s := startService(t, l.with(startCollector(t).setting()))
	call(t, s).send(bearing(l.issuer.Bearer("alice", nil)), header("traceparent", "00-"+ourTrace+"-"+callerSpan+"-01"))
	process.Eventually(t, 5*time.Second, "exemplars", func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Ops+"/metrics", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		res, err := httpClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		for _, name := range []string{"tokensvc_request_seconds", "tokensvc_step_seconds"} {
			if !regexp.MustCompile(`(?m)^` + name + `_bucket.* # \{trace_id="` + ourTrace + `"\}`).Match(body) {
				err = errors.Join(err, errors.New(name+" names no trace"))
			}
		}
		return err
	})
}

// Whatever becomes of a request, its trace names nobody, and shows nothing that was
// sent or is secret.
func TestTracesNameNobody(t *testing.T) {
	l := newLab(t, telnyxtest.Options{APIKey: markKey, SIPPassword: markPassword, TokenMark: markToken}, "alice", "bob", "unlucky")
	to := startCollector(t)
	s := startService(t, l.with(to.setting(), setting{"TOKENSVC_TRUSTED_PROXIES", "127.0.0.0/8"},
		setting{"TOKENSVC_OIDC_REQUIRE", "{groups: agents}"},
		setting{"TOKENSVC_TRACING_HEADERS_FILE", secretFile(t, "X-Api-Key: "+markAnswer+"-of-the-collector\n")}))
	c := call(t, s)
	bearer := func(user string, groups ...string) string {
		return l.issuer.Bearer(user, map[string]any{"groups": groups, "nickname": markClaim, "email": user + "@example.com"})
	}
	hidden := newCanaries()
	for what, text := range map[string]string{
		"a user": "alice", "another user": "bob", "an unlucky user": "unlucky", "a user without a credential": "erin", "a mail address": "example.com",
		"a client's address": "203.0.113.7", "our own address": "127.0.0.1", "a device": "my-pocket-phone", "a request id": "my-request-id", "an id in a path": "00000000-0000-4000-8000-000000000000",
		"another system's state": "their-own-state", "a query": "device=", "a header": "my-own-agent",
	} {
		hidden.hide(what, text)
	}
	for user, id := range l.credentials {
		hidden.hide("the credential of "+user, id)
	}
	send := func(code string, changes ...change) {
		t.Helper()
		changes = append(changes, header("X-Forwarded-For", "203.0.113.7"), header("User-Agent", "my-own-agent"), header("X-Request-Id", "my-request-id"),
			header("tracestate", "vendor=their-own-state"), header("baggage", "user=alice"))
		if got := c.send(changes...); (got.status < 300) != (code == "") || !strings.Contains(got.body, code) {
			t.Errorf("got %v, want %q", got, code)
		}
	}
	for _, user := range []string{"alice", "bob"} {
		jwt := bearer(user, "agents")
		hidden.hideJWT("the bearer of "+user, jwt)
		send("", bearing(jwt), sendingJSON(`{}`))
		send("", bearing(jwt), sending("", ""), asking(http.MethodGet, "/v1/whoami"))
		send("not_found", bearing(jwt), asking(http.MethodPost, "/v2/telephony_credentials/00000000-0000-4000-8000-000000000000/token"))
	}
	send("bad_request", bearing(bearer("alice", "agents")), sendingJSON(`{"`+markBody+`":1}`))
	send("", bearing(bearer("alice", "agents")), sendingJSON(`{"device":"my-pocket-phone"}`))
	send("no_credential", bearing(bearer("erin", "agents")))
	send("denied", bearing(bearer("alice", "guests")))
	send("invalid_token", bearing(bearer("alice", "agents")+"x"))
	send("unauthenticated")
	send("not_found", asking("GET", "/alice/"+markBody))
	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: 422, Mark: markAnswer})
	send("credential_rejected", bearing(bearer("unlucky", "agents")))
	l.telnyx.ClearFaults()
	s.Stop(t) // which sends what waits

	to.mu.Lock()
	defer to.mu.Unlock()
	if len(to.spans) < 30 {
		t.Errorf("%d spans have come, so this proves little", len(to.spans))
	}
	hidden.wantNone(t, "a trace", string(to.bytes))
}

// Only who is trusted decides which requests are traced: what anybody sends does not
// fill the collector, nor hide from it.
func TestWhoDecidesWhatIsTraced(t *testing.T) {
	for name, row := range map[string]struct {
		settings []setting
		flag     string
		traced   bool
	}{
		"a stranger wants a trace":               {[]setting{{"TOKENSVC_TRACING_SAMPLE", "0"}}, "01", false},
		"a stranger wants none":                  {[]setting{{"TOKENSVC_TRACING_SAMPLE", "1"}}, "00", true},
		"a trusted proxy wants a trace":          {[]setting{{"TOKENSVC_TRACING_SAMPLE", "0"}, {"TOKENSVC_TRUSTED_PROXIES", "127.0.0.1/32"}}, "01", true},
		"a trusted proxy wants none":             {[]setting{{"TOKENSVC_TRACING_SAMPLE", "1"}, {"TOKENSVC_TRUSTED_PROXIES", "127.0.0.1/32"}}, "00", false},
		"anybody wants a trace and is trusted":   {[]setting{{"TOKENSVC_TRACING_SAMPLE", "0"}, {"TOKENSVC_TRACING_TRUST_PARENT", "anybody"}}, "01", true},
		"somebody else's proxy is not so obeyed": {[]setting{{"TOKENSVC_TRACING_SAMPLE", "0"}, {"TOKENSVC_TRUSTED_PROXIES", "192.0.2.0/24"}}, "01", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, telnyxtest.Options{}, "alice")
			telnyx, calls := through(t, l.telnyx.URL())
			to := startCollector(t)
			s := startService(t, l.with(append(row.settings, to.setting(), setting{"TELNYX_BASE_URL", telnyx})...))
			got := call(t, s).send(bearing(l.issuer.Bearer("alice", nil)), header("traceparent", "00-"+ourTrace+"-"+callerSpan+"-"+row.flag))
			l.wantToken(t, "alice", got)
			if id := s.request(t, got.header.Get("X-Request-Id"))["trace_id"]; id != ourTrace {
				t.Errorf("trace_id %v in the log, want the caller's all the same", id)
			}
			s.Stop(t)
			to.mu.Lock()
			defer to.mu.Unlock()
			if traced := len(to.spans) > 0; traced != row.traced {
				t.Errorf("%d spans have come", len(to.spans))
			}
			flag := "-00"
			if row.traced {
				flag = "-01"
			}
			for _, h := range calls() {
				if parent := h.Get("traceparent"); !strings.HasPrefix(parent, "00-"+ourTrace+"-") || !strings.HasSuffix(parent, flag) {
					t.Errorf("a call to Telnyx has traceparent %q", parent)
				}
			}
		})
	}
}

// A collector that is away, hangs or refuses costs traces and nothing else.
func TestNobodyWaitsForTheCollector(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) }) // when all are done
	for name, answer := range map[string]http.HandlerFunc{
		"hangs":     func(http.ResponseWriter, *http.Request) { <-hang },
		"refuses":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, markAnswer, http.StatusTooManyRequests) },
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://192.0.2.1/"+markAnswer, 307) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := httptest.NewServer(answer)
			t.Cleanup(to.CloseClientConnections)
			l := newLab(t, telnyxtest.Options{}, "alice")
			s := startService(t, l.with(setting{"TOKENSVC_TRACING_ENDPOINT", to.URL}))
			s.hide(markAnswer)
			bearer := l.issuer.Bearer("alice", nil)
			for range 3 {
				l.wantToken(t, "alice", s.ask(t, bearer))
			}
			lost := s.awaitLogged(t, 0, "the collector does not take traces; they are lost meanwhile")
			if lost["level"] != "warn" {
				t.Errorf("logged %v", lost)
			}
			s.wantMetrics(t, `tokensvc_spans_total{result="sent"} 0`)
			began := time.Now()
			s.Stop(t)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the stop took %v", took)
			}
		})
	}
}
