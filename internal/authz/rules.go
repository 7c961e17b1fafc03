package authz

import (
	"errors"
	"fmt"
	"strings"
)

// A Requirement is one rule over a caller's claims: the claim must be there and
// have one of the values.
type Requirement struct {
	// Claim is a claim's name, or a dotted path into nested claims
	// ("realm_access.roles"). A name that itself has dots, such as
	// "https://example.com/roles", is found as it stands: the longest literal
	// name wins over the path.
	Claim string
	// AnyOf are the accepted values, strings or booleans, at least one. A string
	// claim must equal one of them, a list must contain one, a boolean must
	// equal one; a string never equals a boolean. A claim of any other type
	// matches nothing.
	AnyOf []any
}

func (r Requirement) check() error {
	if r.Claim == "" {
		return errors.New("a claim's name is empty")
	}
	if len(r.AnyOf) == 0 {
		return fmt.Errorf("%q needs at least one value", r.Claim)
	}
	for _, v := range r.AnyOf {
		switch v.(type) {
		case string, bool:
		default:
			return fmt.Errorf("%q takes strings and booleans", r.Claim)
		}
	}
	return nil
}

func (r Requirement) holds(claims map[string]any) bool {
	value, ok := lookup(claims, r.Claim)
	if !ok {
		return false
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, got := range list {
		if r.accepts(got) {
			return true
		}
	}
	return false
}

func (r Requirement) accepts(got any) bool {
	switch got.(type) {
	case string, bool: // comparable: a map or list in the claim would panic below
	default:
		return false
	}
	for _, want := range r.AnyOf {
		if got == want {
			return true
		}
	}
	return false
}

// lookup finds a claim by name or dotted path, the longest literal name first.
func lookup(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	for end := strings.LastIndexByte(path, '.'); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		inner, ok := claims[path[:end]].(map[string]any)
		if !ok {
			continue
		}
		if v, ok := lookup(inner, path[end+1:]); ok {
			return v, true
		}
	}
	return nil, false
}

// ErrDenied says that a verified caller's claims do not meet a rule of its
// issuer.
var ErrDenied = errors.New("denied by a rule")

// A Policy is the rules of every issuer. It is pure and immutable, so that a
// changed configuration is a new Policy, and every request is judged by the
// Policy of its moment whether its bearer was verified before or not.
type Policy struct {
	require map[string][]Requirement
}

// NewPolicy takes the rules of the issuers, which must have no Problems.
func NewPolicy(issuers []Issuer) *Policy {
	p := &Policy{require: make(map[string][]Requirement, len(issuers))}
	for _, i := range issuers {
		p.require[i.Name] = i.Require
	}
	return p
}

// Judge returns nil if the principal may have a token, and otherwise an error
// that is ErrDenied and names the claim that the first unmet rule is about. A
// principal of an issuer that the policy does not know is denied.
func (p *Policy) Judge(who *Principal) error {
	require, known := p.require[who.Issuer]
	if !known {
		return fmt.Errorf("%w: the policy has no issuer %q", ErrDenied, who.Issuer)
	}
	for _, r := range require {
		if !r.holds(who.Claims) {
			return fmt.Errorf("%w: require %s", ErrDenied, r.Claim)
		}
	}
	return nil
}
