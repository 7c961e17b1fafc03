package provisioning

import (
	"context"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// youth is for how long, after it should be usable, a new credential that Telnyx
	// does not accept is taken to be only too new: it says "about five seconds".
	youth = 30 * time.Second
	// retryYoung is when to try again with one.
	retryYoung = 2 * time.Second
	// maxYoung bounds how many are remembered. Of more, some count as old.
	maxYoung = 50_000
)

// young remembers which credentials were handed out that may still be too new for
// Telnyx, and until when.
type young struct {
	now  func() time.Time
	kept *otter.Cache[telnyx.CredentialID, time.Time]
}

func newYoung(now func() time.Time) (young, error) {
	kept, err := otter.New(&otter.Options[telnyx.CredentialID, time.Time]{
		MaximumSize:      maxYoung,
		ExpiryCalculator: otter.ExpiryWriting[telnyx.CredentialID, time.Time](youth),
	})
	return young{now, kept}, err
}

// note remembers a credential that is about to be handed out, if it is young. Its
// time may be by another replica's clock.
func (y young) note(c store.Credential) {
	now := y.now()
	until := c.UsableAt.Add(youth)
	if c.UsableAt.IsZero() || !until.After(now) {
		return
	}
	if latest := now.Add(youth); until.After(latest) {
		until = latest
	}
	y.kept.Set(c.ID, until)
}

func (y young) has(id telnyx.CredentialID) bool {
	until, ok := y.kept.GetIfPresent(id)
	return ok && y.now().Before(until)
}

// minter makes login tokens.
type minter interface {
	Mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error)
}

// A Minter makes login tokens of the credentials that a Finder has handed out.
type Minter struct {
	young  young
	telnyx minter
}

// Minter returns a Minter that has telnyx make the tokens.
func (f *Finder) Minter(telnyx minter) *Minter { return &Minter{f.young, telnyx} }

// Mint makes a token. Errors are Telnyx's, or a *directory.NotReadyError for a
// credential that it does not accept and that is not older than 30 s: nothing is
// wrong with it but its age.
func (m *Minter) Mint(ctx context.Context, id telnyx.CredentialID) (telnyx.LoginToken, error) {
	minted, err := m.telnyx.Mint(ctx, id)
	if errors.Is(err, telnyx.ErrCredentialRejected) && m.young.has(id) {
		return telnyx.LoginToken{}, &directory.NotReadyError{RetryAfter: retryYoung}
	}
	return minted, err
}
