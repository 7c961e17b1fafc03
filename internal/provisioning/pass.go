package provisioning

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A pass is one reconciliation.
type pass struct {
	*Reconciler
	o      Options
	began  time.Time
	run    int64
	epoch  uint64 // in which all of its answers must be
	report *Report

	strangers int // orphans of which the books know nothing
}

// reconcile looks at all pages before it changes anything: only then can it tell
// whether the books and the account belong together.
func (p *pass) reconcile(ctx context.Context) error {
	if err := p.pages(ctx, p.count); err != nil {
		return err
	}
	counts, err := p.cfg.Store.Counts(ctx)
	if err != nil {
		return err
	}
	unseen, err := p.countUnseen(ctx)
	if err != nil {
		return err
	}
	p.report.Doubt = p.doubt(int(counts.Credentials), unseen)
	if p.report.Doubt != nil && p.o.Apply && !p.o.Force {
		p.report.Gone = unseen
		return p.report.Doubt
	}
	if err := p.findGone(ctx); err != nil || !p.o.Apply {
		return err
	}
	return p.apply(ctx)
}

// doubt is what speaks against applying it, or nil. Of the books at least one record
// must be in the account, or nothing says that it is theirs; and empty ones that know
// of no orphan may have been lost.
func (p *pass) doubt(recorded, unseen int) error {
	none := unseen > 0 && p.report.Recorded == 0 // of the books is in this account
	switch {
	case none, unseen > few && unseen > recorded/10:
		return fmt.Errorf("%d of %d records are not at Telnyx: %w", unseen, recorded, ErrTooManyGone)
	case p.strangers > 0 && recorded == 0, p.report.Orphans > few && p.report.Orphans > recorded/10:
		return fmt.Errorf("%d orphans at Telnyx, and %d records: %w", p.report.Orphans, recorded, ErrTooManyOrphans)
	}
	return nil
}

func (p *pass) apply(ctx context.Context) error {
	if p.report.Orphans+p.report.Expired > 0 {
		if err := p.pages(ctx, p.mend); err != nil {
			return err
		}
	}
	left, err := p.cfg.Remover.Work(ctx)
	p.report.Left = left
	return err
}

// A view is a page of the account, and what of it needs looking at.
type view struct {
	credentials []telnyx.Credential
	recorded    int
	young       int // orphans that may be about to be written down
	expired     []telnyx.Credential
	orphans     []telnyx.Credential
	intents     map[string]store.Intent // by the name of an orphan
}

// pages goes through the whole account. It asks for no connection and no name: what
// somebody has assigned by hand may have any.
func (p *pass) pages(ctx context.Context, look func(ctx context.Context, v view) error) error {
	done := 0
	for number := 1; ; number++ {
		page, err := p.page(ctx, number)
		if err == nil && p.report.Pages == 0 && p.sameKey() != nil {
			p.epoch = p.cfg.Telnyx.Epoch() // nothing has been concluded yet
			page, err = p.page(ctx, number)
		}
		if err == nil {
			err = p.sameKey()
		}
		if err != nil {
			return err
		}
		v, err := p.view(ctx, page.Credentials)
		if err != nil {
			return err
		}
		if err := look(ctx, v); err != nil {
			return err
		}
		done += len(page.Credentials)
		p.o.Progress(done, max(done, page.TotalResults))
		if page.Last() {
			return nil
		}
	}
}

func (p *pass) page(ctx context.Context, number int) (page telnyx.Page, err error) {
	err = p.pace.call(ctx, func(ctx context.Context) (err error) {
		page, err = p.cfg.Telnyx.Credentials(ctx, telnyx.Query{Page: number, Size: telnyx.MaxPageSize})
		return err
	})
	return page, err
}

// sameKey returns ErrKeyChanged if not all answers so far are by one API key.
func (p *pass) sameKey() error {
	if p.cfg.Telnyx.Epoch() != p.epoch {
		return ErrKeyChanged
	}
	return nil
}

// view finds out what the books know of the credentials.
func (p *pass) view(ctx context.Context, there []telnyx.Credential) (view, error) {
	ids := make([]telnyx.CredentialID, len(there))
	for i, c := range there {
		ids[i] = c.ID
	}
	known, err := p.cfg.Store.See(ctx, p.run, ids)
	if err != nil {
		return view{}, err
	}
	v := view{credentials: there}
	for _, c := range there {
		switch known[c.ID] {
		case store.KnownRecorded:
			v.recorded++
			if c.Expired {
				v.expired = append(v.expired, c)
			}
		case store.KnownAbsent:
			switch {
			case !p.isOurs(c):
			case p.isYoung(c):
				v.young++
			default:
				v.orphans = append(v.orphans, c)
			}
		case store.KnownDeleting, store.KnownKept:
		}
	}
	return v, p.setAside(ctx, &v)
}

// isOurs reports whether we have made a credential.
func (p *pass) isOurs(c telnyx.Credential) bool {
	return p.cfg.Instance != "" && isOurs(p.cfg.Instance, c.Name)
}

// isYoung reports whether a credential may still be about to be written down. One
// whose age Telnyx does not tell may be.
func (p *pass) isYoung(c telnyx.Credential) bool {
	return c.CreatedAt.IsZero() || p.began.Sub(c.CreatedAt) <= p.cfg.Grace
}

// setAside drops the orphans that somebody is at.
func (p *pass) setAside(ctx context.Context, v *view) error {
	if len(v.orphans) == 0 {
		return nil
	}
	names := make([]string, len(v.orphans))
	for i, c := range v.orphans {
		names[i] = c.Name
	}
	intents, err := p.cfg.Store.Intents(ctx, names)
	if err != nil {
		return err
	}
	var orphans []telnyx.Credential
	for _, c := range v.orphans {
		if !intents[c.Name].Held {
			orphans = append(orphans, c)
		}
	}
	v.young += len(v.orphans) - len(orphans)
	v.orphans, v.intents = orphans, intents
	return nil
}

// count adds a page to the report.
func (p *pass) count(ctx context.Context, v view) error {
	p.report.Pages++
	p.report.AtTelnyx += len(v.credentials)
	p.report.Recorded += v.recorded
	p.report.Orphans += len(v.orphans)
	p.report.Young += v.young
	p.report.Expired += len(v.expired)
	for _, c := range v.orphans {
		if v.intents[c.Name].Name == "" {
			p.strangers++
		}
		p.report.find(Finding{Kind: Orphan, Credential: c.ID, Name: c.Name, CreatedAt: c.CreatedAt})
	}
	for _, c := range v.expired {
		recorded, err := p.cfg.Store.Credential(ctx, c.ID)
		if err := ifThere(err); err != nil {
			return err
		}
		p.report.find(Finding{Expired, c.ID, c.Name, recorded.User, recorded.Device, recorded.CreatedAt})
	}
	return nil
}

// mend does what is to be done about a page.
func (p *pass) mend(ctx context.Context, v view) error {
	for _, c := range v.expired {
		err := p.retired(p.cfg.Store.Retire(ctx, p.cfg.By, c.ID, detailExpired, false))
		if err := p.queued(err); err != nil {
			return err
		}
	}
	for _, c := range v.orphans {
		if err := p.settle(ctx, c, v.intents[c.Name]); err != nil {
			return err
		}
	}
	return nil
}

// settle gives an orphan to whom it was made for, if that is known, and they are in
// the books and have no other. Else it is deleted.
func (p *pass) settle(ctx context.Context, c telnyx.Credential, i store.Intent) error {
	if i.Name == "" || c.Expired || c.ResourceID != "connection:"+p.cfg.ConnectionID {
		return p.queued(p.cfg.Store.QueueDeletion(ctx, p.cfg.By, c.ID, "an orphan"))
	}
	m := made(c, time.Time{})
	m.Adopted = true
	given, err := p.cfg.Store.Record(ctx, p.cfg.By, i, m, store.Limits{MaxDevices: p.cfg.MaxDevices})
	switch {
	case errors.Is(err, directory.ErrDisabled), errors.Is(err, directory.ErrNoCredential):
		return p.queued(nil) // the books have put it on the list
	case err == nil && given.ID == c.ID:
		return p.adopted(ctx, c.ID)
	}
	return p.queued(err)
}

// adopted counts an adoption, unless somebody has deleted the credential since the
// page was read.
func (p *pass) adopted(ctx context.Context, id telnyx.CredentialID) error {
	gone, err := p.isGone(ctx, id)
	if gone {
		return p.retireGone(ctx, id)
	}
	p.report.Adopted++
	return err
}

// retired counts a credential that was taken out of the books, unless somebody has
// done so meanwhile.
func (p *pass) retired(err error) error {
	if err == nil {
		p.report.Retired++
	}
	return err
}

// queued counts a deletion, unless somebody else has done something about the
// credential meanwhile.
func (p *pass) queued(err error) error {
	if errors.Is(err, store.ErrTaken) || errors.Is(err, store.ErrDeleting) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		p.report.Queued++
	}
	return err
}
