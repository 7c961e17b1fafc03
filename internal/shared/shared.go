// Package shared is what replicas share, in a Redis that may be away: login tokens,
// sealed; the right to mint one; how many calls were made of Telnyx; rates.
//
// Redis is not trusted with a token, and never waited for: what cannot be had from
// it soon is not there, and the caller goes on as if it were alone.
package shared

import (
	"context"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Why an entry that is there is not used: what Config.OnRefused is told.
const (
	Unreadable = "unreadable" // not an entry of ours: of another version, cut short, too large
	Foreign    = "foreign"    // none of our keys opens it, for this credential and this Telnyx
	Malformed  = "malformed"  // it opens, and there is no login token in it
	Expired    = "expired"    // its token has expired
	Future     = "future"     // it says that its token was minted later than now
)

// Config is what a Redis needs.
type Config struct {
	// URL is as ParseURL returns it. Required.
	URL string
	// Password is asked for at every connection. Default none.
	Password func() (secret.Text, error)
	// Keys seal tokens: each has exactly 32 bytes, the first seals and all open.
	// Asked at every use. Default nil: no tokens are shared.
	Keys func() []secret.Text
	// Realm is what the entries are for, Telnyx's base URL: part of every name, so
	// that two Telnyxes do not mix. Required.
	Realm string
	// Timeout bounds one operation. Default 100 ms.
	Timeout time.Duration
	// OnRefused is told of every entry that was there and was not used, by one of
	// the constants above. It must neither block nor panic. Default none.
	OnRefused func(reason string)
	// OnState is told when Redis comes and goes, and why. It must neither block nor
	// panic. Default none.
	OnState func(up bool, err error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A Redis is what replicas share.
type Redis struct {
	cfg Config
}

// Open checks the configuration. Nobody is connected to: that is Run's.
func Open(cfg Config) (*Redis, error) { return &Redis{cfg: cfg}, nil }

// Run connects, and connects again, until the context ends.
func (r *Redis) Run(ctx context.Context) { <-ctx.Done() }

// Close closes the connections. Run should have ended.
func (r *Redis) Close() {}

// Up reports whether Redis answers, as far as is known.
func (r *Redis) Up() bool { return false }

// Take returns the token that is shared for the credential, and when its mint began.
func (r *Redis) Take(ctx context.Context, id telnyx.CredentialID) (token telnyx.LoginToken, since time.Time, ok bool) {
	return telnyx.LoginToken{}, time.Time{}, false
}

// Claim asks for the right to mint a token for the credential. Not ok means that
// another replica has it. While Redis is away everybody is granted it. release is
// never nil.
func (r *Redis) Claim(ctx context.Context, id telnyx.CredentialID) (release func(), ok bool) {
	return func() {}, true
}

// Put shares a token whose mint began at since.
func (r *Redis) Put(ctx context.Context, id telnyx.CredentialID, token telnyx.LoginToken, since time.Time) {
}

// Forget takes the credential's token away, and keeps a token out whose mint began
// before.
func (r *Redis) Forget(ctx context.Context, id telnyx.CredentialID) {}

// Calls counts calls of one name, for all replicas.
type Calls struct{}

// Calls returns the counter of that name.
func (r *Redis) Calls(name string) *Calls { return &Calls{} }

// Take counts one call if fewer than most were counted in the last span, or else
// says when there will be room. Not ok means that it cannot be told now.
func (c *Calls) Take(ctx context.Context, most int, span time.Duration) (wait time.Duration, ok bool) {
	return 0, false
}

// Allow counts one request of that key's, of which perMinute are allowed in the long
// run and burst at once, and says how long it would have to wait: zero if it is
// allowed. Not ok means that it cannot be told now.
func (r *Redis) Allow(ctx context.Context, kind, key string, perMinute, burst int) (wait time.Duration, ok bool) {
	return 0, false
}

// ParseURL reads redis://[user[:password]@]host[:port][/db], or rediss:// for TLS,
// and returns it without the password. Its error repeats nothing of the URL.
func ParseURL(text string) (url string, password secret.Text, err error) {
	return text, secret.Text{}, nil
}
