package e2e_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// tlsLoad is what callers over HTTP/2 and HTTP/1.1 at once have met with.
type tlsLoad struct {
	working sync.WaitGroup
	stop    context.CancelFunc

	mu       sync.Mutex
	served   map[int]int            // by protocol
	seen     map[string]map[int]int // certificates of the service, by protocol
	failures []error
}

// startTLSLoad returns when somebody of either protocol has been served.
func startTLSLoad(t *testing.T, s *secured, bearer string) *tlsLoad {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(stop)
	load := &tlsLoad{stop: stop, served: map[int]int{}, seen: map[string]map[int]int{}}
	for _, transport := range []*http.Transport{
		s.transport(t, s.trust()), s.transport(t, s.trust()), // a connection each, of which the workers share one
		s.over11(t, s.trust()), s.over11(t, s.trust()),
	} {
		for range 4 {
			load.working.Go(func() {
				tick := time.NewTicker(20 * time.Millisecond) // within the rate of one user
				defer tick.Stop()
				for ; ctx.Err() == nil; <-tick.C {
					load.add(from(context.WithoutCancel(ctx), transport, http.MethodPost, s.Listen+"/v1/token", bearer))
				}
			})
		}
	}
	process.Eventually(t, 10*time.Second, "load", func() error { return load.wantMore(1, 1) })
	return load
}

func (l *tlsLoad) add(answer got, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.failures = append(l.failures, err)
		return
	case answer.status != http.StatusOK:
		l.failures = append(l.failures, fmt.Errorf("%d %s", answer.status, answer.body))
		return
	}
	l.served[answer.protocol]++
	of := string(answer.server.Raw)
	if l.seen[of] == nil {
		l.seen[of] = map[int]int{}
	}
	l.seen[of][answer.protocol]++
}

func (l *tlsLoad) wantMore(over1, over2 int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.served[1] < over1 || l.served[2] < over2 {
		return fmt.Errorf("served: %v", l.served)
	}
	return nil
}

// wantSeen wants callers of both protocols to have been shown a certificate.
func (l *tlsLoad) wantSeen(cert string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if by := l.seen[rawOf(cert)]; by[1] == 0 || by[2] == 0 {
		return fmt.Errorf("callers were shown it: %v", by)
	}
	return nil
}

func rawOf(cert string) string {
	block, _ := pem.Decode([]byte(cert))
	return string(block.Bytes)
}

// wantNone ends the load, and wants no request to have failed.
func (l *tlsLoad) wantNone(t *testing.T, served int) {
	t.Helper()
	l.stop()
	l.working.Wait()
	t.Logf("served, by protocol: %v; certificates seen: %d", l.served, len(l.seen))
	if n := len(l.failures); n > 0 {
		t.Errorf("%d requests failed, the first with %v", n, l.failures[0])
	}
	if l.served[1] < served || l.served[2] < served {
		t.Errorf("served, by protocol: %v, want %d of each", l.served, served)
	}
}

// A certificate is replaced under load: a file after the other, with time between,
// and one of them half written. What does not fit together is not taken up, and
// nobody notices anything.
func TestCertificatesAreReplacedUnderLoad(t *testing.T) {
	s := startSecured(t, newLab(t, telnyxtest.Options{}, "alice"), nil)
	load := startTLSLoad(t, s, s.issuer.Bearer("alice", nil))
	const taken, refused = "certificate of listen read again", "certificate of listen not taken up; what was read before stays"
	for _, write := range []func(t *testing.T, path, content string){replaceFile, writeFile} {
		before := s.shown(t)
		end := time.Now().Add(2 * time.Hour).Truncate(time.Second)
		cert, key := s.ca.issueUntil(t, "tokensvc.internal", end)
		for _, part := range []string{cert[:len(cert)/2], cert} {
			said := s.whenChanged(t, refused, func() {
				write(t, s.file("cert.pem"), part)
				s.Signal(t, syscall.SIGHUP) // or it is said once, of both
			})
			if said["level"] != "error" || said["error"] != "cert_file: is not a certificate in PEM that fits the key_file" {
				t.Errorf("the log says %v", said)
			}
			if !s.shown(t).Equal(before) {
				t.Error("a certificate is shown that does not fit its key")
			}
		}
		s.whenChanged(t, taken, func() { write(t, s.file("key.pem"), key) })
		if string(s.shown(t).Raw) != rawOf(cert) {
			t.Error("a new connection is not shown the new certificate")
		}
		process.Eventually(t, 5*time.Second, "the new certificate", func() error { return load.wantSeen(cert) })
		want := fmt.Sprintf("tokensvc_certificate_expiry_timestamp_seconds{listener=\"listen\"} %g\n", float64(end.Unix()))
		process.Eventually(t, 5*time.Second, want, func() error {
			if !strings.Contains(s.metrics(t, s.trust()), want) {
				return errors.New("it is not in the metrics")
			}
			return nil
		})
	}
	load.wantNone(t, 100)
}

// Whoever has an HTTP/2 connection when the service is told to stop keeps it until
// their answer is there, and makes another for the next request, as over HTTP/1.1.
func TestStopOverHTTP2(t *testing.T) {
	l := newLab(t, telnyxtest.Options{Latency: 500 * time.Millisecond}, "alice", "bob")
	s := startSecured(t, l, nil, setting{"TOKENSVC_LIMITS_DRAIN_DELAY", "2s"})
	transport := s.transport(t, s.trust())
	var served atomic.Int32
	ask := func(user string) (reused bool) {
		t.Helper()
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		answer, err := from(ctx, transport, http.MethodPost, s.Listen+"/v1/token", l.issuer.Bearer(user, nil))
		if err != nil || answer.status != http.StatusOK || answer.protocol != 2 {
			t.Errorf("%s: %v over HTTP/%d, %v", user, answer.status, answer.protocol, err)
		}
		served.Add(1)
		return reused
	}
	ask("alice")
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if !ask("bob") {
			t.Error("the second request has a connection of its own")
		}
	})
	process.Eventually(t, 5*time.Second, "the request in flight", func() error { return wantRequests(l, 2) })
	s.Signal(t, syscall.SIGTERM)
	s.awaitLogged(t, 0, "stopping")
	waiting.Wait()
	process.Eventually(t, time.Second, "a connection of its own", func() error {
		if ask("alice") {
			return errors.New("a connection on which a last answer was given is used again")
		}
		return nil
	})
	if err := s.AwaitExit(t); err != nil {
		t.Errorf("%v, want exit status 0", err)
	}
	s.service.wantIssued(t, int(served.Load()))
}
