package authz

import (
	"net/http"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Bounds of verification.
const (
	// MaxBearerBytes is the longest bearer looked at. A token with a thousand
	// groups still fits.
	MaxBearerBytes = 64 << 10

	defaultCacheBytes = 64 << 20
	defaultWaiting    = 128
)

// Config is what a Verifier needs.
type Config struct {
	// Issuers are the accepted issuers, at least one, none with Problems, no two
	// with the same name or URL, and one at most with Introspection for each
	// Source: an opaque token does not say which issuer is to be asked.
	Issuers []Issuer
	// Origins are the web origins whose pages a cookie may come from, exactly as
	// browsers send them.
	Origins []string
	// ProxyListener says that the trusted proxy has a listener of its own, and
	// is to be believed nowhere else.
	ProxyListener bool
	// PublicURL is the address that callers use, all of it before the Path of
	// their Evidence. Required if an issuer uses DPoP.
	PublicURL string
	// NonceKey makes DPoP proofs carry a nonce of ours. Replicas share it. It is
	// asked for every time. Default nil: no nonces.
	NonceKey func() secret.Text
	// Transport carries the requests to the issuers. Default: as
	// http.DefaultTransport, but with connections enough for introspection.
	Transport http.RoundTripper
	// Around is what requests to an issuer go through on their way to the Transport,
	// to be traced, say. Default nothing.
	Around func(issuer string, next http.RoundTripper) http.RoundTripper
	// CacheBytes bounds the memory of verified bearers, roughly. Default 64 MiB.
	CacheBytes uint64
	// Waiting bounds how many callers wait for any one issuer; more are told
	// ErrIssuerUnavailable at once. Whoever invents names of keys must not be
	// able to make everybody wait with them. Default 128.
	Waiting int
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnFetch is told of every attempt to fetch an issuer's keys, or the address
	// of its introspection endpoint, nil error for success. It must not block.
	// Default none.
	OnFetch func(issuer string, err error)
}

func (cfg Config) withDefaults() Config {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCacheBytes
	}
	if cfg.Waiting <= 0 {
		cfg.Waiting = defaultWaiting
	}
	return cfg
}

// to is the way to an issuer, which ends in a transport.
func (cfg Config) to(issuer Issuer, transport http.RoundTripper) http.RoundTripper {
	if transport == nil {
		transport = http.DefaultTransport
	}
	if cfg.Around == nil {
		return transport
	}
	return cfg.Around(issuer.Name, transport)
}

func (cfg Config) nonces() *nonces {
	if cfg.NonceKey == nil {
		return nil
	}
	return newNonces(cfg.NonceKey, cfg.Now)
}
