package handler_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc"
	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// BenchmarkServeCached is a whole request for a token that is kept, by somebody
// verified a moment ago: what nearly every request is.
func BenchmarkServeCached(b *testing.B) {
	upstream := telnyxtest.StartT(b, telnyxtest.Options{})
	issuer := oidctest.StartT(b, oidctest.Options{Audience: audience})
	issuers := []authz.Issuer{{Name: "main", URL: issuer.URL(), Audiences: []string{audience}}}
	fetched := make(chan error, 1)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	verifier, err := authz.New(authz.Config{Issuers: issuers, OnFetch: func(_ string, err error) { fetched <- err }})
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go verifier.Run(ctx)
	must(<-fetched)
	client, err := telnyx.New(telnyx.Config{
		BaseURL: upstream.URL(),
		APIKeys: func() []secret.Text { return []secret.Text{secret.New(telnyxtest.DefaultAPIKey)} },
	})
	must(err)
	machine, err := vending.New(vending.Config{Minter: client})
	must(err)
	defer machine.Close()
	users, err := directory.NewClaim(claim)
	must(err)
	trail, err := audit.Open(audit.Config{Path: filepath.Join(b.TempDir(), "audit.jsonl")})
	must(err)
	service, err := handler.New(handler.Config{
		Verifier: verifier, Policy: authz.NewPolicy(issuers), Directory: users, Vendor: machine,
		OpenAPI: tokensvc.OpenAPI, ClientModule: clientModule, UserPerMinute: 1e9, UserBurst: 1e9, InFlight: 1000, Timeout: 10 * time.Second,
		Trail: trail, Metrics: handler.NewMetrics(prometheus.NewRegistry()), Log: zerolog.New(io.Discard).With().Timestamp().Logger(),
	})
	must(err)
	defer service.Close()

	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/token", nil)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("X-Request-Id", "0190a5e6-6f4b-7c3e-8d2a-1b2c3d4e5f60")
	r.Header.Set("Authorization", "Bearer "+issuer.Bearer("alice", map[string]any{
		claim: upstream.AddCredential(telnyxtest.Credential{}), "groups": []string{"agents"},
	}))
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		service.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			b.Fatalf("status %d", w.status)
		}
	}
}

// discard takes an answer and costs nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
