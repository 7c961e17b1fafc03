package handler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc"
	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/handler/contracttest"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

const (
	audience = "softphone"
	claim    = "telnyx"
	crowd    = 2000 // callers at once, for whom every part has room
)

// clientModule stands for the module for browsers, which is web's.
var clientModule = []byte("export const answer = 42;\n")

// house is the service with its real parts, between an issuer and an emulated
// Telnyx, on a real listener.
type house struct {
	t       *testing.T
	url     string
	issuer  *oidctest.Issuer
	telnyx  *telnyxtest.Server
	service *handler.Service
	client  *http.Client
	log     *log
	records *log // of decisions
}

type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func build(t *testing.T, o telnyxtest.Options, change func(*handler.Config)) *house {
	t.Helper()
	h := &house{t: t, log: &log{}, records: &log{}}
	h.telnyx = telnyxtest.StartT(t, o)
	h.issuer = oidctest.StartT(t, oidctest.Options{Audience: audience})
	issuers := []authz.Issuer{{Name: "main", URL: h.issuer.URL(), Audiences: []string{audience}}}

	verifier, err := authz.New(authz.Config{Issuers: issuers, Waiting: crowd})
	h.must(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { verifier.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })

	client, err := telnyx.New(telnyx.Config{
		BaseURL: h.telnyx.URL(),
		APIKeys: func() []secret.Text { return []secret.Text{secret.New(telnyxtest.DefaultAPIKey)} },
		Timeout: time.Minute, // for a busy machine with thousands of callers
	})
	h.must(err)
	t.Cleanup(client.CloseIdleConnections)
	machine, err := vending.New(vending.Config{Minter: client, MaxWaiting: crowd})
	h.must(err)
	t.Cleanup(machine.Close)
	users, err := directory.NewClaim(claim)
	h.must(err)

	cfg := handler.Config{
		Verifier: verifier, Policy: authz.NewPolicy(issuers), Directory: users, Vendor: machine,
		OpenAPI: tokensvc.OpenAPI, ClientModule: clientModule, UserPerMinute: 60_000, UserBurst: 10_000, InFlight: 1000, Timeout: 10 * time.Second,
		Trail: trailTo(h.records), Metrics: handler.NewMetrics(prometheus.NewRegistry()), Log: zerolog.New(h.log),
	}
	if change != nil {
		change(&cfg)
	}
	h.service, err = handler.New(cfg)
	h.must(err)
	t.Cleanup(h.service.Close)
	server := httptest.NewServer(h.service)
	t.Cleanup(server.Close)
	h.url = server.URL
	h.client = &http.Client{Transport: contracttest.Load(t).Transport(t, server.Client().Transport)}
	return h
}

// trailTo returns a trail that is written to w.
func trailTo(w io.Writer) *audit.Trail {
	trail, err := audit.Open(audit.Config{Out: w})
	if err != nil {
		panic(err)
	}
	return trail
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// person returns a bearer of somebody with a credential of their own, and its id.
func (h *house) person(name string) (bearer, credential string) {
	credential = h.telnyx.AddCredential(telnyxtest.Credential{})
	return h.issuer.Bearer(name, map[string]any{claim: credential}), credential
}

// ask asks for a token and returns the status, the token if there is one, and
// the outcome.
func (h *house) ask(bearer string) (status int, token, outcome string) {
	h.t.Helper()
	status, body, err := h.post(bearer)
	if err != nil {
		h.t.Error(err)
		return 0, "", err.Error()
	}
	var answer struct{ Token, Code string }
	if err := json.Unmarshal(body, &answer); err != nil {
		h.t.Error(err)
	}
	if answer.Code == "" {
		answer.Code = "issued"
	}
	return status, answer.Token, answer.Code
}

// body asks for a token, and returns the whole answer.
func (h *house) body(bearer string) []byte {
	h.t.Helper()
	status, body, err := h.post(bearer)
	h.must(err)
	if status != http.StatusOK {
		h.t.Fatalf("answered %d %s", status, body)
	}
	return body
}

func (h *house) post(bearer string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.url+"/v1/token", nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := h.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// inside leads to the service without a connection, for more callers at once
// than a machine should be made to keep connections for.
type inside struct{ h *house }

func (i inside) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RemoteAddr, r.Body = "192.0.2.1:1234", http.NoBody
	rec := httptest.NewRecorder()
	i.h.service.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func TestThousandsOfCallersNeverGetAnothersToken(t *testing.T) {
	const people = 100
	h := build(t, telnyxtest.Options{Latency: 3 * time.Millisecond}, func(c *handler.Config) {
		c.InFlight, c.Timeout = crowd, time.Minute
	})
	h.client.Transport = inside{h}
	var bearers, credentials [people]string
	for i := range people {
		bearers[i], credentials[i] = h.person(fmt.Sprint("user-", i))
	}
	together := make(chan struct{})
	var wg sync.WaitGroup
	for caller := range crowd {
		wg.Go(func() {
			<-together
			for i := range 3 { // mostly minted, and then from the cache
				who := (caller + i*7) % people
				status, token, outcome := h.ask(bearers[who])
				if of, _ := h.telnyx.CredentialOf(token); status != http.StatusOK || of != credentials[who] {
					t.Errorf("user-%d: %d %s, a token for %q, want one for %q", who, status, outcome, of, credentials[who])
					return
				}
			}
		})
	}
	close(together)
	wg.Wait()
	if n := h.telnyx.Requests(telnyxtest.Token); n != people {
		t.Errorf("%d mints for %d people", n, people)
	}
}

func TestATighterRuleRefusesTheNextRequestOfACachedBearer(t *testing.T) {
	h := build(t, telnyxtest.Options{}, nil)
	bearer, _ := h.person("alice")
	if status, _, outcome := h.ask(bearer); status != http.StatusOK {
		t.Fatal(outcome)
	}
	h.service.SetPolicy(authz.NewPolicy([]authz.Issuer{{
		Name:    "main",
		Require: []authz.Requirement{{Claim: "groups", AnyOf: []any{"agents"}}},
	}}))
	if status, _, outcome := h.ask(bearer); status != http.StatusForbidden || outcome != "denied" {
		t.Errorf("got %d %s, want 403 denied", status, outcome)
	}
}

func TestARuleThatIsObservedLetsInAndTells(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.Metrics = handler.NewMetrics(registry)
		c.Now = func() time.Time { return time.Now().Add(time.Minute) } // what rules go by too
	})
	signedIn := map[string]any{"groups": []string{"agents"}, "auth_time": time.Now().Unix()}
	rules := func(mode authz.Mode, age time.Duration) {
		h.service.SetPolicy(authz.NewPolicy([]authz.Issuer{{Name: "main", Mode: mode, Require: []authz.Requirement{
			{Claim: "groups", AnyOf: []any{"agents"}, Contains: []any{"agents"}},
			{Claim: "auth_time", MaxAge: age},
		}}}))
	}
	signedIn[claim] = h.telnyx.AddCredential(telnyxtest.Credential{})
	alice := h.issuer.Bearer("alice", signedIn)
	expect := func(name, bearer string, status int, outcome, told string, counted float64) {
		t.Helper()
		before := len(h.log.String())
		if s, _, o := h.ask(bearer); s != status || o != outcome {
			t.Errorf("%s: got %d %s, want %d %s", name, s, o, status, outcome)
		}
		line := h.log.String()[before:]
		if strings.Contains(line, `"would_deny"`) != (told != "") || !strings.Contains(line, told) {
			t.Errorf("%s: logged %s", name, line)
		}
		if got := observations(t, registry); got != counted {
			t.Errorf("%s: counted %v, want %v", name, got, counted)
		}
	}
	const (
		older = `"would_deny":"auth_time: max_age 30s"`
		loud  = `"level":"warn",`
	)
	rules(authz.ModeObserve, time.Hour)
	expect("whoever meets the rules", alice, 200, "issued", "", 0)
	rules(authz.ModeObserve, 30*time.Second)
	expect("whoever does not", alice, 200, "issued", older, 1)
	expect("and loudly", alice, 200, "issued", loud, 2)
	expect("and if there is no token in the end", h.issuer.Bearer("bob", nil), 403, "no_credential", `"would_deny":"groups: any_of [agents]"`, 3)
	expect("a bearer that does not verify", alice+"x", 401, "invalid_token", "", 3)
	rules(authz.ModeEnforce, 30*time.Second)
	expect("when it counts", alice, 403, "denied", "", 3)
}

// observations is how often a rule would have refused. The labels are the
// configuration's.
func observations(t *testing.T, registry *prometheus.Registry) (all float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "tokensvc_rules_observed_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			all += m.GetCounter().GetValue()
			if len(m.GetLabel()) != 2 || m.GetLabel()[0].GetValue() != "main" || !strings.Contains(m.GetLabel()[1].GetValue(), ": ") {
				t.Errorf("labels %v, want the issuer and the rule", m.GetLabel())
			}
		}
	}
	return all
}

// failing is a directory that fails in ways no real one does on demand.
type failing func(context.Context) error

func (f failing) Find(ctx context.Context, _ directory.Query) (telnyx.CredentialID, error) {
	return telnyx.CredentialID{}, f(ctx)
}

func (f failing) DeviceOf(ctx context.Context, _ directory.Query, _ telnyx.CredentialID) (directory.Device, error) {
	return "", f(ctx)
}

func TestWhatGoesWrongInsideIsToldInConstants(t *testing.T) {
	const marked = "marked-inner-detail"
	for name, row := range map[string]struct {
		fails  failing
		status int
		want   string
		logged string
	}{
		"an error nobody declared":     {func(context.Context) error { return errors.New(marked) }, 500, "internal", marked},
		"a store that does not answer": {func(context.Context) error { return fmt.Errorf("%w: %s", directory.ErrUnavailable, marked) }, 503, "directory_unavailable", marked},
		"a panic":                      {func(context.Context) error { panic(marked) }, 500, "internal", "panic of type string"},
		"a panic of the runtime":       {func(context.Context) error { return []error{}[len(marked)] }, 500, "internal", "out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, telnyxtest.Options{}, func(c *handler.Config) { c.Directory = row.fails })
			bearer, _ := h.person("alice")
			status, _, outcome := h.ask(bearer)
			if status != row.status || outcome != row.want {
				t.Errorf("got %d %s, want %d %s", status, outcome, row.status, row.want)
			}
			line := h.log.String()
			if !strings.Contains(line, row.logged) || !strings.Contains(line, `"outcome":"`+row.want+`"`) {
				t.Errorf("logged %s", line)
			}
			if strings.Contains(name, "panic") && strings.Contains(line, marked) {
				t.Error("the log has the value of the panic")
			}
		})
	}
}

func TestMoreThanThereIsRoomForIsShed(t *testing.T) {
	waiting, proceed := make(chan struct{}), make(chan struct{})
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.InFlight = 1
		c.Directory = failing(func(context.Context) error { waiting <- struct{}{}; <-proceed; return directory.ErrNoCredential })
	})
	bearer, _ := h.person("alice")
	first := make(chan string)
	go func() { _, _, outcome := h.ask(bearer); first <- outcome }()
	<-waiting
	if status, _, outcome := h.ask(bearer); status != http.StatusServiceUnavailable || outcome != "overloaded" {
		t.Errorf("got %d %s, want 503 overloaded", status, outcome)
	}
	close(proceed)
	if outcome := <-first; outcome != "no_credential" {
		t.Errorf("the first got %s", outcome)
	}
}

func TestACallerWhoLeavesIsLoggedAsCanceled(t *testing.T) {
	arrived := make(chan struct{})
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.Directory = failing(func(ctx context.Context) error {
			close(arrived)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-t.Context().Done():
				return errors.New("never told")
			}
		})
	})
	bearer, _ := h.person("alice")
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/v1/token", nil)
	h.must(err)
	req.Header.Set("Authorization", "Bearer "+bearer)
	left := make(chan error)
	go func() {
		res, err := h.client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		left <- err
	}()
	<-arrived
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("the caller got %v", err)
	}
	limit := time.After(5 * time.Second)
	for !strings.Contains(h.log.String(), `"outcome":"canceled","status":499`) {
		select {
		case <-limit:
			t.Fatalf("nobody noticed for 5 s; logged %s", h.log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// known is a verifier that knows one person, whatever they show.
type known authz.Principal

func (k *known) Known(authz.Evidence) bool { return true }
func (k *known) Verify(context.Context, authz.Evidence) (*authz.Principal, error) {
	return (*authz.Principal)(k), nil
}

// nobody is a vendor that is not asked.
type nobody struct{}

func (nobody) Vend(context.Context, telnyx.CredentialID, vending.Ask) (vending.Vended, error) {
	return vending.Vended{}, errors.New("nobody should have come this far")
}

// complete is a configuration in which nothing is missing.
func complete() handler.Config {
	return handler.Config{
		Verifier:  &known{Issuer: "main", User: "main:alice"},
		Policy:    authz.NewPolicy([]authz.Issuer{{Name: "main"}}),
		Directory: failing(func(context.Context) error { return directory.ErrNoCredential }),
		Vendor:    nobody{}, OpenAPI: tokensvc.OpenAPI, ClientModule: clientModule,
		UserPerMinute: 60_000, UserBurst: 10_000, InFlight: 1000, Timeout: 10 * time.Second,
		Trail: trailTo(io.Discard), Metrics: handler.NewMetrics(prometheus.NewRegistry()), Log: zerolog.Nop(),
	}
}

func TestARequestTakesNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := complete()
		cfg.Timeout = 7 * time.Second
		cfg.Directory = failing(func(ctx context.Context) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", directory.ErrUnavailable, ctx.Err())
		})
		s, err := handler.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		patient, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began, res := time.Now(), httptest.NewRecorder()
		s.ServeHTTP(res, httptest.NewRequestWithContext(patient, http.MethodPost, "/v1/token", nil))
		if took := time.Since(began); took != cfg.Timeout {
			t.Errorf("took %v, want %v", took, cfg.Timeout)
		}
		if res.Code != http.StatusServiceUnavailable || !strings.Contains(res.Body.String(), `"directory_unavailable"`) {
			t.Errorf("answered %d %s", res.Code, res.Body)
		}
	})
}

// Whoever is handed a token that has been kept for a while comes again in time
// for that one, not for a new one.
func TestLifetimesAreWhatIsLeft(t *testing.T) {
	var ahead atomic.Int64
	h := build(t, telnyxtest.Options{TokenLife: time.Hour}, func(c *handler.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	bearer, _ := h.person("alice")
	for _, age := range []time.Duration{0, 20 * time.Minute, 50 * time.Minute} {
		ahead.Store(int64(age))
		var got struct {
			Token     string
			ExpiresAt time.Time `json:"expires_at"`
			ExpiresIn float64   `json:"expires_in"`
			RefreshIn float64   `json:"refresh_in"`
		}
		h.must(json.Unmarshal(h.body(bearer), &got))
		expires, ok := h.telnyx.ExpiryOf(got.Token)
		if !ok || !got.ExpiresAt.Equal(expires) {
			t.Errorf("at %v: expires_at is %v, the token says %v", age, got.ExpiresAt, expires)
		}
		left := (time.Hour - age).Seconds()
		if got.ExpiresIn > left || got.ExpiresIn < left-60 { // a busy machine's minute
			t.Errorf("at %v: expires_in is %v s, want a little less than %v", age, got.ExpiresIn, left)
		}
		if part := got.RefreshIn / got.ExpiresIn; part < 0.749 || part > 0.851 {
			t.Errorf("at %v: refresh_in is %v of %v s left", age, got.RefreshIn, got.ExpiresIn)
		}
	}
	if n := h.telnyx.Requests(telnyxtest.Token); n != 1 {
		t.Errorf("%d mints, want one token that gets older", n)
	}
}

func TestNonsenseIsRefusedAtConstruction(t *testing.T) {
	for missing, change := range map[string]func(*handler.Config){
		"Verifier":      func(c *handler.Config) { c.Verifier = nil },
		"Policy":        func(c *handler.Config) { c.Policy = nil },
		"Directory":     func(c *handler.Config) { c.Directory = nil },
		"Vendor":        func(c *handler.Config) { c.Vendor = nil },
		"Metrics":       func(c *handler.Config) { c.Metrics = nil },
		"Trail":         func(c *handler.Config) { c.Trail = nil },
		"OpenAPI":       func(c *handler.Config) { c.OpenAPI = nil },
		"ClientModule":  func(c *handler.Config) { c.ClientModule = nil },
		"UserPerMinute": func(c *handler.Config) { c.UserPerMinute = 0 },
		"UserBurst":     func(c *handler.Config) { c.UserBurst = 0 },
		"InFlight":      func(c *handler.Config) { c.InFlight = 0 },
		"Timeout":       func(c *handler.Config) { c.Timeout = 0 },
	} {
		cfg := complete()
		change(&cfg)
		if s, err := handler.New(cfg); err == nil {
			t.Errorf("without %s it is accepted", missing)
			s.Close()
		}
	}
	s, err := handler.New(complete())
	if err != nil {
		t.Fatalf("with everything it is refused: %v", err)
	}
	s.Close()
}
