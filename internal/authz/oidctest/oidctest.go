// Package oidctest is an OpenID Connect issuer on a loopback listener, with
// discovery, real keys, rotation, introspection, sign-in in a browser, and faults on
// demand. Tests verify against it, and `tokensvc dev` gives its made-up people their
// bearers with it. It protects nobody: whoever can reach it can be anyone.
package oidctest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Options configure an Issuer.
type Options struct {
	Addr     string           // where to listen, loopback only. Default 127.0.0.1:0
	Audience string           // the aud of bearers that do not say otherwise
	Life     time.Duration    // of bearers. Default 1 h
	Now      func() time.Time // default time.Now
	// People maps a name to the claims of that person's bearers. For each there
	// is GET /bearer/{name}.
	People map[string]map[string]any
	// CacheControl is sent with the key set, if not empty.
	CacheControl string
	// Client may ask about tokens. Default: nobody may.
	Client Client

	// ClientID is what the page is called that people sign in for. It has no secret.
	// Default: nobody signs in.
	ClientID string
	// Redirects are where a browser may be sent back to after signing in, each
	// exactly as it is asked for. Their origins may read this issuer's answers. See
	// SetRedirects.
	Redirects []string
	// Shows says of some of the People what they are there for. It stands under
	// their names where people sign in.
	Shows map[string]string
}

// An Issuer is running from Start to Close.
type Issuer struct {
	options  Options
	listener net.Listener
	server   *http.Server
	serial   atomic.Int64

	fault, introspectionFault atomic.Pointer[http.HandlerFunc]
	latency                   atomic.Int64 // nanoseconds
	fetches, introspections   atomic.Int64

	mu         sync.Mutex
	keys       []Key                     // the last one signs
	opaque     map[string]map[string]any // the claims of each opaque token
	revoked    map[string]bool           // tokens
	assertions map[string]bool           // jti of clients' assertions
	redirects  []string
	origins    map[string]bool // of the redirects
	sessions   shelf[string]   // who is signed in, by the browser's cookie
	codes      shelf[*ticket]
	refreshes  shelf[*ticket]
}

// A Key signs bearers. ID is its kid.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Private   crypto.Signer
}

// Start listens and serves.
func Start(o Options) (*Issuer, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Life == 0 {
		o.Life = time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	at, err := netip.ParseAddrPort(o.Addr)
	if err != nil || !at.Addr().IsLoopback() {
		return nil, fmt.Errorf("oidctest: %s is not a loopback address and port", o.Addr)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("oidctest: %w", err)
	}
	i := &Issuer{
		options: o, listener: listener,
		opaque: make(map[string]map[string]any), revoked: make(map[string]bool), assertions: make(map[string]bool),
	}
	if err := i.SetRedirects(o.Redirects...); err != nil {
		_ = listener.Close()
		return nil, err
	}
	i.Rotate()
	i.server = &http.Server{Handler: i.routes(), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: maxForm}
	go i.server.Serve(listener) //nolint:errcheck // returns when Close is called
	return i, nil
}

// TB is the part of testing.TB that StartT needs. The testing package itself
// stays out of the product's binary.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// StartT starts an issuer that ends with the test.
func StartT(tb TB, o Options) *Issuer {
	tb.Helper()
	i, err := Start(o)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(i.Close)
	return i
}

// Close stops listening and drops what is in flight.
func (i *Issuer) Close() { _ = i.server.Close() }

// URL is the issuer identifier.
func (i *Issuer) URL() string { return "http://" + i.listener.Addr().String() }

// Addr is the address it listens on.
func (i *Issuer) Addr() string { return i.listener.Addr().String() }

// KeyFetches returns how often the key set has been asked for.
func (i *Issuer) KeyFetches() int { return int(i.fetches.Load()) }

// Break makes every discovery and key request go to h, until it is called with
// nil.
func (i *Issuer) Break(h http.HandlerFunc) { setFault(&i.fault, h) }

// SetLatency has every answer to a discovery or key request wait first.
func (i *Issuer) SetLatency(d time.Duration) { i.latency.Store(int64(d)) }

// late waits, if told to.
func (i *Issuer) late(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if d := time.Duration(i.latency.Load()); d > 0 {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				return
			}
		}
		h(w, r)
	}
}

func setFault(fault *atomic.Pointer[http.HandlerFunc], h http.HandlerFunc) {
	if h == nil {
		fault.Store(nil)
		return
	}
	fault.Store(&h)
}

// Rotate replaces the keys by a new one.
func (i *Issuer) Rotate() Key {
	k := NewKey(fmt.Sprintf("key-%d", i.serial.Add(1)))
	i.Publish(k)
	return k
}

// Publish makes these the published keys. The last one signs.
func (i *Issuer) Publish(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// Key returns the signing key.
func (i *Issuer) Key() Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// NewKey makes a P-256 key.
func NewKey(id string) Key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return Key{id, jose.ES256, private}
}

// Claims returns what a bearer for the subject says: iss, sub, aud, iat and exp,
// and over them the person's claims and then the extra ones. A nil value takes a
// claim away.
func (i *Issuer) Claims(subject string, extra map[string]any) map[string]any {
	now := i.options.Now()
	claims := map[string]any{
		"iss": i.URL(),
		"sub": subject,
		"aud": i.options.Audience,
		"iat": now.Unix(),
		"exp": now.Add(i.options.Life).Unix(),
	}
	maps.Copy(claims, i.options.People[subject])
	maps.Copy(claims, extra)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// Bearer returns a bearer for the subject.
func (i *Issuer) Bearer(subject string, extra map[string]any) string {
	return i.Key().Sign(map[string]any{"typ": "at+jwt"}, i.Claims(subject, extra))
}

// Sign makes a compact JWS over the claims, with the header as given besides alg
// and kid.
func (k Key) Sign(header, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // the caller's claims are not JSON
	}
	return k.SignRaw(header, payload)
}

// SignRaw is Sign for a payload that need not be JSON.
func (k Key) SignRaw(header map[string]any, payload []byte) string {
	options := &jose.SignerOptions{}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: k.Algorithm,
		Key:       jose.JSONWebKey{Key: k.Private, KeyID: k.ID},
	}, options)
	if err != nil {
		panic(err) // the key does not fit its algorithm
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

func (i *Issuer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.shared(i.late(breakable(&i.fault, i.discovery))))
	mux.HandleFunc("GET /keys", i.shared(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.late(breakable(&i.fault, i.keySet))(w, r)
	}))
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		i.introspections.Add(1)
		breakable(&i.introspectionFault, i.introspect)(w, r)
	})
	mux.HandleFunc("GET /bearer/{name}", i.bearer)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.shared(i.token))
	mux.HandleFunc("OPTIONS /token", i.shared(preflight))
	return mux
}

func breakable(fault *atomic.Pointer[http.HandlerFunc], h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if broken := fault.Load(); broken != nil {
			(*broken)(w, r)
			return
		}
		h(w, r)
	}
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	document := map[string]any{
		"issuer":                                i.URL(),
		"jwks_uri":                              i.URL() + "/keys",
		"introspection_endpoint":                i.URL() + "/introspect",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	}
	if i.signsIn() {
		document["authorization_endpoint"] = i.URL() + "/authorize"
		document["token_endpoint"] = i.URL() + "/token"
		document["code_challenge_methods_supported"] = []string{challengeMethod}
		document["grant_types_supported"] = []string{grantCode, grantRefresh}
		document["token_endpoint_auth_methods_supported"] = []string{"none"}
		document["authorization_response_iss_parameter_supported"] = true
	}
	writeJSON(w, document)
}

func (i *Issuer) keySet(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	var set jose.JSONWebKeySet
	for _, k := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
	}
	i.mu.Unlock()
	if i.options.CacheControl != "" {
		w.Header().Set("Cache-Control", i.options.CacheControl)
	}
	writeJSON(w, set)
}

func (i *Issuer) bearer(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if _, known := i.options.People[name]; !known {
		http.Error(w, "nobody of that name lives here", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprintln(w, i.Bearer(name, nil))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a caller that went away is no fault of ours
}
