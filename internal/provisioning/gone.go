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
// that moves from one to another while they are read can be missed. What there is
// counts as seen, so that what is unseen afterwards is gone. When nothing is
// applied, no more are asked for than are told.
func (p *pass) findGone(ctx context.Context) error {
	return p.unseen(ctx, func(ctx context.Context, c store.Credential) error {
		if p.report.Truncated && !p.o.Apply {
			p.report.Gone++
			return nil
		}
		err := p.pace.call(ctx, func(ctx context.Context) error {
			_, err := p.cfg.Telnyx.Credential(ctx, c.ID)
			return err
		})
		switch {
		case isGone(err):
			p.report.Gone++
			p.report.find(Finding{Kind: Gone, Credential: c.ID, User: c.User, Device: c.Device, CreatedAt: c.CreatedAt})
			return nil
		case err != nil:
			return err
		}
		_, err = p.cfg.Store.See(ctx, p.run, []telnyx.CredentialID{c.ID})
		return err
	})
}

func (p *pass) retireGone(ctx context.Context) error {
	if p.report.Gone == 0 {
		return nil
	}
	return p.unseen(ctx, func(ctx context.Context, c store.Credential) error {
		return ifThere(p.cfg.Store.Retire(ctx, p.cfg.By, c.ID, detailGone, true))
	})
}
