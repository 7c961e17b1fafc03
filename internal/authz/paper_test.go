package authz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

const paperURL = "https://login.example.com"

// paper is an issuer without a listener, and the transport that leads to it: for
// tests in a bubble of synctest, where a real connection would stop the clock.
type paper struct {
	mu           sync.Mutex
	key          oidctest.Key
	cacheControl string
	before       func(context.Context) error // is asked before keys are given
	asked        []time.Time                 // for keys
}

func newPaper(cacheControl string) *paper {
	return &paper{key: oidctest.NewKey("first"), cacheControl: cacheControl}
}

func (p *paper) config() authz.Config {
	return authz.Config{
		Issuers:   []authz.Issuer{{Name: "main", URL: paperURL, Audiences: []string{audience}}},
		Transport: p,
	}
}

func (p *paper) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.String() {
	case paperURL + "/.well-known/openid-configuration":
		return p.answer(r, map[string]any{"issuer": paperURL, "jwks_uri": paperURL + "/keys"})
	case paperURL + "/keys":
		return p.keys(r)
	}
	return nil, errors.New("paper: nothing is written at " + r.URL.String())
}

func (p *paper) keys(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.asked = append(p.asked, time.Now())
	before := p.before
	p.mu.Unlock()
	if before != nil {
		if err := before(r.Context()); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	public := jose.JSONWebKey{Key: p.key.Private.Public(), KeyID: p.key.ID, Algorithm: string(p.key.Algorithm), Use: "sig"}
	return p.answer(r, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
}

func (p *paper) answer(r *http.Request, v any) (*http.Response, error) {
	body, err := json.Marshal(v)
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Cache-Control": {p.cacheControl}},
		Body:       io.NopCloser(bytes.NewReader(body)),
		Request:    r,
	}, err
}

// rotate replaces the key, and says what is asked before the next is given.
func (p *paper) rotate(kid string, before func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.before = oidctest.NewKey(kid), before
}

func (p *paper) fetches() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.asked...)
}

func (p *paper) bearer(subject string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return p.key.Sign(nil, map[string]any{
		"iss": paperURL, "sub": subject, "aud": audience, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
}
