package vending

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// kept is a token, since when we have it, and what is known of its successor.
type kept struct {
	telnyx.LoginToken
	since   time.Time
	renewAt atomic.Int64 // when next to try to renew it ahead of need, in Unix nanoseconds
	noted   atomic.Pointer[trouble]
}

// trouble is why a mint gave no token, and until when that is not tried anew.
type trouble struct {
	err   error
	until time.Time
}

// keptOverhead is about what a token takes beside its text: its place in the
// cache, its times, the credential's id.
const keptOverhead = 512

// newKept returns a cache bounded in bytes, and in tokens by each of them counting
// for no less than its share of the bytes.
func newKept(cfg Config) (*otter.Cache[telnyx.CredentialID, *kept], error) {
	share := (cfg.MaxBytes + int64(cfg.MaxTokens) - 1) / int64(cfg.MaxTokens)
	return otter.New(&otter.Options[telnyx.CredentialID, *kept]{
		StatsRecorder: stats.NewCounter(),
		MaximumWeight: uint64(cfg.MaxBytes), //nolint:gosec // positive
		Weigher: func(_ telnyx.CredentialID, k *kept) uint32 {
			return uint32(max(int64(k.JWT.Len()+keptOverhead), share)) //nolint:gosec // neither is more than MaxMaxBytes
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[telnyx.CredentialID, *kept]) time.Duration {
			return max(e.Value.ExpiresAt.Sub(cfg.Now()), 0)
		}),
	})
}

// Stock is what a Machine keeps, and what has come of keeping it.
type Stock struct {
	Tokens int    // kept at this moment, or about so many
	Bytes  uint64 // that they take, as Config.MaxBytes counts them
	// Hits and Misses are callers for whose credential a token was kept, with however
	// much life left, or none.
	Hits, Misses uint64
	// Evicted are tokens that had to make room for others, not those that expired.
	Evicted uint64
}

// Stock says how it stands with what is kept.
func (m *Machine) Stock() Stock {
	if m.kept == nil {
		return Stock{}
	}
	m.kept.CleanUp() // counts what was kept a moment ago
	counted := m.kept.Stats()
	return Stock{
		Tokens: m.kept.EstimatedSize(), Bytes: m.kept.WeightedSize(),
		Hits: counted.Hits, Misses: counted.Misses, Evicted: counted.Evictions,
	}
}

// keep keeps a token that was asked for at began, unless it is one to forget, and
// returns what is kept, or nil.
func (m *Machine) keep(id telnyx.CredentialID, t telnyx.LoginToken, began time.Time) *kept {
	if m.kept == nil {
		return nil
	}
	k := &kept{LoginToken: t, since: began}
	k.renewAt.Store(k.until(aheadLife(m.minLife)).UnixNano())
	m.kept.Set(id, k)
	if at, forgotten := m.forgotten.GetIfPresent(id); forgotten && !at.Before(began) {
		m.kept.Invalidate(id)
		return nil
	}
	return k
}

// Forget drops the credential's token, if one is kept, and the one that is being
// minted at this moment: somebody has lost the credential. Whoever asks for it
// again gets a new token.
func (m *Machine) Forget(ctx context.Context, id telnyx.CredentialID) {
	if m.kept == nil {
		return
	}
	m.forgotten.Set(id, m.now()) // first: see keep, which looks last
	m.drop(ctx, id)
}

// drop drops the credential's token, here and on the shelf.
func (m *Machine) drop(ctx context.Context, id telnyx.CredentialID) {
	if m.kept == nil {
		return
	}
	m.kept.Invalidate(id)
	if m.shelf != nil {
		m.shelf.Forget(ctx, id)
	}
}

// newForgotten returns the cache of those whose mint may be under way: as long as
// any mint takes.
func newForgotten() (*otter.Cache[telnyx.CredentialID, time.Time], error) {
	return otter.New(&otter.Options[telnyx.CredentialID, time.Time]{
		MaximumSize:      maxForgotten,
		ExpiryCalculator: otter.ExpiryWriting[telnyx.CredentialID, time.Time](telnyx.MaxTimeout),
	})
}

const maxForgotten = 100_000

// aheadLife is the share of its life at which a token is renewed ahead of need:
// with half of it to be left, at 60 to 52.5 %. It is drawn anew for each, so that
// tokens minted together are not renewed together.
func aheadLife(minLife float64) float64 {
	return minLife + (1-minLife)*(0.05+0.15*rand.Float64()) //nolint:gosec // spreads load, guards nothing
}

// until is when only that share of the token's life is left.
func (k *kept) until(share float64) time.Time {
	life := k.ExpiresAt.Sub(k.since)
	return k.ExpiresAt.Add(-time.Duration(share * float64(life)))
}

// due reports whether to renew the token now. It says so to one caller, and to
// the next only after a pause.
func (k *kept) due(now time.Time) bool {
	at := k.renewAt.Load()
	return now.UnixNano() >= at && k.renewAt.CompareAndSwap(at, now.Add(aheadPause).UnixNano())
}

// note remembers for a short while why there is no successor, if there is a
// token to remember it with. Whoever has none always tries.
func (k *kept) note(err error, now time.Time) {
	if k != nil {
		k.noted.Store(&trouble{err, now.Add(pause)})
	}
}

// fresh reports whether there is a token with enough of its life left.
func (m *Machine) fresh(k *kept) bool {
	return k != nil && !m.now().After(k.until(m.minLife))
}

// lasts reports whether there is a token that may be handed out at need.
func (m *Machine) lasts(k *kept) bool {
	return k != nil && k.ExpiresAt.Sub(m.now()) >= staleLife
}

// usable reports whether there is a token that may stand in for the one that
// could not be minted: yes whatever is wrong with Telnyx, the line or our key; no
// if Telnyx refuses the credential itself, or the caller has gone.
func (m *Machine) usable(k *kept, err error) bool {
	if errors.Is(err, telnyx.ErrCredentialRejected) || errors.Is(err, context.Canceled) {
		return false
	}
	return m.lasts(k)
}

// trouble is why it would be no use to wait for a mint, or nil.
func (m *Machine) trouble(k *kept) error {
	if !m.lasts(k) {
		return nil
	}
	if t := k.noted.Load(); t != nil && m.now().Before(t.until) {
		return t.err
	}
	return nil
}
