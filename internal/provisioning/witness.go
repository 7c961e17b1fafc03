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

const (
	// witnesses is of how many recorded credentials one must be at Telnyx.
	witnesses = 3
	// believed is for how long it is then taken to be the right account. The API key
	// may be replaced meanwhile.
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
	Credential(ctx context.Context, id telnyx.CredentialID) (telnyx.Credential, error)
}

// A witness tells whether the API key is of the account in which the recorded
// credentials are: in any other every credential is gone.
type witness struct {
	books  recorded
	telnyx getter
	now    func() time.Time

	mu    sync.Mutex
	until time.Time // it is believed
}

// believe returns nil if what Telnyx does not know is gone: it knows others that are
// recorded, or none is. The error is ErrOtherAccount, or says why it cannot be told.
func (w *witness) believe(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now().Before(w.until) {
		return nil
	}
	some, _, err := w.books.Credentials(ctx, telnyx.CredentialID{}, witnesses)
	if err == nil {
		err = w.ask(ctx, some)
	}
	if err == nil {
		w.until = w.now().Add(believed)
	}
	return err
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
