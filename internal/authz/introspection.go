package authz

import (
	"cmp"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Bounds of how long an issuer's answer about a token is believed.
const (
	DefaultIntrospectionCache = 30 * time.Second
	MaxIntrospectionCache     = maxVerifiedLife
)

// Introspection is how an issuer is asked about its tokens (RFC 7662), which
// then need not be JWTs. We authenticate with exactly one of ClientSecret and
// PrivateKey.
type Introspection struct {
	// ClientID is the name under which the issuer knows this service. Required.
	ClientID string
	// ClientSecret returns the secret as it is now, for client_secret_basic. It
	// is called for every question.
	ClientSecret func() secret.Text
	// PrivateKey returns the key as it is now, for private_key_jwt: PKCS #8 in
	// PEM, or a JWK, whose kid and alg are then used. See CheckPrivateKey. It is
	// called for every question.
	PrivateKey func() secret.Text
	// Endpoint is the URL that is asked. https, or http on a loopback address.
	// Default: the introspection_endpoint of the issuer's discovery document.
	Endpoint string
	// Cache is how long an answer is believed, and so how long a token may still
	// be used after it was revoked. Default 30 s, at most 5 min. A negative value
	// means that the issuer is asked every time.
	Cache time.Duration
}

func (n *Introspection) problems(report reporter) {
	if n.ClientID == "" {
		report("introspection.client_id", "is required for introspection")
	}
	switch {
	case (n.ClientSecret == nil) == (n.PrivateKey == nil):
		report("introspection.client_secret_file", "or introspection.private_key_file is required, and not both")
	case n.ClientSecret != nil && n.ClientSecret().Empty():
		report("introspection.client_secret_file", "is empty")
	case n.PrivateKey != nil:
		if err := CheckPrivateKey(n.PrivateKey()); err != nil {
			report("introspection.private_key_file", "%v", err)
		}
	}
	if n.Endpoint != "" {
		if err := CheckURL(n.Endpoint); err != nil {
			report("introspection.endpoint", "%v", err)
		}
	}
	if n.Cache > MaxIntrospectionCache {
		report("introspection.cache", "must be at most %v", MaxIntrospectionCache)
	}
}

func (n *Introspection) withDefaults() *Introspection {
	if n == nil {
		return nil
	}
	full := *n
	full.Cache = max(cmp.Or(full.Cache, DefaultIntrospectionCache), 0)
	return &full
}
