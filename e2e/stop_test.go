package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Whoever is being served when the service is told to stop gets their token, and
// so does whoever comes while balancers have not noticed yet.
func TestStopKeepsItsWord(t *testing.T) {
	for _, row := range []struct {
		sig   os.Signal
		delay time.Duration
	}{
		{syscall.SIGTERM, 0},
		{syscall.SIGINT, 0},
		{syscall.SIGTERM, time.Second},
	} {
		t.Run(fmt.Sprintf("%v, %v of delay", row.sig, row.delay), func(t *testing.T) {
			users := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
			l := newLab(t, telnyxtest.Options{Latency: 500 * time.Millisecond}, append(users, "ivan")...)
			s := startService(t, l.with(setting{"TOKENSVC_LIMITS_DRAIN_DELAY", row.delay.String()}))
			c := call(t, s)
			var serving sync.WaitGroup
			for _, user := range users {
				serving.Go(func() {
					got, err := c.try(t.Context(), bearing(l.issuer.Bearer(user, nil)))
					if err != nil {
						t.Errorf("%s: %v", user, err)
						return
					}
					l.wantToken(t, user, got)
				})
			}
			process.Eventually(t, 5*time.Second, "all requests in flight", func() error { return wantRequests(l, len(users)) })

			s.Signal(t, row.sig)
			told := time.Now()
			process.Eventually(t, 5*time.Second, "not ready", func() error { return s.wantUnready(t) })
			late := 0
			if row.delay > 0 {
				late = 1
				if took := time.Since(told); took > row.delay/2 {
					t.Errorf("unready only after %v, want it at once", took)
				}
				got := call(t, s).send(bearing(l.issuer.Bearer("ivan", nil))) // on a new connection
				l.wantToken(t, "ivan", got)
				if got.header.Get("Connection") != "close" {
					t.Error("a new connection is kept while stopping, want Connection: close")
				}
				if err := s.wantUnready(t); err != nil {
					t.Error(err)
				}
				s.wantLive(t)
			}
			serving.Wait()
			if err := s.AwaitExit(t); err != nil {
				t.Errorf("%v, want exit status 0", err)
			}
			if took := time.Since(told); took < row.delay {
				t.Errorf("ended after %v, want a delay of %v", took, row.delay)
			}
			s.wantIssued(t, len(users)+late)
		})
	}
}

// wantUnready is satisfied too when nobody listens any more, which is how
// unready one can be.
func (s *service) wantUnready(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Ops+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := checked(t, &http.Transport{DisableKeepAlives: true}).Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("/readyz answers %d, want 503", res.StatusCode)
	}
	return nil
}

// A balancer that looks at /readyz ten times a second, and sends elsewhere when
// it says 503, loses nothing, whatever it had under way.
func TestStopUnderLoadLosesNothingBehindABalancer(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	s := startService(t, l.with(setting{"TOKENSVC_LIMITS_DRAIN_DELAY", "1s"}))
	elsewhere := make(chan struct{})
	load := startLoad(t, l, s, elsewhere)

	s.Signal(t, syscall.SIGTERM)
	process.Eventually(t, 5*time.Second, "not ready", func() error { return s.wantUnready(t) })
	close(elsewhere)
	ends := load.wait()
	t.Logf("how requests ended after the signal: %v", ends)
	for end, n := range ends {
		if end != "200" && end != "200 close" {
			t.Errorf("%d requests ended in %q", n, end)
		}
	}
	if ends["200 close"] == 0 {
		t.Error("no connection was closed politely")
	}
	if err := s.AwaitExit(t); err != nil {
		t.Errorf("%v, want exit status 0", err)
	}
	s.wantIssued(t, load.received())
}

// Without a balancer, whoever goes on to the last moment may lose what is on its
// way in that moment, and after it is refused. No answer is wrong or cut short.
func TestStopUnderRelentlessLoad(t *testing.T) {
	for _, delay := range []string{"0s", "500ms"} {
		t.Run(delay+" of delay", func(t *testing.T) {
			l := newLab(t, telnyxtest.Options{}, "alice")
			s := startService(t, l.with(setting{"TOKENSVC_LIMITS_DRAIN_DELAY", delay}))
			load := startLoad(t, l, s, nil)
			s.Signal(t, syscall.SIGTERM)
			ends := load.wait()
			t.Logf("how requests ended after the signal: %v", ends)
			lost := 0
			for end, n := range ends {
				switch end {
				case "200", "200 close", "refused":
				case "EOF", "EOF when idle", "reset":
					lost += n
				default:
					t.Errorf("%d requests ended in %q", n, end)
				}
			}
			// On the connection that was kept, and on the one opened in its place.
			if lost > 2*load.workers {
				t.Errorf("%d requests lost by %d workers", lost, load.workers)
			}
			if err := s.AwaitExit(t); err != nil {
				t.Errorf("%v, want exit status 0", err)
			}
			s.wantIssued(t, load.received())
		})
	}
}

// wantIssued wants as many tokens in the log as callers have received: a request
// that was accepted is answered, and no answer is lost.
func (s *service) wantIssued(t *testing.T, received int) {
	t.Helper()
	issued := 0
	for _, line := range s.Logged("request") {
		if line["outcome"] == "issued" {
			issued++
		}
	}
	if issued != received {
		t.Errorf("%d tokens issued, and %d received", issued, received)
	}
}

// load is workers that ask for one token again and again on connections that
// they keep.
type load struct {
	workers int
	warm    int // tokens received before
	working sync.WaitGroup

	mu   sync.Mutex
	ends map[string]int // how requests ended since they were warm
}

// startLoad returns when all workers are at work. They go on until they are told
// to go elsewhere, or nobody listens any more.
func startLoad(t *testing.T, l *lab, s *service, elsewhere <-chan struct{}) *load {
	t.Helper()
	const workers, first = 16, 20
	load := &load{workers: workers, warm: 1 + workers*first, ends: map[string]int{}}
	c := call(t, s)
	alice := bearing(l.issuer.Bearer("alice", nil))
	l.wantToken(t, "alice", c.send(alice))
	var warm sync.WaitGroup
	warm.Add(load.workers)
	ready := make(chan struct{})
	for range load.workers {
		load.working.Go(func() {
			for range first {
				if got, err := c.try(t.Context(), alice); err != nil || got.status != http.StatusOK {
					t.Errorf("before the signal: %v, %v", got, err)
				}
			}
			warm.Done()
			<-ready
			for {
				select {
				case <-elsewhere:
					return
				default:
				}
				if load.ended(endOf(c.try(t.Context(), alice))) == "refused" {
					return
				}
			}
		})
	}
	warm.Wait()
	close(ready)
	return load
}

func (l *load) ended(how string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends[how]++
	return how
}

// received is how many tokens were, when all is over.
func (l *load) received() int { return l.warm + l.ends["200"] + l.ends["200 close"] }

func (l *load) wait() map[string]int {
	l.working.Wait()
	return l.ends
}

// endOf says in a word how a request ended.
func endOf(got answer, err error) string {
	failed, inNetwork := errors.AsType[*net.OpError](err)
	switch {
	case err == nil && got.header.Get("Connection") == "close":
		return fmt.Sprint(got.status, " close")
	case err == nil:
		return fmt.Sprint(got.status)
	case errors.Is(err, syscall.ECONNREFUSED) && inNetwork && failed.Op == "dial":
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF):
		return "EOF"
	case strings.Contains(err.Error(), "server closed idle connection"): // net/http does not export it
		return "EOF when idle"
	}
	return err.Error()
}
