// Package vending hands out login tokens with enough life left: one it has kept,
// or a newly minted one. However many callers ask for one credential at once,
// Telnyx is asked once. It knows credentials, and nothing of users.
package vending

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Defaults and bounds.
const (
	DefaultMinLife    = 0.5
	defaultMaxTokens  = 200_000
	defaultMaxWaiting = 512
	DefaultMaxBytes   = 256 << 20
	// MaxMaxBytes is more than anybody wants to keep.
	MaxMaxBytes = 1 << 31

	// staleLife is what a kept token must have left to be handed out when
	// Telnyx does not give a new one: time enough to log in and be told to come
	// back.
	staleLife = 5 * time.Minute
	// patience is how long a caller waits for a new token who could have such a
	// kept one at once. The mint goes on, for the next.
	patience = time.Second
	// pause is for how long nobody waits again who has such a token, after a
	// mint that failed or took too long.
	pause = 5 * time.Second
	// aheadPause is the time between two tries to renew a token that is still
	// good.
	aheadPause = 30 * time.Second
)

// ErrBusy says that too many wait for Telnyx already.
var ErrBusy = errors.New("too many wait for a token to be minted")

// errBeingMinted says that another replica mints what is not urgent.
var errBeingMinted = errors.New("another replica mints the successor")

// Source says where a token came from.
type Source string

// The sources of a token.
const (
	Minted Source = "mint"   // Telnyx made it just now
	Shared Source = "shared" // off the shelf, with enough life left
	Cached Source = "cache"  // kept, with enough life left
	Stale  Source = "stale"  // kept, short of life, because Telnyx gives no new one
)

// Ask is what a caller asks for besides a token.
type Ask struct {
	// Fresh is for a token that is minted now, not kept: one that Telnyx has just
	// refused, say. There is no falling back on another.
	Fresh bool
}

// Vended is a token that is handed out.
type Vended struct {
	telnyx.LoginToken
	Source Source
	// StaleBecause is why there is no new token when Source is Stale, and nil
	// otherwise.
	StaleBecause error
}

// minter makes login tokens. A call must end by itself within a bounded time.
type minter interface {
	Mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error)
}

// Config is what a Machine needs.
type Config struct {
	// Minter asks Telnyx. Required.
	Minter minter
	// Background asks Telnyx for what nobody waits for: the successor of a token
	// that is still good. Default Minter.
	Background minter
	// Shelf is where replicas leave tokens for one another. Default none.
	Shelf shelf
	// KeepNothing has every token minted for whoever asks, but for those who ask
	// at the same moment. It goes with no Shelf.
	KeepNothing bool
	// MinLife is the share of its life, between 0 and 1 exclusively, that a kept
	// token must have left to be handed out. Default 0.5.
	MinLife float64
	// MaxTokens bounds how many tokens are kept. Default 200,000.
	MaxTokens int
	// MaxBytes bounds about what all kept tokens take together, whatever their size:
	// one may have 16 KiB. Default 256 MiB, which is enough for the default MaxTokens
	// of the usual 600 bytes. At most MaxMaxBytes.
	MaxBytes int64
	// MaxWaiting bounds how many callers wait for Telnyx at once, and, apart from
	// it, how many mints go on for them. It should be less than how many requests are
	// served at once, so that there is room for those who need not wait. Default
	// 512.
	MaxWaiting int
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnMint is told of every mint: how long it took and how it ended. It must
	// neither block nor panic. Default none.
	OnMint func(took time.Duration, err error)
}

// A Machine vends tokens. What it keeps itself lives and dies with it, so a changed
// configuration, which is a new Machine, hands out nothing of an older one.
type Machine struct {
	minter     minter
	background minter
	shelf      shelf // nil if there is none
	minLife    float64
	now        func() time.Time
	onMint     func(time.Duration, error)
	kept       *otter.Cache[telnyx.CredentialID, *kept] // nil if nothing is kept
	flights    singleflight.Group

	room    int64 // for those who wait, and for mints; for renewals ahead of need a quarter
	waiting atomic.Int64
	minting atomic.Int64
	ahead   atomic.Int64

	forgotten *otter.Cache[telnyx.CredentialID, time.Time] // when
}

// New returns an empty Machine, or says what is wrong with the configuration.
func New(cfg Config) (*Machine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("vending: %w", err)
	}
	m := &Machine{
		minter: cfg.Minter, background: cfg.Background, shelf: cfg.Shelf,
		minLife: cfg.MinLife, now: cfg.Now, onMint: cfg.OnMint, room: int64(cfg.MaxWaiting),
	}
	if cfg.KeepNothing {
		return m, nil
	}
	var err error
	if m.kept, err = newKept(cfg); err != nil {
		return nil, fmt.Errorf("vending: cache of tokens: %w", err)
	}
	if m.forgotten, err = newForgotten(); err != nil {
		return nil, fmt.Errorf("vending: cache of what to forget: %w", err)
	}
	return m, nil
}

func (cfg Config) withDefaults() Config {
	if cfg.Background == nil {
		cfg.Background = cfg.Minter
	}
	if cfg.MinLife == 0 {
		cfg.MinLife = DefaultMinLife
	}
	if cfg.MaxTokens == 0 {
		cfg.MaxTokens = defaultMaxTokens
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = defaultMaxWaiting
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnMint == nil {
		cfg.OnMint = func(time.Duration, error) {}
	}
	return cfg
}

func (cfg Config) check() error {
	switch {
	case cfg.Minter == nil:
		return errors.New("Minter is required")
	case cfg.KeepNothing && cfg.Shelf != nil:
		return errors.New("a Shelf is no use to KeepNothing")
	case cfg.MinLife < 0 || cfg.MinLife >= 1:
		return errors.New("MinLife must lie between 0 and 1")
	case cfg.MaxTokens < 0:
		return errors.New("MaxTokens must be positive")
	case cfg.MaxBytes < 0 || cfg.MaxBytes > MaxMaxBytes:
		return fmt.Errorf("MaxBytes must be positive and at most %d", MaxMaxBytes)
	case cfg.MaxWaiting < 0:
		return errors.New("MaxWaiting must be positive")
	}
	return nil
}

// Close ends the Machine's background work.
func (m *Machine) Close() {
	if m.kept != nil {
		m.kept.StopAllGoroutines()
		m.forgotten.StopAllGoroutines()
	}
}

// Vend returns a token for the credential, and where it came from. Errors are
// those of the Minter, a *crash.Error or ErrBusy; a caller that has gone gets its
// context's error, and one whose time is up gets telnyx.ErrTimeout.
//
// A mint goes on when the caller that caused it leaves, because others may wait
// for it too, and its token is kept for the next.
func (m *Machine) Vend(ctx context.Context, id telnyx.CredentialID, ask Ask) (Vended, error) {
	if ask.Fresh {
		return m.wait(ctx, id, nil, forced)
	}
	held, source := m.recall(ctx, id) // nil if there is none
	if m.fresh(held) {
		m.renewAhead(ctx, id, held)
		return Vended{LoginToken: held.LoginToken, Source: source}, nil
	}
	vended, err := Vended{}, m.trouble(held)
	if err == nil {
		vended, err = m.wait(ctx, id, held, needed)
	}
	if err != nil && m.usable(held, err) {
		return Vended{LoginToken: held.LoginToken, Source: Stale, StaleBecause: err}, nil
	}
	return vended, err
}

// wait waits for a token: as long as the caller does, but no longer than patience
// if there is a kept one to fall back on.
func (m *Machine) wait(ctx context.Context, id telnyx.CredentialID, held *kept, why reason) (Vended, error) {
	defer m.waiting.Add(-1)
	if m.waiting.Add(1) > m.room {
		return Vended{}, ErrBusy
	}
	var enough <-chan time.Time
	if m.lasts(held) {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case landed := <-m.fly(ctx, id, held, why):
		vended, _ := landed.Val.(Vended)
		return vended, landed.Err
	case <-enough:
		err := fmt.Errorf("%w: not within %v, and there is a token to fall back on", telnyx.ErrTimeout, patience)
		held.note(err, m.now())
		return Vended{}, err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Vended{}, fmt.Errorf("%w: %w", telnyx.ErrTimeout, ctx.Err())
		}
		return Vended{}, ctx.Err()
	}
}

// renewAhead has a token's successor minted while it is still good, so that in
// normal times nobody waits for it.
func (m *Machine) renewAhead(ctx context.Context, id telnyx.CredentialID, held *kept) {
	if held.due(m.now()) {
		m.fly(ctx, id, held, ahead) // and what comes of it is kept, or noted
	}
}
