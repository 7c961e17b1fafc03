package vending

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A reason is why a token is wanted.
type reason string

const (
	needed reason = "needed" // somebody waits
	ahead  reason = "ahead"  // nobody does: there is a good one
	forced reason = "forced" // somebody wants another one than there is
)

// fly joins the credential's flight, which brings one token for all who wait for
// it, or begins one. held is the token that is to be replaced, or nil. There is one
// for each reason: who waits must not join what comes after everybody who does, nor
// who wants a mint what may do without.
func (m *Machine) fly(ctx context.Context, id telnyx.CredentialID, held *kept, why reason) <-chan singleflight.Result {
	return m.flights.DoChan(id.String()+string(why), func() (any, error) {
		return m.land(context.WithoutCancel(ctx), id, held, why)
	})
}

// land is the flight. A panic ends here: beyond is a goroutine of the library's, in
// which it would end the process.
func (m *Machine) land(ctx context.Context, id telnyx.CredentialID, held *kept, why reason) (v Vended, err error) {
	defer crash.Into(&err)
	// A flight that landed since the caller looked has left another token.
	if now := m.landed(id); why != forced && now != held && m.fresh(now) {
		return Vended{LoginToken: now.LoginToken, Source: Cached}, nil
	}
	going, room := &m.minting, m.room
	if why == ahead {
		going, room = &m.ahead, max(m.room/4, 1)
	}
	v, err = m.withRoom(ctx, id, held, why, going, room)
	if err != nil && !errors.Is(err, errBeingMinted) {
		held.note(err, m.now())
	}
	return v, err
}

// withRoom brings the token if not too many are being brought.
func (m *Machine) withRoom(ctx context.Context, id telnyx.CredentialID, held *kept, why reason, going *atomic.Int64, room int64) (Vended, error) {
	defer going.Add(-1)
	if going.Add(1) > room {
		return Vended{}, ErrBusy
	}
	if m.shelf == nil || why == forced {
		return m.mint(ctx, id, why)
	}
	return m.offShelf(ctx, id, held, why)
}

func (m *Machine) mint(ctx context.Context, id telnyx.CredentialID, why reason) (Vended, error) {
	began := m.now()
	minted, err := m.ask(ctx, id, why)
	m.onMint(m.now().Sub(began), err)
	// A token that is still good stays: whoever needs another finds out by himself.
	if errors.Is(err, telnyx.ErrCredentialRejected) && why != ahead {
		m.drop(ctx, id)
	}
	if err != nil {
		return Vended{}, err
	}
	if m.keep(id, minted, began) != nil && m.shelf != nil {
		m.shelf.Put(ctx, id, minted, began)
	}
	return Vended{LoginToken: minted, Source: Minted}, nil
}

// ask asks Telnyx. A panic is counted as a mint like any other that fails.
func (m *Machine) ask(ctx context.Context, id telnyx.CredentialID, why reason) (minted telnyx.LoginToken, err error) {
	defer crash.Into(&err)
	from := m.minter
	if why == ahead {
		from = m.background
	}
	minted, err = from.Mint(ctx, id)
	if err == nil && !minted.ExpiresAt.After(m.now()) {
		err = fmt.Errorf("%w: the token has expired already", telnyx.ErrBadAnswer)
	}
	return minted, err
}
