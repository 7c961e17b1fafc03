package authz

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// bound is an issuer of bearers that are bound to keys, and what verifies them.
type bound struct {
	t      *testing.T
	issuer *oidctest.Issuer
	v      *Verifier
}

// startBound moves the issuer's and the verifier's clock to that of the proofs.
func startBound(t *testing.T, mode DPoP, nonceKey func() secret.Text) bound {
	t.Helper()
	now := func() time.Time { return proofNow }
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone", Now: now})
	fetched := make(chan error, 1)
	cfg := Config{
		Issuers:   []Issuer{{Name: "main", URL: issuer.URL(), Audiences: []string{"softphone"}, DPoP: mode}},
		PublicURL: "https://phone.example.com", NonceKey: nonceKey, Now: now,
		OnFetch: func(_ string, err error) { fetched <- err },
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { v.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	if err := <-fetched; err != nil {
		t.Fatal(err)
	}
	return bound{t, issuer, v}
}

// to returns a bearer of alice's that is bound to the holder's key.
func (b bound) to(h *holder) string {
	return b.issuer.Bearer("alice", map[string]any{"cnf": map[string]any{"jkt": h.want().key}})
}

// proving is a request with a bearer under a scheme, and with proofs.
func proving(scheme, bearer string, proofs ...string) Evidence {
	e := Evidence{Header: http.Header{"Authorization": {scheme + " " + bearer}}, Method: http.MethodPost, Path: "/v1/token"}
	if len(proofs) > 0 {
		e.Header["Dpop"] = proofs
	}
	return e
}

// of is a proof of the holder's for that bearer.
func (h *holder) of(bearer string, claims fields) string {
	sum := sha256.Sum256([]byte(bearer))
	all := fields{"ath": base64.RawURLEncoding.EncodeToString(sum[:])}
	for name, value := range claims {
		all[name] = value
	}
	return h.proof(nil, all)
}

func (b bound) want(outcome, name string, e Evidence) {
	b.t.Helper()
	who, err := b.v.Verify(context.Background(), e)
	got := fmt.Sprint(err)
	if no := (*InvalidError)(nil); errors.As(err, &no) {
		got = string(no.Reason)
	} else if err == nil {
		got = who.User
	}
	if got != outcome {
		b.t.Errorf("%s: %s, want %s", name, got, outcome)
	}
}

func TestWhoMayUseABoundBearer(t *testing.T) {
	h, thief := newHolder(), &holder{alg: "EdDSA", key: edKey(t)}
	b := startBound(t, DPoPOptional, nil)
	bearer, other := b.to(h), b.issuer.Bearer("bob", nil)

	b.want("main:alice", "its holder, with a proof", proving("DPoP", bearer, h.of(bearer, nil)))
	b.want("main:alice", "the same again, with another proof", proving("dpop", bearer, h.of(bearer, nil)))
	b.want("main:bob", "whoever has a bearer that is not bound", proving("Bearer", other))

	b.want("binding", "whoever has it, as a bearer", proving("Bearer", bearer))
	b.want("binding", "its holder, as a bearer, though with a proof", proving("Bearer", bearer, h.of(bearer, nil)))
	b.want("proof", "whoever has it, without a proof", proving("DPoP", bearer))
	b.want("proof", "with two proofs", proving("DPoP", bearer, h.of(bearer, nil), h.of(bearer, nil)))
	b.want("binding", "a thief with a proof by another key", proving("DPoP", bearer, thief.of(bearer, nil)))
	b.want("binding", "a bearer that is not bound, with a proof", proving("DPoP", other, h.of(other, nil)))
	b.want("proof_target", "a proof for another bearer", proving("DPoP", bearer, h.of(other, nil)))
	b.want("proof_target", "a proof for another address", proving("DPoP", bearer, h.of(bearer, fields{"htu": "https://phone.example.com/v1/whoami"})))
	b.want("proof_target", "a proof for another host", proving("DPoP", bearer, h.of(bearer, fields{"htu": "https://evil.example.com/v1/token"})))
	b.want("proof_target", "a proof for another method", proving("DPoP", bearer, h.of(bearer, fields{"htm": "GET"})))
	b.want("proof_time", "an old proof", proving("DPoP", bearer, h.of(bearer, fields{"iat": proofNow.Add(-2 * time.Minute).Unix()})))
	used := h.of(bearer, nil)
	b.want("main:alice", "a proof once", proving("DPoP", bearer, used))
	b.want("proof_replayed", "and twice", proving("DPoP", bearer, used))
	b.want("signature", "a forged bearer, with a proof", proving("DPoP", bearer[:len(bearer)-4]+"AAAA", h.of(bearer, nil)))

	said := b.issuer.Bearer("alice", map[string]any{"token_type": "DPoP"})
	b.want("binding", "said to be bound and not to what, as a bearer", proving("Bearer", said))
	b.want("binding", "said to be bound and not to what, with a proof", proving("DPoP", said, h.of(said, nil)))
	for name, cnf := range map[string]any{
		"to a certificate":            map[string]any{"x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"},
		"to a key and a certificate":  map[string]any{"jkt": h.want().key, "x5t#S256": "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"},
		"to nothing":                  map[string]any{},
		"in a way that is no object":  "key",
		"to a thumbprint of no text":  map[string]any{"jkt": 7},
		"to a thumbprint that is not": map[string]any{"jkt": ""},
	} {
		odd := b.issuer.Bearer("alice", map[string]any{"cnf": cnf})
		b.want("binding", "bound "+name+", as a bearer", proving("Bearer", odd))
		b.want("binding", "bound "+name+", with a proof", proving("DPoP", odd, h.of(odd, nil)))
	}
}

func TestWhereProofsAreOffABoundBearerIsOfNoUse(t *testing.T) {
	h := newHolder()
	b := startBound(t, DPoPOff, nil)
	bearer := b.to(h)
	b.want("binding", "as a bearer", proving("Bearer", bearer))
	b.want("no credential was sent", "with a proof", proving("DPoP", bearer, h.of(bearer, nil)))
}

func TestWhereProofsAreRequiredOthersAreOfNoUse(t *testing.T) {
	h := newHolder()
	b := startBound(t, DPoPRequired, nil)
	bearer, other := b.to(h), b.issuer.Bearer("bob", nil)
	b.want("main:alice", "a bound bearer with a proof", proving("DPoP", bearer, h.of(bearer, nil)))
	b.want("binding", "a bearer that is not bound", proving("Bearer", other))
	b.want("binding", "the same, known from before", proving("Bearer", other))
	b.want("binding", "the same with a proof", proving("DPoP", other, h.of(other, nil)))
}

func TestARefusalForWantOfANonceBringsOne(t *testing.T) {
	h := newHolder()
	b := startBound(t, DPoPRequired, keyOf("a key of nonces, of 32 bytes at least"))
	bearer := b.to(h)
	_, err := b.v.Verify(context.Background(), proving("DPoP", bearer, h.of(bearer, nil)))
	var no *InvalidError
	if !errors.As(err, &no) || no.Reason != ReasonProofNonce || no.Nonce == "" {
		t.Fatalf("without a nonce: %v, want one to be handed out", err)
	}
	b.want("main:alice", "with it", proving("DPoP", bearer, h.of(bearer, fields{"nonce": no.Nonce})))
	b.want("proof_nonce", "with another", proving("DPoP", bearer, h.of(bearer, fields{"nonce": no.Nonce + "A"})))
}

func TestDPoPNeedsAnAddress(t *testing.T) {
	issuer := Issuer{Name: "main", URL: "https://login.example.com", Audiences: []string{"softphone"}, DPoP: DPoPOptional}
	for _, address := range []string{"", "/v1", "http://phone.example.com"} {
		if _, err := New(Config{Issuers: []Issuer{issuer}, PublicURL: address}); err == nil {
			t.Errorf("the address %q is accepted", address)
		}
	}
	issuer.Source, _ = ParseSource("cookie:session")
	if _, err := New(Config{Issuers: []Issuer{issuer}, PublicURL: "https://phone.example.com"}); err == nil {
		t.Error("DPoP for a cookie is accepted")
	}
}

// Everybody there is, from every place a credential can be, at the same time:
// nobody is ever taken for somebody else.
func TestNobodyIsTakenForSomebodyElseFromAnyPlace(t *testing.T) {
	now := func() time.Time { return proofNow }
	client := oidctest.Client{ID: "tokensvc", Secret: "a secret"}
	start := func() *oidctest.Issuer {
		return oidctest.StartT(t, oidctest.Options{Audience: "softphone", Now: now, Client: client})
	}
	phones, iap, web, opaque := start(), start(), start(), start()
	of := func(name string, i *oidctest.Issuer, source string) Issuer {
		s, err := ParseSource(source)
		if err != nil {
			t.Fatal(err)
		}
		return Issuer{Name: name, URL: i.URL(), Audiences: []string{"softphone"}, Source: s}
	}
	bearers, asked := of("phones", phones, "bearer"), of("asked", opaque, "header:X-Opaque")
	bearers.DPoP = DPoPOptional
	asked.Introspection = &Introspection{ClientID: "tokensvc", ClientSecret: keyOf("a secret"), Endpoint: opaque.URL() + "/introspect"}
	behind := Issuer{Name: "sso", Proxy: &Proxy{
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Secret: keyOf("only-the-proxy-knows"),
	}}
	const page = "https://phone.example.com"
	fetched := make(chan error, 16)
	v, err := New(Config{
		Issuers: []Issuer{bearers, of("iap", iap, "header:X-Assertion"), of("web", web, "cookie:session"), asked, behind},
		Origins: []string{page}, PublicURL: page, Now: now, OnFetch: func(_ string, err error) { fetched <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { v.Run(ctx); close(ended) }()
	defer func() { stop(); <-ended }()
	for range 3 { // the one that is asked has nothing to fetch
		if err := <-fetched; err != nil {
			t.Fatal(err)
		}
	}

	names := []string{"alice", "bob"}
	holders := map[string]*holder{"alice": newHolder(), "bob": {alg: "EdDSA", key: edKey(t)}}
	var mu sync.Mutex // of the holders' serial numbers
	type way struct {
		issuer string
		send   func(name string) Evidence
	}
	header := func(field, value string, more ...string) Evidence {
		e := Evidence{Header: http.Header{field: {value}}, Method: http.MethodPost, Path: "/v1/token"}
		for i := 0; i+1 < len(more); i += 2 {
			e.Header.Set(more[i], more[i+1])
		}
		return e
	}
	kept := map[string]string{} // tokens that are sent again and again
	for _, n := range names {
		kept["phones"+n], kept["iap"+n], kept["web"+n], kept["asked"+n] = phones.Bearer(n, nil), iap.Bearer(n, nil), web.Bearer(n, nil), opaque.Opaque(n, nil)
		kept["bound"+n] = phones.Bearer(n, map[string]any{"cnf": map[string]any{"jkt": holders[n].want().key}})
	}
	ways := []way{
		{"phones", func(n string) Evidence { return header("Authorization", "Bearer "+kept["phones"+n]) }},
		{"iap", func(n string) Evidence { return header("X-Assertion", kept["iap"+n]) }},
		{"web", func(n string) Evidence { return header("Cookie", "session="+kept["web"+n], "Origin", page) }},
		{"asked", func(n string) Evidence { return header("X-Opaque", kept["asked"+n]) }},
		{"sso", func(n string) Evidence {
			e := header("X-Forwarded-User", n, "X-Proxy-Secret", "only-the-proxy-knows")
			e.RemoteAddr = "192.0.2.7:4711"
			return e
		}},
		{"phones", func(n string) Evidence {
			mu.Lock()
			defer mu.Unlock()
			return header("Authorization", "DPoP "+kept["bound"+n], "Dpop", holders[n].of(kept["bound"+n], nil))
		}},
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				w, name := ways[(worker+i)%len(ways)], names[(worker*3+i/2)%len(names)]
				who, err := v.Verify(ctx, w.send(name))
				if err != nil || who.User != w.issuer+":"+name {
					t.Errorf("%s of %s is %v, %v", name, w.issuer, who, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
