package authz

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// ErrWhichIssuer says that an opaque bearer does not show which of several
// issuers is to be asked about it: that follows from where it is in a request.
var ErrWhichIssuer = errors.New("several issuers are asked about opaque tokens")

// An Explanation is what can be said of a bearer by itself, without the request
// that it is to be sent in. It says nothing about who holds the bearer, and so it
// is no Principal and does not have one: nobody is to be given anything for it.
type Explanation struct {
	// Issuer is the name of the issuer that the bearer says is its own, or, of an
	// opaque one, that is asked about it. Empty if it is none that is configured;
	// then Nearly may name one whose URL differs by no more than letters' case or
	// a slash at the end.
	Issuer, Nearly string
	// Source is where in a request that issuer's bearers have to be.
	Source Source
	// Err is why Verify would not accept the bearer even there and from its owner:
	// an *InvalidError, ErrIssuerUnavailable or ErrWhichIssuer. nil if it would.
	// Then, and only then, the rest is set.
	Err error
	// NeedsProof says that the bearer is bound to a key, so that a request needs
	// a DPoP proof beside it.
	NeedsProof bool

	User      string         // as in Principal
	UserClaim string         // as in Principal
	Claims    map[string]any // as in Principal: nobody changes them
	ExpiresAt time.Time      // as in Principal

	who *Principal
}

// Judge is what the policy's Judge says of the bearer's user, or why there is
// none.
func (e *Explanation) Judge(p *Policy, now time.Time) (observed string, err error) {
	if e.Err != nil {
		return "", e.Err
	}
	return p.Judge(e.who, now)
}

// Verdicts are those of the policy's Explain, none if there is no user.
func (e *Explanation) Verdicts(p *Policy, now time.Time) []Verdict {
	if e.Err != nil {
		return nil
	}
	return p.Explain(e.who, now)
}

// Explain tells an operator what Verify would make of a bearer, wherever it was
// found. It is for explanation and grants nothing: whether the bearer came from
// whom it belongs to, over the right way and with a proof, is what Verify looks
// at and this does not. What it finds is not remembered for anybody, and what
// Verify remembers is not looked up. Only in which queue a token waits that its
// issuer is asked about follows from whether it was good before, here or there.
//
// It needs no Run. What is needed of the bearer's issuer, and has never been
// had, is fetched; other issuers are not asked for anything, and are told nothing
// of the bearer.
func (v *Verifier) Explain(ctx context.Context, bearer secret.Text) Explanation {
	text := bearer.Reveal()
	if len(text) > MaxBearerBytes {
		return Explanation{Err: invalid(ReasonMalformed)}
	}
	issuer, nearly, err := v.claimed(text)
	switch {
	case err != nil:
		return Explanation{Err: err}
	case issuer == nil:
		_, _, err := v.check(ctx, sent{text: text}, v.now()) // which has no issuer for it
		return Explanation{Nearly: nearly, Err: err}
	}
	e := Explanation{Issuer: issuer.Name, Source: issuer.Source}
	who, needsProof, err := v.explained(ctx, issuer, text)
	if err != nil {
		e.Err = err
		return e
	}
	e.who, e.NeedsProof = who, needsProof
	e.User, e.UserClaim, e.Claims, e.ExpiresAt = who.User, who.UserClaim, who.Claims, who.ExpiresAt
	return e
}

// explained is what Verify does, but for the request: where the bearer is, and
// the proof beside it.
func (v *Verifier) explained(ctx context.Context, issuer *trusted, text string) (who *Principal, needsProof bool, err error) {
	t, err := v.readFetching(ctx, issuer, text)
	if err != nil {
		return nil, false, err
	}
	who, err = issuer.principal(t)
	if err != nil {
		return nil, false, err
	}
	b := bindingOf(t.claims)
	needsProof, err = b.proofNeeded(b.bound, issuer)
	return who, needsProof, err
}

// claimed returns the issuer whose bearer it says to be or, of what is no JWT, who
// is asked; or the name of one that is nearly it.
func (v *Verifier) claimed(text string) (issuer *trusted, nearly string, err error) {
	if resemblesJOSE(text) {
		named := claimedIssuer(text)
		return v.issuers[named], v.nearly(named), nil
	}
	if len(v.asked) > 1 {
		return nil, "", ErrWhichIssuer
	}
	for _, t := range v.asked {
		return t, "", nil
	}
	return nil, "", nil
}

// nearly returns the name of the issuer whose URL somebody has mistyped.
func (v *Verifier) nearly(named string) string {
	named = strings.TrimRight(named, "/")
	for url, t := range v.issuers {
		if strings.EqualFold(strings.TrimRight(url, "/"), named) {
			return t.Name
		}
	}
	return ""
}

// readFetching is read for a bearer at its place, before or after Run.
func (v *Verifier) readFetching(ctx context.Context, issuer *trusted, text string) (*token, error) {
	at := sent{source: issuer.Source, text: text}
	_, t, err := v.read(ctx, at, v.now())
	if issuer.known() || !errors.Is(err, ErrIssuerUnavailable) {
		return t, err
	}
	if err := issuer.fetch(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, err)
	}
	_, t, err = v.read(ctx, at, v.now())
	return t, err
}

// PublicKeys returns the named issuer's keys as a JWK set: those that can be used,
// and nothing else that the issuer publishes. nil if it has none or they have
// never been had.
func (v *Verifier) PublicKeys(issuer string) []byte {
	for _, t := range v.issuers {
		if t.Name == issuer && t.keys != nil && t.known() {
			return t.keys.current.Load().document()
		}
	}
	return nil
}
