package telnyxtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// A checkpoint stands between a client and the emulator and holds both to the
// contract. What it has seen is kept as "operation status".
type checkpoint struct {
	t        *testing.T
	router   routers.Router
	emulator *telnyxtest.Server
	mu       sync.Mutex
	seen     map[string]bool
}

// newCheckpoint returns a checkpoint and its base URL.
func newCheckpoint(t *testing.T, emulator *telnyxtest.Server) (*checkpoint, string) {
	t.Helper()
	c := &checkpoint{t: t, emulator: emulator, seen: map[string]bool{}}
	listener := httptest.NewServer(c)
	t.Cleanup(listener.Close)
	doc := loadContract(t)
	doc.Servers = openapi3.Servers{{URL: listener.URL + "/v2"}}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	c.router = router
	return c, listener.URL + "/v2"
}

func loadContract(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("telnyx.openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func (c *checkpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.URL.Scheme, r.URL.Host = "http", r.Host
	route, params, err := c.router.FindRoute(r)
	if err != nil {
		c.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		return
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
			RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true,
		},
	}
	op := route.Operation.OperationID
	if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
		c.t.Errorf("the request for %s: %v", op, err)
	}
	c.forward(w, r, in, body)
}

func (c *checkpoint) forward(w http.ResponseWriter, r *http.Request, in *openapi3filter.RequestValidationInput, body []byte) {
	out, _ := http.NewRequestWithContext(r.Context(), r.Method, strings.TrimSuffix(c.emulator.URL(), "/v2")+r.URL.RequestURI(), bytes.NewReader(body))
	out.Header = r.Header
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	held := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: in.Options,
	}
	held.SetBodyBytes(answer)
	op := in.Route.Operation.OperationID
	if err := openapi3filter.ValidateResponse(context.Background(), held); err != nil {
		c.t.Errorf("the answer %d to %s: %v", resp.StatusCode, op, err)
	}
	c.mu.Lock()
	c.seen[op+" "+resp.Status[:3]] = true
	c.mu.Unlock()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	w.Write(answer)
}

func (c *checkpoint) wantSeen(all ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, want := range all {
		if !c.seen[want] {
			c.t.Errorf("the contract was not tried for %q", want)
		}
	}
}

func TestTheClientAndTheEmulatorKeepTheContract(t *testing.T) {
	now := time.Now()
	emulator := telnyxtest.StartT(t, telnyxtest.Options{
		NewCredentialDelay: -1, RateLimit: 1000, Now: func() time.Time { return now },
	})
	check, url := newCheckpoint(t, emulator)
	client := newClient(t, url, telnyxtest.DefaultAPIKey)
	ctx := t.Context()

	made, err := client.CreateCredential(ctx, telnyx.NewCredential{ConnectionID: "42", Name: "ä name&more", Tag: "a tag", ExpiresAt: now.Add(time.Hour)})
	mustBe(t, err, nil)
	_, err = client.Mint(ctx, made.ID)
	mustBe(t, err, nil)
	_, err = client.Credential(ctx, made.ID)
	mustBe(t, err, nil)
	page, err := client.Credentials(ctx, telnyx.Query{
		Page: 1, Size: 250, Name: made.Name, Tag: "a tag", Status: telnyx.StatusActive, ResourceID: "connection:42", SIPUsername: made.SIPUsername,
	})
	mustBe(t, err, nil)
	if len(page.Credentials) != 1 || page.Credentials[0] != made {
		t.Errorf("the filters find %+v, want %+v", page.Credentials, made)
	}
	_, err = client.Credentials(ctx, telnyx.Query{})
	mustBe(t, err, nil)
	_, err = client.UpdateCredential(ctx, made.ID, now.Add(2*time.Hour))
	mustBe(t, err, nil)
	emulator.ExpireCredential(made.ID.String())
	_, err = client.UpdateCredential(ctx, made.ID, now.Add(2*time.Hour))
	mustBe(t, err, telnyx.ErrCredentialRejected)
	mustBe(t, client.DeleteCredential(ctx, made.ID), nil)
	check.wantSeen("create 201", "token 201", "get 200", "list 200", "update 200", "update 422", "delete 200")
}

func TestErrorAnswersKeepTheContract(t *testing.T) {
	emulator := telnyxtest.StartT(t, telnyxtest.Options{})
	check, url := newCheckpoint(t, emulator)
	id := parseID(t, emulator.AddCredential(telnyxtest.Credential{}))
	gone := parseID(t, "00000000-0000-4000-8000-000000000000")
	calls := []func(*telnyx.Client, telnyx.CredentialID) error{
		func(c *telnyx.Client, id telnyx.CredentialID) error { _, err := c.Mint(t.Context(), id); return err },
		func(c *telnyx.Client, id telnyx.CredentialID) error {
			_, err := c.Credential(t.Context(), id)
			return err
		},
		func(c *telnyx.Client, id telnyx.CredentialID) error { return c.DeleteCredential(t.Context(), id) },
		func(c *telnyx.Client, id telnyx.CredentialID) error {
			_, err := c.UpdateCredential(t.Context(), id, time.Now())
			return err
		},
		func(c *telnyx.Client, _ telnyx.CredentialID) error {
			_, err := c.Credentials(t.Context(), telnyx.Query{})
			return err
		},
		func(c *telnyx.Client, _ telnyx.CredentialID) error {
			_, err := c.CreateCredential(t.Context(), telnyx.NewCredential{ConnectionID: "42"})
			return err
		},
	}
	for i, call := range calls {
		mustBe(t, call(newClient(t, url, "KEYwrong"), id), telnyx.ErrKeyRejected)
		if i < 4 {
			mustBe(t, call(newClient(t, url, telnyxtest.DefaultAPIKey), gone), telnyx.ErrCredentialRejected)
		}
		for status, kind := range map[int]error{429: telnyx.ErrLimited, 500: telnyx.ErrUnavailable, 503: telnyx.ErrUnavailable} {
			emulator.Inject(telnyxtest.Fault{Status: status})
			mustBe(t, call(newClient(t, url, telnyxtest.DefaultAPIKey), id), kind)
			emulator.ClearFaults()
		}
	}
	for _, op := range []string{"token", "get", "delete", "update", "list", "create"} {
		check.wantSeen(op+" 401", op+" 429", op+" 500", op+" 503")
	}
	check.wantSeen("token 404", "get 404", "delete 404", "update 404")
}

func TestTheContractNamesTheOperations(t *testing.T) {
	named := map[string]bool{}
	for _, path := range loadContract(t).Paths.Map() {
		for _, op := range path.Operations() {
			named[op.OperationID] = true
		}
	}
	all := []string{telnyxtest.List, telnyxtest.Create, telnyxtest.Get, telnyxtest.Update, telnyxtest.Delete, telnyxtest.Token}
	for _, op := range all {
		if !named[op] {
			t.Errorf("the contract has no %s", op)
		}
	}
	if len(named) != len(all) {
		t.Errorf("the contract has %v, the emulator %v", named, all)
	}
}

func newClient(t *testing.T, url, key string) *telnyx.Client {
	t.Helper()
	c, err := telnyx.New(telnyx.Config{BaseURL: url, APIKeys: func() []secret.Text { return []secret.Text{secret.New(key)} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func parseID(t *testing.T, text string) telnyx.CredentialID {
	t.Helper()
	id, err := telnyx.ParseCredentialID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func mustStatus(t *testing.T, got, want int) {
	t.Helper()
	if got != want {
		t.Fatalf("status %d, want %d", got, want)
	}
}

// send sends a request with the right key and returns the answer, whose body
// can be read until the test ends.
func send(t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+telnyxtest.DefaultAPIKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}
