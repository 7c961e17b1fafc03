package authz

import (
	"context"
	"time"
)

// trusted is an issuer and what it takes to verify its bearers.
type trusted struct {
	Issuer
	keys         *keySource    // nil if the issuer is asked
	introspector *introspector // nil if its keys are used
}

func newTrusted(i Issuer, cfg Config) (*trusted, error) {
	if i.Introspection != nil {
		asked, err := newIntrospector(i, cfg)
		return &trusted{Issuer: i, introspector: asked}, err
	}
	keys, err := newKeySource(i, cfg)
	return &trusted{Issuer: i, keys: keys}, err
}

// run keeps what was fetched fresh, until ctx is done.
func (t *trusted) run(ctx context.Context) {
	if t.introspector != nil {
		t.introspector.run(ctx)
		return
	}
	t.keys.run(ctx)
}

// fetch has what it takes fetched, once.
func (t *trusted) fetch(ctx context.Context) error {
	if t.introspector != nil {
		_, err := t.introspector.endpoint.begin(ctx).wait(ctx)
		return err
	}
	_, err := t.keys.begin(ctx).wait(ctx)
	return err
}

// known reports whether what it takes is there.
func (t *trusted) known() bool {
	if t.introspector != nil {
		return t.introspector.endpoint.current.Load() != nil
	}
	return t.keys.current.Load() != nil
}

// fetched is when what it takes was last fetched; zero if it never was.
func (t *trusted) fetched() time.Time {
	if t.introspector != nil {
		return t.introspector.endpoint.fetched()
	}
	return t.keys.fetched()
}

// believedFor is how long what was said of a bearer counts.
func (t *trusted) believedFor() time.Duration {
	if t.introspector != nil {
		return t.Introspection.Cache
	}
	return maxVerifiedLife
}

// mayKnow reports whether the issuer, which is one that is asked, is to be asked
// about a bearer: what is nothing like a JWT may be its own, and a JWT that says
// so. About anybody else's it is told nothing.
func (t *trusted) mayKnow(text string) bool {
	return !resemblesJOSE(text) || claimedIssuer(text) == t.URL
}

// judge says whether what the claims say of the bearer itself will do.
func (t *trusted) judge(b *token, now time.Time) error {
	switch {
	case !anyOf(t.Audiences, b.audiences):
		return invalid(ReasonAudience)
	case !b.expiresAt.IsZero() && !now.Before(b.expiresAt.Add(t.ClockSkew)):
		return invalid(ReasonExpired)
	case now.Add(t.ClockSkew).Before(b.notBefore), now.Add(t.ClockSkew).Before(b.issuedAt):
		return invalid(ReasonNotYetValid)
	}
	return nil
}

func (t *trusted) verifySignature(ctx context.Context, b *token) error {
	keys, err := t.keys.find(ctx, b.keyID, b.algorithm, t.latest(b))
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

// latest is when a bearer was issued at the latest, by our clock, or zero if it
// does not say.
func (t *trusted) latest(b *token) time.Time {
	if b.issuedAt.IsZero() {
		return b.issuedAt
	}
	return b.issuedAt.Add(t.ClockSkew)
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
		UserClaim: t.UserClaim,
		Claims:    b.claims,
		ExpiresAt: b.expiresAt,
	}, nil
}

// isTrue accepts the string too, which some providers put for email_verified
// although OpenID Connect Core section 5.1 says boolean.
func isTrue(claim any) bool { return claim == true || claim == "true" }
