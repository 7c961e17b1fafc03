// Package shared is what replicas share, in a Redis that may be away: login tokens,
// sealed; the right to mint one; how many calls were made of Telnyx; rates.
//
// Redis is not trusted with a token, and never waited for: what cannot be had from
// it soon is not there, and the caller goes on as if it were alone.
package shared

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Why an entry that is there is not used: what Config.OnRefused is told.
const (
	Unreadable = "unreadable" // not an entry of ours: of another version, cut short, too large
	Foreign    = "foreign"    // none of our keys opens it, for this credential and this Telnyx
	Malformed  = "malformed"  // it opens, and there is no login token in it
	Expired    = "expired"    // its token has expired
	Future     = "future"     // it says that its token was minted later than now
)

// KeyBytes is how long a sealing key is.
const KeyBytes = 32

const (
	defaultTimeout = 100 * time.Millisecond
	maxTimeout     = 5 * time.Second
)

// Config is what a Redis needs.
type Config struct {
	// URL is as ParseURL returns it. Required.
	URL string
	// Password is asked for at every connection. Default none.
	Password func() (secret.Text, error)
	// Keys seal tokens: each has KeyBytes bytes, the first seals and all open. Asked
	// for at every use, so they may change. Default nil: no tokens are shared, and
	// nobody claims the right to mint.
	Keys func() []secret.Text
	// Realm is what the entries are for, Telnyx's base URL: part of every name and
	// of every seal, so that two Telnyxes do not mix. Required.
	Realm string
	// Timeout bounds one operation. Default 100 ms, at most 5 s.
	Timeout time.Duration
	// OnRefused is told of every entry that was there and was not used, by one of
	// the constants above. It must neither block nor panic. Default none.
	OnRefused func(reason string)
	// OnState is told when Redis comes (nil) and goes (why), and, with up and an
	// error, that it answers but refuses to do something: once a minute at most for
	// each reason. It must neither block nor panic. Default none.
	OnState func(up bool, err error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A Redis is what replicas share.
type Redis struct {
	to        target
	password  func() (secret.Text, error)
	keys      func() []secret.Text
	realm     string
	realmName string // in names
	timeout   time.Duration
	onRefused func(string)
	onState   func(bool, error)
	now       func() time.Time

	scripts scripts
	link    atomic.Pointer[link] // nil while Redis is away
	lost    lost
	refused refusals

	close  sync.Once
	closed chan struct{}
}

// Open checks the configuration. Nobody is connected to: that is Run's, and until
// then Redis is away.
func Open(cfg Config) (*Redis, error) {
	_, to, err := parse(cfg.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("shared: URL %w", err)
	case cfg.Realm == "":
		return nil, errors.New("shared: Realm is required")
	case cfg.Timeout < 0 || cfg.Timeout > maxTimeout:
		return nil, fmt.Errorf("shared: Timeout must be positive and at most %v", maxTimeout)
	case cfg.Keys != nil && !goodKeys(cfg.Keys()):
		return nil, fmt.Errorf("shared: Keys must be one or more of exactly %d bytes", KeyBytes)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.OnRefused == nil {
		cfg.OnRefused = func(string) {}
	}
	if cfg.OnState == nil {
		cfg.OnState = func(bool, error) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	sum := sha256.Sum256([]byte(cfg.Realm))
	return &Redis{
		to: to, password: cfg.Password, keys: cfg.Keys, realm: cfg.Realm, realmName: hex.EncodeToString(sum[:8]),
		timeout: cfg.Timeout, onRefused: cfg.OnRefused, onState: cfg.OnState, now: cfg.Now,
		scripts: newScripts(), closed: make(chan struct{}),
	}, nil
}

// Close ends Run, if it has not ended, and with it the connection.
func (r *Redis) Close() { r.close.Do(func() { close(r.closed) }) }

// Up reports whether Redis answers, as far as is known.
func (r *Redis) Up() bool { return r.link.Load() != nil }

// name is an entry's. The braces keep those of one thing together where a proxy
// spreads entries over several servers by their names.
func (r *Redis) name(kind, of string) string {
	return "tokensvc:" + kind + ":" + r.realmName + ":{" + of + "}"
}

// scripts are what Redis does in one go. It knows a script by its hash after the
// first time.
type scripts struct {
	put, forget, claim, renew, release, calls, allow *rueidis.Lua
}

func newScripts() scripts {
	return scripts{
		put: rueidis.NewLuaScript(putScript), forget: rueidis.NewLuaScript(forgetScript),
		claim: rueidis.NewLuaScript(claimScript), renew: rueidis.NewLuaScript(renewScript), release: rueidis.NewLuaScript(releaseScript),
		calls: rueidis.NewLuaScript(callsScript), allow: rueidis.NewLuaScript(allowScript),
	}
}

// run has Redis execute a script and returns the number that it answers.
func (r *Redis) run(ctx context.Context, script *rueidis.Lua, names []string, args ...string) (int64, error) {
	answer, err := r.ask(ctx, func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return script.Exec(ctx, c, names, args)
	})
	if err != nil {
		return 0, err
	}
	n, err := answer.AsInt64()
	if err != nil {
		return 0, errAnswer
	}
	return n, nil
}
