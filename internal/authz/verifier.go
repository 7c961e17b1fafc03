package authz

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tokensvc/tokensvc/internal/secret"
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
	until  time.Time
	weight uint32
}

// New returns a Verifier, or says what is wrong with the configuration or with
// a file of keys. It fetches nothing: Run does.
func New(cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCacheBytes
	}
	v := &Verifier{issuers: make(map[string]*trusted), now: cfg.Now}
	names := make(map[string]bool)
	for _, i := range cfg.Issuers {
		if wrong := i.Problems(); len(wrong) > 0 {
			return nil, fmt.Errorf("authz: issuer %q: %s %s", i.Name, wrong[0].Field, wrong[0].Text)
		}
		if names[i.Name] || v.issuers[i.URL] != nil {
			return nil, fmt.Errorf("authz: issuer %q is configured twice", i.Name)
		}
		names[i.Name] = true
		i = i.withDefaults()
		keys, err := newKeySource(i, cfg)
		if err != nil {
			return nil, fmt.Errorf("authz: issuer %q: %w", i.Name, err)
		}
		v.issuers[i.URL] = &trusted{i, keys}
	}
	if len(v.issuers) == 0 {
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

// Run fetches the keys of every issuer and keeps them fresh until ctx is done.
func (v *Verifier) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, t := range v.issuers {
		running.Go(func() { t.keys.run(ctx) })
	}
	running.Wait()
	v.verified.StopAllGoroutines()
}

// ReloadKeys reads the file of the named issuer's keys again, and reports
// whether it had changed. With an error, the last good keys stay. A bearer that
// was verified with a key that is gone is believed for five more minutes at
// most, as it is with keys that are fetched.
func (v *Verifier) ReloadKeys(issuer string) (changed bool, err error) {
	for _, t := range v.issuers {
		if t.Name == issuer && t.KeyFile() != "" {
			return t.keys.load()
		}
	}
	return false, fmt.Errorf("authz: no issuer %q has its keys in a file", issuer)
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
func (v *Verifier) Ready() bool { return len(v.Missing()) < len(v.issuers) }

// Verify returns the principal whose bearer this is. The error is an
// *InvalidError if the bearer does not verify, or is ErrIssuerUnavailable if
// that cannot be told because the issuer's keys cannot be had.
//
// Cheap checks come before expensive ones: size and form, algorithm and type,
// issuer, audience and time, and only then keys and the signature.
func (v *Verifier) Verify(ctx context.Context, bearer secret.Text) (*Principal, error) {
	text := bearer.Reveal()
	if len(text) > MaxBearerBytes {
		return nil, invalid(ReasonMalformed)
	}
	sum := sha256.Sum256([]byte(text))
	now := v.now()
	if e, ok := v.verified.GetIfPresent(sum); ok && now.Before(e.until) {
		return e.who, nil
	}
	t, err := parse(text)
	if err != nil {
		return nil, err
	}
	issuer := v.issuers[t.issuer]
	if issuer == nil {
		return nil, invalid(ReasonIssuer)
	}
	if !contains(issuer.Algorithms, t.algorithm) {
		return nil, invalid(ReasonAlgorithm)
	}
	if !t.readAudience(issuer.AudienceClaim) {
		return nil, invalid(ReasonMalformed)
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
	v.remember(sum, who, now, len(text))
	return who, nil
}

func (v *Verifier) remember(sum digest, who *Principal, now time.Time, size int) {
	until := now.Add(maxVerifiedLife)
	if who.ExpiresAt.Before(until) {
		until = who.ExpiresAt
	}
	if !until.After(now) { // accepted by clock skew alone
		return
	}
	// Decoded claims take about three times the room of their JSON.
	weight := uint32(1024 + 3*size) //nolint:gosec // size is at most MaxBearerBytes
	v.verified.Set(sum, verified{who, until, weight})
}

// judge says whether what the claims say of the bearer itself will do.
func (t *trusted) judge(b *token, now time.Time) error {
	switch {
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
