package authz

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"
)

// A Verifier tells who sent a request. Its cache of verified bearers lives and
// dies with it, so a changed configuration, which is a new Verifier, never sees
// what an older one accepted.
type Verifier struct {
	issuers   map[string]*trusted // by URL, the value of iss
	asked     map[Source]*trusted // those with Introspection
	places    places
	proofs    *proofs
	publicURL string
	verified  *otter.Cache[bearerKey, *verified]
	now       func() time.Time
}

// New returns a Verifier, or says what is wrong with the configuration or with
// a file of keys. It fetches nothing: Run does.
func New(cfg Config) (*Verifier, error) {
	cfg = cfg.withDefaults()
	v := &Verifier{
		issuers: make(map[string]*trusted), asked: make(map[Source]*trusted),
		places: places{origins: cfg.Origins}, publicURL: cfg.PublicURL, now: cfg.Now,
	}
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
	if v.places.overlap() {
		return nil, errors.New("authz: a header is both the proxy's and the source of an issuer")
	}
	if v.places.dpop {
		if err := CheckURL(cfg.PublicURL); err != nil {
			return nil, fmt.Errorf("authz: PublicURL %w", err)
		}
		v.proofs = newProofs(cfg.Now, cfg.nonces())
	}
	var err error
	v.verified, err = otter.New(&otter.Options[bearerKey, *verified]{
		StatsRecorder: stats.NewCounter(),
		MaximumWeight: cfg.CacheBytes,
		Weigher:       func(_ bearerKey, e *verified) uint32 { return e.weight },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[bearerKey, *verified]) time.Duration {
			return e.Value.until.Sub(v.now())
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("authz: cache of verified bearers: %w", err)
	}
	return v, nil
}

// add takes an issuer without Problems.
func (v *Verifier) add(i Issuer, cfg Config) (err error) {
	if i.Proxy != nil {
		if v.places.proxy != nil {
			return errors.New("another proxy is configured too")
		}
		v.places.proxy, err = newProxy(i, cfg.ProxyListener)
		return err
	}
	if v.issuers[i.URL] != nil {
		return errors.New("its URL is configured for another issuer too")
	}
	if i.Introspection != nil && v.asked[i.Source] != nil {
		return errors.New("introspection is configured for another issuer of the same source too")
	}
	t, err := newTrusted(i, cfg)
	if err != nil {
		return err
	}
	v.issuers[i.URL] = t
	if i.Introspection != nil {
		v.asked[i.Source] = t
	}
	v.places.add(i)
	return nil
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
func (v *Verifier) Ready() bool {
	return v.places.proxy != nil || len(v.Missing()) < len(v.issuers)
}

// Verify returns who sent a request. The error is ErrUnauthenticated if the
// request has no credential and ErrAmbiguous if it has several; an *InvalidError
// if the one it has does not verify; ErrIssuerUnavailable if that cannot be told
// because the issuer's keys cannot be had or it gives no answer; or ErrBusy.
func (v *Verifier) Verify(ctx context.Context, e Evidence) (*Principal, error) {
	sent, err := v.places.find(&e)
	if err != nil {
		return nil, err
	}
	if sent.proxy != nil {
		return sent.proxy.principal(&e)
	}
	known, err := v.identify(ctx, sent)
	if err != nil {
		return nil, err
	}
	if err := v.prove(&e, sent, known); err != nil {
		return nil, err
	}
	return known.who, nil
}

// Known reports whether a request's bearer was verified a moment ago and is
// still believed, or the trusted proxy vouches for it: whether Verify would have
// next to nothing to do. It asks nobody and checks no signature. What Known says
// grants nothing.
func (v *Verifier) Known(e Evidence) bool {
	sent, err := v.places.find(&e)
	if err != nil {
		return false
	}
	if sent.proxy != nil {
		return sent.proxy.recognize(&e) == nil
	}
	if len(sent.text) > MaxBearerBytes {
		return false
	}
	known, ok := v.verified.GetEntryQuietly(bearerKey{digestOf(sent.text), sent.place}) // Verify will count it
	return ok && known.Value.who != nil && v.now().Before(known.Value.until)
}

// identify returns whose token it is, and does not look at who sent it.
func (v *Verifier) identify(ctx context.Context, sent sent) (*verified, error) {
	if len(sent.text) > MaxBearerBytes {
		return nil, invalid(ReasonMalformed)
	}
	key := bearerKey{digestOf(sent.text), sent.place}
	now := v.now()
	if known, ok := v.verified.GetIfPresent(key); ok && now.Before(known.until) {
		if known.who == nil {
			return nil, invalid(known.refused)
		}
		return known, nil
	}
	issuer, t, err := v.read(ctx, sent, now)
	if err != nil {
		v.rememberRefusal(key, issuer, err, now)
		return nil, err
	}
	who, err := issuer.principal(t)
	if err != nil {
		v.rememberRefusal(key, issuer, err, now)
		return nil, err
	}
	known := &verified{issuer: issuer, who: who, binding: bindingOf(t.claims)}
	v.remember(key, known, now, t.size)
	return known, nil
}

// read returns what a token says, or what its issuer says of it, when that can
// be believed. An error comes with the issuer if that was asked.
func (v *Verifier) read(ctx context.Context, sent sent, now time.Time) (*trusted, *token, error) {
	asked := v.asked[sent.source]
	if asked == nil || !asked.mayKnow(sent.text) {
		return v.check(ctx, sent, now)
	}
	if !opaqueForm(sent.text) {
		return nil, nil, invalid(ReasonMalformed)
	}
	t, err := asked.introspector.introspect(ctx, sent.text)
	if err == nil {
		err = asked.judge(t, v.now())
	}
	return asked, t, err
}

// check verifies a JWT. Cheap checks come before expensive ones: form, algorithm
// and type, issuer, audience and time, and only then keys and the signature.
func (v *Verifier) check(ctx context.Context, sent sent, now time.Time) (*trusted, *token, error) {
	t, err := parse(sent.text)
	if err != nil {
		return nil, nil, err
	}
	issuer := v.issuers[t.issuer]
	switch {
	case issuer == nil || issuer.keys == nil || issuer.Source != sent.source:
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
