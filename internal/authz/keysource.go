package authz

import (
	"context"
	"fmt"
	"time"
)

// How long an issuer's keys are good for.
const (
	minKeyLife     = 5 * time.Minute
	defaultKeyLife = 15 * time.Minute // when the issuer does not say
	maxKeyLife     = 24 * time.Hour
)

// keySource holds one issuer's keys. A bad signature never causes a fetch, nor
// does anything else that has no hope of news.
type keySource struct {
	*kept[keySet]
}

func newKeySource(i Issuer, cfg Config) *keySource {
	p := newPublisher(i, cfg)
	return &keySource{newKept(cfg, i.Name, "keys", p.keys)}
}

// find returns the keys that may have made a signature, asking the issuer again
// if it is a key we have not seen.
func (s *keySource) find(ctx context.Context, kid, algorithm string) ([]any, error) {
	set, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	if keys := set.matching(kid, algorithm); len(keys) > 0 {
		return keys, nil
	}
	if kid == "" || len(set.byID[kid]) > 0 { // no news would help
		return nil, invalid(ReasonKey)
	}
	if err := s.refetch(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, err)
	}
	if keys := s.current.Load().matching(kid, algorithm); len(keys) > 0 {
		return keys, nil
	}
	return nil, invalid(ReasonKey)
}
