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
	refusedLife       = 10 * time.Second // of an answer of no, when the issuer was asked
	defaultCacheBytes = 64 << 20
)

// Config is what a Verifier needs.
type Config struct {
	// Issuers are the accepted issuers, at least one, none with Problems, no two
	// with the same name or URL, and one at most with Introspection: an opaque
	// token does not say which issuer is to be asked.
	Issuers []Issuer
	// Transport carries the requests to the issuers. Default: as
	// http.DefaultTransport, but with connections enough for introspection.
	Transport http.RoundTripper
	// CacheBytes bounds the memory of verified bearers, roughly. Default 64 MiB.
	CacheBytes uint64
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnFetch is told of every attempt to fetch an issuer's keys, or the address
	// of its introspection endpoint, nil error for success. It must not block.
	// Default none.
	OnFetch func(issuer string, err error)
}

// A Verifier tells who sent a bearer. Its cache of verified bearers lives and
// dies with it, so a changed configuration, which is a new Verifier, never sees
// what an older one accepted.
type Verifier struct {
	issuers  map[string]*trusted // by URL, the value of iss
	asked    *trusted            // the one with Introspection, or nil
	verified *otter.Cache[digest, verified]
	now      func() time.Time
}

type digest = [sha256.Size]byte

// verified is a cached answer. The bearer itself is not kept.
type verified struct {
	who     *Principal // nil if the answer was no
	refused Reason     // why then
	until   time.Time
	weight  uint32
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
		if i.Introspection != nil && v.asked != nil {
			return nil, fmt.Errorf("authz: issuer %q: introspection is configured for another issuer too", i.Name)
		}
		t, err := newTrusted(i.withDefaults(), cfg)
		if err != nil {
			return nil, fmt.Errorf("authz: issuer %q: %w", i.Name, err)
		}
		v.issuers[i.URL] = t
		if i.Introspection != nil {
			v.asked = t
		}
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

// Run fetches what is needed of every issuer and keeps it fresh until ctx is
// done.
func (v *Verifier) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, t := range v.issuers {
		running.Go(func() { t.run(ctx) })
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

// Missing returns the names of the issuers of which what is needed has never been
// had: their keys, or where to ask them.
func (v *Verifier) Missing() []string {
	var names []string
	for _, t := range v.issuers {
		if !t.known() {
			names = append(names, t.Name)
		}
	}
	return names
}

// Ready reports whether anybody can be verified: what is needed of at least one
// issuer is there. One issuer that is down does not make the service useless
// to the people of the others.
func (v *Verifier) Ready() bool { return len(v.Missing()) < len(v.issuers) }

// Verify returns the principal whose bearer this is. The error is an
// *InvalidError if the bearer does not verify, or is ErrIssuerUnavailable if
// that cannot be told because the issuer's keys cannot be had, or the issuer
// does not answer about the bearer.
func (v *Verifier) Verify(ctx context.Context, bearer secret.Text) (*Principal, error) {
	return v.identify(ctx, bearer.Reveal())
}

// identify is Verify for the text of a bearer, wherever it was found.
func (v *Verifier) identify(ctx context.Context, text string) (*Principal, error) {
	if len(text) > MaxBearerBytes {
		return nil, invalid(ReasonMalformed)
	}
	sum := sha256.Sum256([]byte(text))
	now := v.now()
	if e, ok := v.verified.GetIfPresent(sum); ok && now.Before(e.until) {
		if e.who == nil {
			return nil, invalid(e.refused)
		}
		return e.who, nil
	}
	issuer, t, err := v.read(ctx, text, now)
	if err != nil {
		v.rememberRefusal(sum, issuer, err, now)
		return nil, err
	}
	who, err := issuer.principal(t)
	if err != nil {
		v.rememberRefusal(sum, issuer, err, now)
		return nil, err
	}
	v.remember(sum, issuer, who, now, t.size)
	return who, nil
}

// read returns what a bearer says, or what its issuer says of it, when that can
// be believed. An error comes with the issuer if that was asked.
func (v *Verifier) read(ctx context.Context, text string, now time.Time) (*trusted, *token, error) {
	if v.asked == nil || !v.asked.mayKnow(text) {
		return v.check(ctx, text, now)
	}
	if !opaqueForm(text) {
		return nil, nil, invalid(ReasonMalformed)
	}
	t, err := v.asked.introspector.introspect(ctx, text)
	if err == nil {
		err = v.asked.judge(t, v.now())
	}
	return v.asked, t, err
}

// check verifies a JWT. Cheap checks come before expensive ones: form, algorithm
// and type, issuer, audience and time, and only then keys and the signature.
func (v *Verifier) check(ctx context.Context, text string, now time.Time) (*trusted, *token, error) {
	t, err := parse(text)
	if err != nil {
		return nil, nil, err
	}
	issuer := v.issuers[t.issuer]
	switch {
	case issuer == nil || issuer.keys == nil:
		return nil, nil, invalid(ReasonIssuer)
	case !contains(issuer.Algorithms, t.algorithm):
		return nil, nil, invalid(ReasonAlgorithm)
	case !t.readAudience(issuer.AudienceClaim):
		return nil, nil, invalid(ReasonMalformed)
	}
	if err := issuer.judge(t, now); err != nil {
		return nil, nil, err
	}
	if err := issuer.verifySignature(ctx, t); err != nil {
		return nil, nil, err
	}
	return issuer, t, nil
}

// entryBytes is what a cached answer takes, besides its claims.
const entryBytes = 1024

func (v *Verifier) remember(sum digest, issuer *trusted, who *Principal, now time.Time, size int) {
	until := now.Add(issuer.believedFor())
	if !who.ExpiresAt.IsZero() && who.ExpiresAt.Before(until) {
		until = who.ExpiresAt
	}
	if !until.After(now) { // accepted by clock skew alone, or not to be kept
		return
	}
	// Decoded claims take about three times the room of their JSON.
	weight := uint32(entryBytes + 3*size) //nolint:gosec // size is bounded where it is read
	v.verified.Set(sum, verified{who: who, until: until, weight: weight})
}

// rememberRefusal remembers that an issuer, when asked, said no, so that one dead
// token cannot have it asked all the time. That it gave no answer is not
// remembered.
func (v *Verifier) rememberRefusal(sum digest, asked *trusted, err error, now time.Time) {
	var no *InvalidError
	if asked == nil || asked.introspector == nil || !errors.As(err, &no) {
		return
	}
	v.verified.Set(sum, verified{refused: no.Reason, until: now.Add(refusedLife), weight: entryBytes})
}
