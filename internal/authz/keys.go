package authz

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const (
	minRSABits = 2048
	// A bearer that names no key is tried against this many at most.
	maxUnnamedTries = 4
)

// keySet is what an issuer published at one moment. Immutable.
type keySet struct {
	byID map[string][]publicKey
	all  []publicKey
}

type publicKey struct {
	id         string   // its kid, or empty
	key        any      // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	algorithms []string // what this key may verify
}

// matching returns the keys that may have made a signature. A bearer without a
// kid is matched by algorithm alone.
func (s *keySet) matching(kid, algorithm string) []any {
	candidates := s.byID[kid]
	if kid == "" {
		candidates = s.all
	}
	var keys []any
	for _, k := range candidates {
		if slices.Contains(k.algorithms, algorithm) && len(keys) < maxUnnamedTries {
			keys = append(keys, k.key)
		}
	}
	return keys
}

// parseKeySet reads a JWK Set (RFC 7517 section 5), and like it passes over keys
// it cannot use: of other kinds, for other uses, private, symmetric or weak. A
// set without one usable key is an error.
func parseKeySet(body []byte) (*keySet, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, errors.New("is not a JWK set")
	}
	set := &keySet{byID: make(map[string][]publicKey)}
	for _, raw := range doc.Keys {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(raw); err != nil {
			continue
		}
		algorithms := usableFor(jwk)
		if len(algorithms) == 0 {
			continue
		}
		k := publicKey{jwk.KeyID, jwk.Key, algorithms}
		set.all = append(set.all, k)
		if jwk.KeyID != "" {
			set.byID[jwk.KeyID] = append(set.byID[jwk.KeyID], k)
		}
	}
	if len(set.all) == 0 {
		return nil, errors.New("has no usable signing key")
	}
	return set, nil
}

// document is the set as a JWK set, which parseKeySet would read as the same.
func (s *keySet) document() []byte {
	var set jose.JSONWebKeySet
	for _, k := range s.all {
		jwk := jose.JSONWebKey{Key: k.key, KeyID: k.id, Use: "sig"}
		if len(k.algorithms) == 1 {
			jwk.Algorithm = k.algorithms[0]
		}
		set.Keys = append(set.Keys, jwk)
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic(err) // they were read from JSON
	}
	return text
}

// usableFor returns the algorithms that a published key may verify, none if it
// must not be used. A key is tied to its kind of algorithm here, so that no
// header can make an RSA key check an HMAC.
func usableFor(jwk jose.JSONWebKey) []string {
	if jwk.Use != "" && jwk.Use != "sig" {
		return nil
	}
	fit := algorithmsOf(jwk.Key)
	if jwk.Algorithm == "" {
		return fit
	}
	if slices.Contains(fit, jwk.Algorithm) {
		return []string{jwk.Algorithm}
	}
	return nil
}

func algorithmsOf(key any) []string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSABits {
			return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}
		case 384:
			return []string{"ES384"}
		case 521:
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}
