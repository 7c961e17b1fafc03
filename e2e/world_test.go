package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/handler/contracttest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// lab is a world whose issuer is a fake too: it signs what no real provider
// would, breaks when told to, and costs no time to start.
type lab struct {
	issuer      *oidctest.Issuer
	telnyx      *telnyxtest.Server
	credentials map[string]string // by user
	users       string            // path of the users file
	env         map[string]string
}

// setting is one variable of the service, beside those that every lab sets.
type setting struct{ variable, value string }

// newLab makes a lab in which each of these users has a credential of their own.
func newLab(t *testing.T, o telnyxtest.Options, users ...string) *lab {
	t.Helper()
	if o.APIKey == "" {
		o.APIKey = apiKey
	}
	l := &lab{
		issuer:      oidctest.StartT(t, oidctest.Options{Audience: audience}),
		telnyx:      telnyxtest.StartT(t, o),
		credentials: map[string]string{},
		users:       filepath.Join(t.TempDir(), "users.yaml"),
	}
	for _, user := range users {
		l.credentials[user] = l.telnyx.AddCredential(telnyxtest.Credential{})
	}
	writeFile(t, l.users, l.usersFile(users...))
	l.env = map[string]string{
		"TELNYX_API_KEY":         o.APIKey,
		"TELNYX_BASE_URL":        l.telnyx.URL(),
		"TOKENSVC_OIDC_ISSUER":   l.issuer.URL(),
		"TOKENSVC_OIDC_AUDIENCE": audience,
		"TOKENSVC_DIRECTORY":     "file:" + l.users,
		// So that only the tests about a share meet its bounds.
		"TOKENSVC_LIMITS_USER_PER_MINUTE":    "60000",
		"TOKENSVC_LIMITS_USER_BURST":         "10000",
		"TOKENSVC_LIMITS_ADDRESS_PER_MINUTE": "0",
	}
	return l
}

// usersFile is the content of a users file with these users in it.
func (l *lab) usersFile(users ...string) string {
	var b strings.Builder
	b.WriteString("users:\n")
	for _, user := range users {
		fmt.Fprintf(&b, "  %s: %s\n", user, l.credentials[user])
	}
	return b.String()
}

// with returns the lab's variables and these.
func (l *lab) with(settings ...setting) map[string]string {
	env := map[string]string{}
	for name, value := range l.env {
		env[name] = value
	}
	for _, s := range settings {
		env[s.variable] = s.value
	}
	return env
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// caller sends requests to a service and holds every answer to openapi.yaml.
type caller struct {
	t      *testing.T
	client *http.Client
	base   string
}

// call makes a caller of the public listener.
func call(t *testing.T, s *service) *caller {
	t.Helper()
	return &caller{t, checked(t, newTransport(t)), s.Listen}
}

// callAlone is a caller with a connection for each request. Many who ask at once
// open more than they need, and the service closes one on which nothing comes for
// five seconds: a request that is sent in that very moment has no answer.
func callAlone(t *testing.T, s *service) *caller {
	t.Helper()
	transport := newTransport(t)
	transport.DisableKeepAlives = true
	return &caller{t, checked(t, transport), s.Listen}
}

func newTransport(t *testing.T) *http.Transport {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// checked is a client whose answers are held to openapi.yaml.
func checked(t *testing.T, next http.RoundTripper) *http.Client {
	t.Helper()
	return &http.Client{Timeout: 30 * time.Second, Transport: contracttest.Load(t).Transport(t, next)}
}

// A change makes a request another one.
type change func(*http.Request)

func bearing(token string) change { return authorization("Bearer " + token) }

func authorization(values ...string) change { return header("Authorization", values...) }

func header(name string, values ...string) change {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func sending(contentType, body string) change {
	return func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(body))
		r.ContentLength = int64(len(body))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
	}
}

func sendingJSON(body string) change { return sending("application/json", body) }

func asking(method, path string) change {
	return func(r *http.Request) { r.Method, r.URL.Path = method, path }
}

// try sends POST /v1/token with these changes. Any goroutine may.
func (c *caller) try(ctx context.Context, changes ...change) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/token", nil)
	if err != nil {
		return answer{}, err
	}
	for _, change := range changes {
		change(req)
	}
	res, err := c.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	if res.Close { // which the transport has taken out of the header
		res.Header.Set("Connection", "close")
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, responseLimit))
	return answer{status: res.StatusCode, header: res.Header, body: string(body)}, err
}

// send is try for the test's own goroutine.
func (c *caller) send(changes ...change) answer {
	c.t.Helper()
	got, err := c.try(c.t.Context(), changes...)
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

// problem is the body of a refusal.
type problem struct {
	Type      string
	Title     string
	Status    int
	Code      string
	Detail    string
	RequestID string `json:"request_id"`
	Retryable bool
}

func (a answer) problem() problem {
	var p problem
	_ = json.Unmarshal([]byte(a.body), &p) // then nothing in it is as wanted
	return p
}

// token is the login token of an answer that has one.
func (a answer) token() string {
	var got issued
	_ = json.Unmarshal([]byte(a.body), &got) // then there is none
	return got.Token
}

// wantToken wants an answer to be a token of the user's.
func (l *lab) wantToken(t *testing.T, user string, got answer) {
	t.Helper()
	owner, _ := l.telnyx.CredentialOf(got.token())
	if got.status != http.StatusOK || owner != l.credentials[user] {
		t.Errorf("%s got %d %s for credential %q, want a token for %q", user, got.status, got.problem().Code, owner, l.credentials[user])
	}
}

// wantProblem wants an answer to be a refusal, whole and in order.
func wantProblem(t *testing.T, got answer, status int, code string) {
	t.Helper()
	p := got.problem()
	if got.status != status || p.Code != code || p.Status != status {
		t.Errorf("got %v, want %d %s", got, status, code)
	}
	if p.Title == "" || !strings.HasSuffix(p.Detail, ".") || p.Type != "urn:tokensvc:outcome:"+code {
		t.Errorf("type %q, title %q, detail %q: want the outcome, a title and a sentence", p.Type, p.Title, p.Detail)
	}
	if typ := got.header.Get("Content-Type"); typ != "application/problem+json" {
		t.Errorf("Content-Type %q, want application/problem+json", typ)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if values := got.header.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s %q, want %s", name, values, want)
		}
	}
	if id := got.header.Get("X-Request-Id"); id == "" || id != p.RequestID {
		t.Errorf("X-Request-Id %q, request_id %q: want the same", id, p.RequestID)
	}
	if retry := got.header.Get("Retry-After"); p.Retryable != (retry != "") {
		t.Errorf("retryable is %v, Retry-After %q", p.Retryable, retry)
	}
}

// request returns the log line of the request with that id.
func (s *service) request(t *testing.T, id string) map[string]any {
	t.Helper()
	var found map[string]any
	process.Eventually(t, 5*time.Second, "log line of request "+id, func() error {
		for _, entry := range s.Logged("request") {
			if entry["request_id"] == id {
				found = entry
				return nil
			}
		}
		return errors.New("there is none")
	})
	return found
}

// done is a run of the binary that has ended.
type done struct {
	status         int
	stdout, stderr string
}

// runBinary runs the binary to its end, with nothing but env in its environment.
func runBinary(t *testing.T, env []string, args ...string) done {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append([]string{}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed || ctx.Err() != nil {
		t.Fatalf("tokensvc %q: %v", args, errors.Join(err, ctx.Err()))
	}
	return done{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
