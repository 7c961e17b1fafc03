package authz

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Part is one of the things that are needed of an issuer.
type Part string

// The parts that Inspect looks at. Not every issuer needs each.
const (
	PartDiscovery     Part = "discovery"     // its discovery document
	PartKeys          Part = "keys"          // its keys, fetched or in a file
	PartIntrospection Part = "introspection" // whether it answers about tokens, and to us
)

// A Finding is how it stands with a part.
type Finding struct {
	Part   Part
	Detail string // what was found, without Err
	Err    error  // nil if it is as it must be
}

var (
	errNoKeyFits   = errors.New("key set: has no key for an accepted algorithm")
	errTooObliging = errors.New("it says that a token is active which nobody has issued")
)

// Inspect gets everything that is needed of an issuer, once and for no bearer, and
// says how that went: for whoever sets the issuer up. It stops at the first part
// that is not as it must be, without which the next cannot be looked at. A trusted
// proxy is not asked for anything. It takes an issuer without Problems.
func Inspect(ctx context.Context, i Issuer) []Finding {
	if i.Proxy != nil {
		return nil
	}
	i = i.withDefaults()
	x := &inspection{issuer: i, publisher: newPublisher(i, Config{})}
	for _, part := range x.parts() {
		detail, err := part.inspect(ctx)
		x.findings = append(x.findings, Finding{part.name, detail, err})
		if err != nil {
			break
		}
	}
	return x.findings
}

// inspection is an Inspect under way.
type inspection struct {
	issuer    Issuer
	publisher *publisher
	address   string // of the keys or of introspection, once it is known
	findings  []Finding
}

type inspectedPart struct {
	name    Part
	inspect func(context.Context) (detail string, err error)
}

func (x *inspection) parts() []inspectedPart {
	discovery := inspectedPart{PartDiscovery, x.discovery}
	keys := inspectedPart{PartKeys, x.keys}
	introspection := inspectedPart{PartIntrospection, x.introspection}
	switch i := x.issuer; {
	case i.Introspection != nil && i.Introspection.Endpoint != "":
		x.address = i.Introspection.Endpoint
		return []inspectedPart{introspection}
	case i.Introspection != nil:
		return []inspectedPart{discovery, introspection}
	case i.Keys == KeysFromDiscovery:
		return []inspectedPart{discovery, keys}
	}
	x.address = x.issuer.Keys
	return []inspectedPart{keys}
}

func (x *inspection) discovery(ctx context.Context) (string, error) {
	document, _, err := x.publisher.discover(ctx)
	if err != nil {
		return "", err
	}
	address := keysAddress
	if x.issuer.Introspection != nil {
		address = introspectionAddress
	}
	if x.address, err = address(x.issuer.URL, document); err != nil {
		return "", fmt.Errorf("discovery document: %w", err)
	}
	return "of " + x.issuer.URL, nil
}

// keys counts the keys that can verify a bearer which will then be accepted.
func (x *inspection) keys(ctx context.Context) (string, error) {
	set, err := x.keySet(ctx)
	if err != nil {
		return "", err
	}
	var algorithms []string
	usable := 0
	for _, k := range set.all {
		accepted := slices.DeleteFunc(slices.Clone(k.algorithms), func(a string) bool { return !contains(x.issuer.Algorithms, a) })
		if len(accepted) > 0 {
			usable++
		}
		algorithms = append(algorithms, accepted...)
	}
	if usable == 0 {
		return "", errNoKeyFits
	}
	slices.Sort(algorithms)
	return fmt.Sprintf("%d usable, for %s", usable, strings.Join(slices.Compact(algorithms), ", ")), nil
}

func (x *inspection) keySet(ctx context.Context) (*keySet, error) {
	if path := x.issuer.KeyFile(); path != "" {
		set, _, err := keysIn(path)
		return set, err
	}
	set, _, err := x.publisher.keysAt(x.address)(ctx)
	return set, err
}

// introspection asks about a token that nobody has issued.
func (x *inspection) introspection(ctx context.Context) (string, error) {
	s, err := newIntrospector(x.issuer, Config{}.withDefaults())
	if err != nil {
		return "", err
	}
	defer s.close()
	s.endpoint.current.Store(&x.address)
	_, err = s.ask(ctx, &s.ofOthers, rand.Text())
	var no *InvalidError
	switch {
	case err == nil:
		return "", errTooObliging
	case !errors.As(err, &no):
		return "", err
	case no.Reason != ReasonInactive:
		return "", errTooObliging
	}
	return "accepts our client credentials", nil
}
