package authz

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/maypok86/otter/v2"
)

// Bounds of verification.
const (
	// MaxBearerBytes is the longest bearer looked at. A token with a thousand
	// groups still fits.
	MaxBearerBytes = 64 << 10

	maxVerifiedLife   = 5 * time.Minute
	defaultCacheBytes = 64 << 20
)

// Config is what a Verifier needs.
type Config struct {
	// Issuers are the accepted issuers, at least one, none with Problems, no two
	// with the same name or URL.
	Issuers []Issuer
	// Origins are the web origins whose pages a cookie may come from, exactly as
	// browsers send them.
	Origins []string
	// ProxyListener says that the trusted proxy has a listener of its own, and
	// is to be believed nowhere else.
	ProxyListener bool
	// Transport carries the requests for keys. Default http.DefaultTransport.
	Transport http.RoundTripper
	// CacheBytes bounds the memory of verified bearers, roughly. Default 64 MiB.
	CacheBytes uint64
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnFetch is told of every attempt to fetch an issuer's keys, nil error for
	// success. It must not block. Default none.
	OnFetch func(issuer string, err error)
}

// A Verifier tells who sent a bearer. Its cache of verified bearers lives and
// dies with it, so a changed configuration, which is a new Verifier, never sees
// what an older one accepted.
type Verifier struct {
	issuers  map[string]*trusted // by URL, the value of iss
	places   places
	verified *otter.Cache[digest, verified]
	now      func() time.Time
}

// trusted is an issuer and its keys.
type trusted struct {
	Issuer
	keys *keySource
}

type digest = [sha256.Size]byte

// verified is a cached answer. The bearer itself is not kept.
type verified struct {
	who    *Principal
	source Source // where the issuer's tokens must be
	until  time.Time
	weight uint32
}

// New returns a Verifier, or says what is wrong with the configuration. It
// fetches nothing: Run does.
func New(cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCacheBytes
	}
	v := &Verifier{issuers: make(map[string]*trusted), places: places{origins: cfg.Origins}, now: cfg.Now}
	names := make(map[string]bool)
	for _, i := range cfg.Issuers {
		if wrong := i.Problems(); len(wrong) > 0 {
			return nil, fmt.Errorf("authz: issuer %q: %s %s", i.Name, wrong[0].Field, wrong[0].Text)
		}
		if names[i.Name] {
			return nil, fmt.Errorf("authz: issuer %q is configured twice", i.Name)
		}
		names[i.Name] = true
		if err := v.add(i.withDefaults(), cfg); err != nil {
			return nil, fmt.Errorf("authz: issuer %q: %w", i.Name, err)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("authz: no issuer is configured")
	}
	var err error
	v.verified, err = otter.New(&otter.Options[digest, verified]{
		MaximumWeight: cfg.CacheBytes,
		Weigher:       func(_ digest, e verified) uint32 { return e.weight },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[digest, verified]) time.Duration {
			return e.Value.until.Sub(v.now())
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("authz: cache of verified bearers: %w", err)
	}
	return v, nil
}

// add takes an issuer without Problems.
func (v *Verifier) add(i Issuer, cfg Config) error {
	if i.Proxy != nil {
		if v.places.proxy != nil {
			return errors.New("one proxy is configured already")
		}
		p, err := newProxy(i, cfg.ProxyListener)
		v.places.proxy = p
		return err
	}
	if v.issuers[i.URL] != nil {
		return errors.New("its URL is configured twice")
	}
	v.places.add(i.Source)
	v.issuers[i.URL] = &trusted{i, newKeySource(i, cfg)}
	return nil
}

// Run fetches the keys of every issuer and keeps them fresh until ctx is done.
func (v *Verifier) Run(ctx context.Context) {
	done := make(chan struct{})
	for _, t := range v.issuers {
		go func() {
			t.keys.run(ctx)
			done <- struct{}{}
		}()
	}
	for range v.issuers {
		<-done
	}
	v.verified.StopAllGoroutines()
}

// Missing returns the names of the issuers whose keys have never been had.
func (v *Verifier) Missing() []string {
	var names []string
	for _, t := range v.issuers {
		if t.keys.current.Load() == nil {
			names = append(names, t.Name)
		}
	}
	return names
}

// Ready reports whether anybody can be verified: the keys of at least one
// issuer are there. One issuer that is down does not make the service useless
// to the people of the others.
func (v *Verifier) Ready() bool {
	return v.places.proxy != nil || len(v.Missing()) < len(v.issuers)
}

// Verify returns who sent a request. The error is ErrUnauthenticated if the
// request has no credential and ErrAmbiguous if it has several; an *InvalidError
// if the one it has does not verify; or is ErrIssuerUnavailable if that cannot
// be told because the issuer's keys cannot be had.
func (v *Verifier) Verify(ctx context.Context, e *Evidence) (*Principal, error) {
	sent, err := v.places.find(e)
	if err != nil {
		return nil, err
	}
	if sent.proxy != nil {
		return sent.proxy.principal(e)
	}
	return v.verify(ctx, sent)
}

// verify returns whose token it is.
//
// Cheap checks come before expensive ones: size and form, algorithm and type,
// issuer, audience and time, and only then keys and the signature.
func (v *Verifier) verify(ctx context.Context, sent sent) (*Principal, error) {
	if len(sent.text) > MaxBearerBytes {
		return nil, invalid(ReasonMalformed)
	}
	sum := sha256.Sum256([]byte(sent.text))
	now := v.now()
	if e, ok := v.verified.GetIfPresent(sum); ok && e.source == sent.source && now.Before(e.until) {
		return e.who, nil
	}
	t, err := parse(sent.text)
	if err != nil {
		return nil, err
	}
	issuer := v.issuers[t.issuer]
	if issuer == nil || issuer.Source != sent.source {
		return nil, invalid(ReasonIssuer)
	}
	if err := issuer.judge(t, now); err != nil {
		return nil, err
	}
	if err := issuer.verifySignature(ctx, t); err != nil {
		return nil, err
	}
	who, err := issuer.principal(t)
	if err != nil {
		return nil, err
	}
	v.remember(sum, who, issuer.Source, now, len(sent.text))
	return who, nil
}

func (v *Verifier) remember(sum digest, who *Principal, source Source, now time.Time, size int) {
	until := now.Add(maxVerifiedLife)
	if who.ExpiresAt.Before(until) {
		until = who.ExpiresAt
	}
	if !until.After(now) { // accepted by clock skew alone
		return
	}
	// Decoded claims take about three times the room of their JSON.
	weight := uint32(1024 + 3*size) //nolint:gosec // size is at most MaxBearerBytes
	v.verified.Set(sum, verified{who, source, until, weight})
}

// judge makes the checks that need no key.
func (t *trusted) judge(b *token, now time.Time) error {
	switch {
	case !contains(t.Algorithms, b.algorithm):
		return invalid(ReasonAlgorithm)
	case !anyOf(t.Audiences, b.audiences):
		return invalid(ReasonAudience)
	case !now.Before(b.expiresAt.Add(t.ClockSkew)):
		return invalid(ReasonExpired)
	case now.Add(t.ClockSkew).Before(b.notBefore), now.Add(t.ClockSkew).Before(b.issuedAt):
		return invalid(ReasonNotYetValid)
	}
	return nil
}

func (t *trusted) verifySignature(ctx context.Context, b *token) error {
	keys, err := t.keys.find(ctx, b.keyID, b.algorithm)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := b.jws.Verify(k); err == nil {
			return nil
		}
	}
	return invalid(ReasonSignature)
}

func (t *trusted) principal(b *token) (*Principal, error) {
	value, ok := b.claims[t.UserClaim].(string)
	if !ok || !usableUserValue(value) {
		return nil, invalid(ReasonUserClaim)
	}
	if t.UserClaim == "email" && !isTrue(b.claims["email_verified"]) {
		return nil, invalid(ReasonUserClaim)
	}
	return &Principal{
		Issuer:    t.Name,
		Subject:   b.subject,
		User:      t.Name + ":" + value,
		Claims:    b.claims,
		ExpiresAt: b.expiresAt,
	}, nil
}

// isTrue accepts the string too, which some providers put for email_verified
// although OpenID Connect Core section 5.1 says boolean.
func isTrue(claim any) bool { return claim == true || claim == "true" }
