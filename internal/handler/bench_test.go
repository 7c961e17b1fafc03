package handler

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

// BenchmarkVerifiedBefore is what a request with a bearer that was verified a
// moment ago costs until its caller is known: the path of nearly every request.
func BenchmarkVerifiedBefore(b *testing.B) {
	issuer := oidctest.StartT(b, oidctest.Options{Audience: "softphone"})
	fetched := make(chan error, 1)
	verifier, err := authz.New(authz.Config{
		Issuers: []authz.Issuer{{Name: "main", URL: issuer.URL(), Audiences: []string{"softphone"}}},
		OnFetch: func(_ string, err error) { fetched <- err },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go verifier.Run(ctx)
	if err := <-fetched; err != nil {
		b.Fatal(err)
	}
	s, ev := &Service{}, &event{}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, tokenRoute, nil)
	r.Header.Set("Authorization", "Bearer "+issuer.Bearer("alice", map[string]any{"groups": []string{"agents"}}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifier.Verify(ctx, s.evidence(ev, r)); err != nil {
			b.Fatal(err)
		}
	}
}
