package vending

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// shelf is where replicas leave tokens for one another. None of its calls takes long
// or fails: what cannot be had is not there, and while the shelf itself is not,
// everybody may mint.
type shelf interface {
	// Take returns the credential's token and since when it is one.
	Take(ctx context.Context, id telnyx.CredentialID) (t telnyx.LoginToken, since time.Time, ok bool)
	// Claim asks to be the only one to mint for the credential, until it is released.
	Claim(ctx context.Context, id telnyx.CredentialID) (release func(), ok bool)
	// Put leaves a token that was asked for at since.
	Put(ctx context.Context, id telnyx.CredentialID, t telnyx.LoginToken, since time.Time)
	// Forget removes the token, and whichever is being minted.
	Forget(ctx context.Context, id telnyx.CredentialID)
}

const (
	// sharedWait bounds how long another replica's mint is waited for. Whoever has
	// waited longer mints too: two tokens do no harm.
	sharedWait = 10 * time.Second
	// askEvery is the time between two looks at the shelf, at first and at most.
	askEvery, askEveryAtMost = 10 * time.Millisecond, 160 * time.Millisecond
)

// local is the token that is kept here, or nil.
func (m *Machine) local(id telnyx.CredentialID) *kept {
	if m.kept == nil {
		return nil
	}
	held, _ := m.kept.GetIfPresent(id)
	return held
}

// landed is local for a flight, which looks for a caller who has looked: it is not
// counted once more.
func (m *Machine) landed(id telnyx.CredentialID) *kept {
	if m.kept == nil {
		return nil
	}
	held, _ := m.kept.GetEntryQuietly(id)
	return held.Value
}

// recall returns the credential's token, kept here or left by another replica, and
// where it was; or nil.
func (m *Machine) recall(ctx context.Context, id telnyx.CredentialID) (*kept, Source) {
	if held := m.local(id); held != nil || m.shelf == nil {
		return held, Cached
	}
	return m.take(ctx, id, nil), Shared
}

// take takes the credential's token off the shelf, to keep it here too, if it is
// newer than the one that is held; or returns nil.
func (m *Machine) take(ctx context.Context, id telnyx.CredentialID, held *kept) *kept {
	t, since, ok := m.shelf.Take(ctx, id)
	if !ok || held != nil && !since.After(held.since) {
		return nil
	}
	return m.keep(id, t, since)
}

// offShelf brings a token that another replica has minted meanwhile, or mints one
// while all others wait for it.
func (m *Machine) offShelf(ctx context.Context, id telnyx.CredentialID, held *kept, why reason) (Vended, error) {
	deadline := time.Now().Add(sharedWait)
	for every := askEvery; ; every = min(2*every, askEveryAtMost) {
		release, mine := m.shelf.Claim(ctx, id)
		if mine {
			defer release()
		}
		// Whoever had the claim before may have left a token.
		if another := m.take(ctx, id, held); m.fresh(another) {
			return Vended{LoginToken: another.LoginToken, Source: Shared}, nil
		}
		if mine || time.Now().After(deadline) {
			return m.mint(ctx, id, why)
		}
		if why == ahead { // somebody sees to it
			return Vended{}, errBeingMinted
		}
		<-time.After(every/2 + rand.N(every)) //nolint:gosec // spreads load, guards nothing
	}
}
