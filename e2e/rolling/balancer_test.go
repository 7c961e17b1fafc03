package rolling_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// probeEvery is how often a replica is asked whether it is ready. Its drain delay
// must be longer.
const probeEvery = 100 * time.Millisecond

// A balancer sends each request to the next replica that was ready when it was
// last asked. It sends no request twice: what a replica loses is lost, and seen.
type balancer struct {
	addr   string       // host:port
	client *http.Client // what it reaches its replicas with
	t      *testing.T

	protocol atomic.Int64 // of the last answer: 1 or 2

	mu       sync.Mutex
	replicas []*backend
	next     int
}

// A backend is a replica as the balancer knows it.
type backend struct {
	public *url.URL
	ops    string
	ready  bool
	leave  context.CancelFunc
}

// startBalancer starts one that reaches its replicas over this transport.
func startBalancer(t *testing.T, transport *http.Transport) *balancer {
	t.Helper()
	b := &balancer{t: t, client: &http.Client{Transport: transport, Timeout: 5 * time.Second}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			if target := b.choose(); target != nil {
				r.SetURL(target)
			}
		},
		Transport: transport,
		ModifyResponse: func(res *http.Response) error {
			b.protocol.Store(int64(res.ProtoMajor))
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			t.Logf("the balancer got no answer: %v", err)
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(func() {
		server.Close()
		b.forget()
		transport.CloseIdleConnections()
	})
	b.addr = strings.TrimPrefix(server.URL, "http://")
	return b
}

// choose returns where the next request goes, nil for nowhere.
func (b *balancer) choose() *url.URL {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.replicas {
		b.next = (b.next + 1) % len(b.replicas)
		if r := b.replicas[b.next]; r.ready {
			return r.public
		}
	}
	return nil
}

// add has the balancer know a replica, and send to it once it is ready.
func (b *balancer) add(public, ops string) *backend {
	b.t.Helper()
	target, err := url.Parse(public)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, leave := context.WithCancel(context.Background())
	r := &backend{public: target, ops: ops, leave: leave}
	b.mu.Lock()
	b.replicas = append(b.replicas, r)
	b.mu.Unlock()
	go b.watch(ctx, r)
	return r
}

// watch asks whether a replica is ready, until it leaves.
func (b *balancer) watch(ctx context.Context, r *backend) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		ready := b.probe(ctx, r.ops)
		b.mu.Lock()
		r.ready = ready
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *balancer) probe(ctx context.Context, ops string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ops+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := b.client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// forget ends the watching.
func (b *balancer) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.replicas {
		r.leave()
	}
}

// sendsTo reports whether requests go to a replica.
func (b *balancer) sendsTo(r *backend) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.ready
}
