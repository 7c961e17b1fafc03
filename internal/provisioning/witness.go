package provisioning

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// ErrOtherAccount says that Telnyx knows none of the recorded credentials it was
// asked for, so what it does not know may well be in another account.
var ErrOtherAccount = errors.New("the recorded credentials are not in this account: is the API key that account's?")

// ErrKeyChanged says that Telnyx has answered by another API key meanwhile, which may
// be another account's: what was concluded from its answers is void.
var ErrKeyChanged = errors.New("another API key has come into use meanwhile")

const (
	// witnesses is of how many recorded credentials one must be at Telnyx.
	witnesses = 3
	// believed is for how long it is then taken to be the right account, if the API
	// key stays the same.
	believed = time.Minute
)

// isGone reports whether Telnyx says that it does not know the credential. A 404
// without a code of Telnyx's is of something before it, or of an address that is
// none of its.
func isGone(err error) bool {
	failed, ok := errors.AsType[*telnyx.Error](err)
	return ok && failed.Status == http.StatusNotFound && failed.Code != ""
}

// recorded is what the books have.
type recorded interface {
	Credentials(ctx context.Context, after telnyx.CredentialID, limit int) ([]store.Credential, telnyx.CredentialID, error)
}

// getter gets what is at Telnyx.
type getter interface {
	epochs
	Credential(ctx context.Context, id telnyx.CredentialID) (telnyx.Credential, error)
}

// epochs tells answers by one API key from those by another, which may be another
// account's.
type epochs interface {
	// Epoch is another whenever another key has answered.
	Epoch() uint64
}

// A witness tells whether the API key is of the account in which the recorded
// credentials are: in any other every credential is gone.
type witness struct {
	books  recorded
	telnyx getter
	now    func() time.Time

	mu    sync.Mutex
	until time.Time // it is believed
	epoch uint64    // of what it is believed
}

// believe returns nil if what Telnyx does not know is gone: it knows others that are
// recorded, or none is. since is the epoch before it was asked for what it does not
// know. The error is ErrOtherAccount, or says why it cannot be told, such as
// ErrKeyChanged.
func (w *witness) believe(ctx context.Context, since uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.epoch != since || !w.now().Before(w.until) {
		some, _, err := w.books.Credentials(ctx, telnyx.CredentialID{}, witnesses)
		if err == nil {
			err = w.ask(ctx, some)
		}
		if err != nil {
			return err
		}
		w.until, w.epoch = w.now().Add(believed), since
	}
	if w.telnyx.Epoch() != since {
		w.until = time.Time{}
		return ErrKeyChanged
	}
	return nil
}

// ask asks for them until one is there.
func (w *witness) ask(ctx context.Context, some []store.Credential) error {
	for _, c := range some {
		if _, err := w.telnyx.Credential(ctx, c.ID); !isGone(err) {
			return err
		}
	}
	if len(some) > 0 {
		return ErrOtherAccount
	}
	return nil
}
