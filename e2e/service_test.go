package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

const (
	startLimit    = 30 * time.Second // from exec to a welcome, on a busy machine
	responseLimit = 1 << 20          // bytes
)

// httpClient does not share connections with http.DefaultClient, and has a
// limit, which that has not.
var httpClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}

// service is a running `tokensvc serve`.
type service struct {
	*process.Process

	client *http.Client // holds every answer to openapi.yaml

	mu      sync.Mutex
	secrets []string // must not be in the output
}

// startService runs the binary with these variables and nothing else in its
// environment, and these arguments to serve, and returns when it is ready. When
// the test ends it must stop on SIGTERM with status 0, unless it has before, and
// its output must hold none of the secrets it saw.
func startService(t *testing.T, env map[string]string, args ...string) *service {
	t.Helper()
	s := launchService(t, env, args...)
	s.AwaitReady(t)
	return s
}

// launchService is startService without waiting for more than listening.
func launchService(t *testing.T, env map[string]string, args ...string) *service {
	t.Helper()
	return launchUnder(t, nil, env, args...)
}

// launchUnder has a command of its own end in running the service.
func launchUnder(t *testing.T, command []string, env map[string]string, args ...string) *service {
	t.Helper()
	s := &service{client: checked(t, newTransport(t))}
	s.hide(env["TELNYX_API_KEY"])
	t.Cleanup(func() { s.wantNoSecrets(t) }) // when it has stopped
	s.Process = process.Command{Binary: binary, Env: env, Args: args, Behind: command}.Launch(t)
	return s
}

// wantNoSecrets wants none in what the service wrote. There is nothing if it did
// not start.
func (s *service) wantNoSecrets(t *testing.T) {
	t.Helper()
	if s.Process == nil {
		return
	}
	written := s.Output()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		if strings.Contains(written, secret) {
			t.Errorf("tokensvc serve wrote a secret that begins with %.8q", secret)
		}
	}
}

// hide adds a secret that must not be in the service's output.
func (s *service) hide(secret string) {
	if secret == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, secret)
}

func (s *service) ready(t *testing.T) int {
	t.Helper()
	return do(t, s.client, newRequest(t, http.MethodGet, s.Ops+"/readyz", nil)).status
}

// wantLive wants the process to say that it serves, which it does whether or not
// it is ready.
func (s *service) wantLive(t *testing.T) {
	t.Helper()
	if got := do(t, s.client, newRequest(t, http.MethodGet, s.Ops+"/livez", nil)); got.status != http.StatusOK {
		t.Errorf("/livez answers %v, want 200", got)
	}
}

// ask posts to /v1/token with that bearer.
func (s *service) ask(t *testing.T, bearer string) answer {
	t.Helper()
	s.hide(bearer)
	req := newRequest(t, http.MethodPost, s.Listen+"/v1/token", nil)
	req.Header.Set("Authorization", "Bearer "+bearer)
	return do(t, s.client, req)
}

// newRequest makes a request with a form for a body, or none.
func newRequest(t *testing.T, method, address string, form url.Values) *http.Request {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

// answer is a response that was read to its end.
type answer struct {
	status   int
	header   http.Header
	body     string
	location *url.URL // where it points to, or nil
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

func do(t *testing.T, client *http.Client, req *http.Request) answer {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, responseLimit))
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Redacted(), err)
	}
	location, _ := res.Location() // mostly there is none
	return answer{res.StatusCode, res.Header, string(body), location}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
