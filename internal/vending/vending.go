// Package vending hands out login tokens with enough life left: one it has kept,
// or a newly minted one. However many callers ask for one credential at once,
// Telnyx is asked once. It knows credentials, and nothing of users.
package vending

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Defaults and bounds.
const (
	DefaultMinLife   = 0.5
	DefaultMaxTokens = 200_000

	// staleLife is what a kept token must have left to be handed out when
	// Telnyx does not give a new one: time enough to log in and be told to come
	// back.
	staleLife = 5 * time.Minute
)

// Source says where a token came from.
type Source string

// The sources of a token.
const (
	Minted Source = "mint"  // Telnyx made it just now
	Cached Source = "cache" // kept, with enough life left
	Stale  Source = "stale" // kept, short of life, because Telnyx gives no new one
)

// minter makes login tokens. A call must end by itself within a bounded time.
type minter interface {
	Mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error)
}

// Config is what a Machine needs.
type Config struct {
	// Minter asks Telnyx. Required.
	Minter minter
	// MinLife is the share of its life, between 0 and 1 exclusively, that a kept
	// token must have left to be handed out. Default 0.5.
	MinLife float64
	// MaxTokens bounds how many tokens are kept. Default 200,000.
	MaxTokens int
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnMint is told of every mint: how long it took and how it ended. It must
	// neither block nor panic. Default none.
	OnMint func(took time.Duration, err error)
}

// A Machine vends tokens. What it keeps lives and dies with it, so a changed
// configuration, which is a new Machine, hands out nothing of an older one.
type Machine struct {
	minter  minter
	minLife float64
	now     func() time.Time
	onMint  func(time.Duration, error)
	kept    *otter.Cache[telnyx.CredentialID, token]
	flights singleflight.Group
}

// token is a login token and when we got it.
type token struct {
	telnyx.LoginToken
	since time.Time
}

// New returns an empty Machine, or says what is wrong with the configuration.
func New(cfg Config) (*Machine, error) {
	if cfg.MinLife == 0 {
		cfg.MinLife = DefaultMinLife
	}
	if cfg.MaxTokens == 0 {
		cfg.MaxTokens = DefaultMaxTokens
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnMint == nil {
		cfg.OnMint = func(time.Duration, error) {}
	}
	switch {
	case cfg.Minter == nil:
		return nil, errors.New("vending: Minter is required")
	case cfg.MinLife < 0 || cfg.MinLife >= 1:
		return nil, errors.New("vending: MinLife must lie between 0 and 1")
	case cfg.MaxTokens < 0:
		return nil, errors.New("vending: MaxTokens must be positive")
	}
	m := &Machine{minter: cfg.Minter, minLife: cfg.MinLife, now: cfg.Now, onMint: cfg.OnMint}
	var err error
	m.kept, err = otter.New(&otter.Options[telnyx.CredentialID, token]{
		MaximumSize: cfg.MaxTokens,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[telnyx.CredentialID, token]) time.Duration {
			return max(e.Value.ExpiresAt.Sub(m.now()), 0)
		}),
	})
	if err != nil {
		return nil, fmt.Errorf("vending: cache of tokens: %w", err)
	}
	return m, nil
}

// Close ends the Machine's background work.
func (m *Machine) Close() { m.kept.StopAllGoroutines() }

// Vend returns a token for the credential, and where it came from. Errors are
// those of the Minter, or a PanicError; a caller that has gone gets its
// context's error, and one whose time is up gets telnyx.ErrTimeout.
//
// A mint goes on when the caller that caused it leaves, because others may wait
// for it too, and its token is kept for the next.
func (m *Machine) Vend(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, Source, error) {
	held, ok := m.kept.GetIfPresent(id)
	if ok && m.fresh(held) {
		return held.LoginToken, Cached, nil
	}
	minted, err := m.mintOnce(ctx, id)
	if err == nil {
		return minted, Minted, nil
	}
	if ok && m.usable(held, err) {
		return held.LoginToken, Stale, nil
	}
	return telnyx.LoginToken{}, "", err
}

// fresh reports whether enough of a kept token's life is left.
func (m *Machine) fresh(t token) bool {
	life := t.ExpiresAt.Sub(t.since)
	return t.ExpiresAt.Sub(m.now()) >= time.Duration(m.minLife*float64(life))
}

// usable reports whether a kept token may stand in for the one that could not be
// minted: yes whatever is wrong with Telnyx, the line or our key; no if Telnyx
// refuses the credential itself, or the caller has gone.
func (m *Machine) usable(t token, err error) bool {
	if errors.Is(err, telnyx.ErrCredentialRejected) || errors.Is(err, context.Canceled) {
		return false
	}
	return t.ExpiresAt.Sub(m.now()) >= staleLife
}

func (m *Machine) mintOnce(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error) {
	flight := m.flights.DoChan(id.String(), func() (any, error) {
		// A flight that landed since the caller looked has left its token.
		if held, ok := m.kept.GetIfPresent(id); ok && m.fresh(held) {
			return held.LoginToken, nil
		}
		return m.mint(context.WithoutCancel(ctx), id)
	})
	select {
	case landed := <-flight:
		minted, _ := landed.Val.(telnyx.LoginToken)
		return minted, landed.Err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return telnyx.LoginToken{}, fmt.Errorf("%w: %w", telnyx.ErrTimeout, ctx.Err())
		}
		return telnyx.LoginToken{}, ctx.Err()
	}
}

func (m *Machine) mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error) {
	began := m.now()
	minted, err := m.ask(ctx, id)
	m.onMint(m.now().Sub(began), err)
	if errors.Is(err, telnyx.ErrCredentialRejected) {
		m.kept.Invalidate(id)
	}
	if err != nil {
		return telnyx.LoginToken{}, err
	}
	m.kept.Set(id, token{minted, began})
	return minted, nil
}

// ask asks Telnyx. A panic ends here: beyond is a goroutine of the library's,
// in which it would end the process.
func (m *Machine) ask(ctx context.Context, id telnyx.CredentialID) (minted telnyx.LoginToken, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = panicked(cause)
		}
	}()
	minted, err = m.minter.Mint(ctx, id)
	if err == nil && !minted.ExpiresAt.After(m.now()) {
		err = fmt.Errorf("%w: the token has expired already", telnyx.ErrBadAnswer)
	}
	return minted, err
}
