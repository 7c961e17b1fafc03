package provisioning

import (
	"context"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// unseen goes through what the books have and the account seems not to have.
func (p *pass) unseen(ctx context.Context, look func(ctx context.Context, c store.Credential) error) error {
	after := telnyx.CredentialID{}
	for {
		some, err := p.cfg.Store.Unseen(ctx, p.run, p.began, after, telnyx.MaxPageSize)
		if err != nil || len(some) == 0 {
			return err
		}
		for _, c := range some {
			if err := look(ctx, c); err != nil {
				return err
			}
			after = c.ID
		}
	}
}

func (p *pass) countUnseen(ctx context.Context) (n int, err error) {
	err = p.unseen(ctx, func(context.Context, store.Credential) error { n++; return nil })
	return n, err
}

// findGone asks Telnyx for each that was not seen: pages are no snapshot, and one
// that moves from one to another while they are read can be missed. So can one that a
// replica records meanwhile whose clock is behind, therefore nothing is taken out of
// the books that was not asked for. When nothing is applied, no more are asked for
// than are told.
func (p *pass) findGone(ctx context.Context) error {
	return p.unseen(ctx, func(ctx context.Context, c store.Credential) error {
		if p.report.Truncated && !p.o.Apply {
			p.report.Gone++
			return nil
		}
		gone, err := p.isGone(ctx, c.ID)
		if err != nil || !gone {
			return err
		}
		p.report.Gone++
		p.report.find(Finding{Kind: Gone, Credential: c.ID, User: c.User, Device: c.Device, CreatedAt: c.CreatedAt})
		return p.retireGone(ctx, c.ID)
	})
}

// isGone asks Telnyx.
func (p *pass) isGone(ctx context.Context, id telnyx.CredentialID) (bool, error) {
	err := p.pace.call(ctx, func(ctx context.Context) error {
		_, err := p.cfg.Telnyx.Credential(ctx, id)
		return err
	})
	if !isGone(err) {
		return false, err
	}
	if err := p.sameKey(); err != nil {
		return false, err
	}
	return true, nil
}

// retireGone takes out of the books what Telnyx has just said it does not know.
func (p *pass) retireGone(ctx context.Context, id telnyx.CredentialID) error {
	if !p.o.Apply {
		return nil
	}
	return ifThere(p.retired(p.cfg.Store.Retire(ctx, p.cfg.By, id, detailGone, true)))
}
