package authz

import (
	"errors"
	"fmt"
	"time"
)

// A Mode says what an issuer's rules do.
type Mode string

// The modes. The zero value enforces.
const (
	ModeEnforce Mode = "enforce"
	// ModeObserve lets everybody in whose bearer verifies, and tells whom the
	// rules would have refused: to try rules on real callers before they count.
	ModeObserve Mode = "observe"
)

// ErrDenied says that a verified caller's claims do not meet a rule of its
// issuer.
var ErrDenied = errors.New("denied by a rule")

// A DeniedError is an ErrDenied that knows the rule.
type DeniedError struct{ Rule string }

func (e *DeniedError) Error() string { return ErrDenied.Error() + ": " + e.Rule }
func (e *DeniedError) Unwrap() error { return ErrDenied }

// A Policy is the rules of every issuer. It is pure and immutable, so that a
// changed configuration is a new Policy, and every request is judged by the
// Policy of its moment whether its bearer was verified before or not.
type Policy struct {
	issuers map[string]issuerRules
}

type issuerRules struct {
	rules   []rule
	observe bool
}

// NewPolicy takes the rules of the issuers, which must have no Problems.
func NewPolicy(issuers []Issuer) *Policy {
	p := &Policy{make(map[string]issuerRules, len(issuers))}
	for _, i := range issuers {
		of := issuerRules{observe: i.Mode == ModeObserve}
		skew := i.withDefaults().ClockSkew
		for _, r := range i.Require {
			of.rules = append(of.rules, r.rules(skew)...)
		}
		p.issuers[i.Name] = of
	}
	return p
}

// Judge returns nil if the principal may have a token now, and otherwise an
// error that is ErrDenied, a DeniedError of the first rule that is not met. Where the
// issuer's rules are only observed, the error is nil and observed is that name.
// A principal of an issuer that the policy does not know is denied.
//
// A rule's name says what the configuration says, shortened, and nothing of the
// claims: "groups: any_of [agents leads]", "auth_time: max_age 8h".
func (p *Policy) Judge(who *Principal, now time.Time) (observed string, err error) {
	of, known := p.issuers[who.Issuer]
	if !known {
		return "", fmt.Errorf("%w: the policy has no issuer %q", ErrDenied, who.Issuer)
	}
	for _, r := range of.rules {
		switch {
		case r.isMet(who.Claims, now):
		case of.observe:
			return r.name, nil
		default:
			return "", &DeniedError{r.name}
		}
	}
	return "", nil
}

// A Verdict is whether a principal meets a rule.
type Verdict struct {
	Rule string // the rule's name
	Met  bool
}

// Explain returns the verdict of every rule of the principal's issuer, in the
// order in which Judge applies them.
func (p *Policy) Explain(who *Principal, now time.Time) []Verdict {
	var all []Verdict
	for _, r := range p.issuers[who.Issuer].rules {
		all = append(all, Verdict{r.name, r.isMet(who.Claims, now)})
	}
	return all
}
