package load_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/bench/load"
)

const token = `{"token":"eyJ"}`

// serve runs a handler, and returns its address.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func plan(address string, connections int, bearers ...string) load.Plan {
	p := load.Plan{Address: address, Connections: connections}
	for _, bearer := range bearers {
		p.Requests = append(p.Requests, load.Post(address, "/v1/token", bearer, ""))
	}
	return p
}

func TestQuantilesAreOffByLittle(t *testing.T) {
	var h, other load.Histogram
	for i := range 1000 {
		h.Add(time.Duration(i+1) * time.Millisecond)
	}
	other.Add(time.Hour)
	h.Merge(&other)
	for share, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 501 * time.Millisecond, 0.99: 991 * time.Millisecond, 1: time.Hour} {
		if got := h.Quantile(share); got < want || float64(got) > 1.04*float64(want) {
			t.Errorf("quantile %v is %v, want about %v", share, got, want)
		}
	}
	if got := new(load.Histogram).Quantile(0.5); got != 0 {
		t.Errorf("the median of none is %v", got)
	}
}

func TestEveryRequestIsMadeOnce(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.Header.Get("Authorization")]++
		fmt.Fprint(w, token)
	})
	var bearers []string
	for i := range 100 {
		bearers = append(bearers, fmt.Sprint("b", i))
	}
	result, err := load.Once(t.Context(), plan(address, 8, bearers...))
	if err != nil || result.Count() != 100 || len(asked) != 100 {
		t.Errorf("%v; %d answers, %d bearers", err, result.Count(), len(asked))
	}
}

func TestNoMoreConnectionsThanAllowed(t *testing.T) {
	const connections = 4
	var now, most atomic.Int32
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		if from := netip.MustParseAddrPort(r.RemoteAddr).Addr(); from.String() != "127.0.0.2" {
			t.Errorf("it comes from %s", from)
		}
		fmt.Fprint(w, token)
	})
	p := plan(address, connections, "alice", "bob")
	p.From = netip.MustParseAddr("127.0.0.2")
	result, err := load.Closed(t.Context(), p, 50*time.Millisecond)
	if err != nil || result.Count() < connections || most.Load() > connections {
		t.Errorf("%v; %d answers, at most %d under way", err, result.Count(), most.Load())
	}
}

// A server that stops for a moment is slow for whoever was due meanwhile, too.
func TestWaitingForAConnectionIsCounted(t *testing.T) {
	const stop = 200 * time.Millisecond
	var once sync.Once
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { <-time.After(stop) })
		fmt.Fprint(w, token)
	})
	result, err := load.Open(t.Context(), plan(address, 1, "alice"), 200, 300*time.Millisecond)
	if err != nil || result.Count() != 60 {
		t.Fatalf("%v; %d answers, want 60", err, result.Count())
	}
	if most := result.Quantile(0.7); most < stop/4 {
		t.Errorf("70 of 100 took less than %v, although the server had stopped for %v", most, stop)
	}
}

func TestWhateverIsNoTokenEndsTheLoad(t *testing.T) {
	for _, row := range []struct {
		name string
		h    http.HandlerFunc
	}{
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"another body", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }},
		{"no length", func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			fmt.Fprint(w, token)
		}},
		{"nothing", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		if _, err := load.Closed(t.Context(), plan(serve(t, row.h), 4, "alice"), time.Minute); err == nil {
			t.Errorf("%s is taken for a token", row.name)
		}
	}
}

func TestWhatAnAnswerSays(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, r.Header.Get("Content-Type"))
	})
	c := load.NewConnection(address, netip.Addr{})
	defer c.Close()
	for range 2 { // the second on another connection
		a, err := c.Exchange(t.Context(), load.Post(address, "/", "alice", "{}"))
		if err != nil || a.Status != http.StatusServiceUnavailable || a.RetryAfter != 7*time.Second || string(a.Body) != "application/json" {
			t.Errorf("%v; %+v", err, a)
		}
	}
}
