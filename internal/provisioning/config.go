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

// Defaults and bounds of a Config.
const (
	DefaultReadyAfter = 5 * time.Second
	DefaultMaxWaiting = 512
	// DefaultReplaceUnusedFor lets a user have no more credentials made in ten minutes
	// than one may have.
	DefaultReplaceUnusedFor = 10 * time.Minute
	MaxReadyAfter           = time.Minute
	// MinExpiresAfter is the shortest life of a credential: a fifth of it is what
	// there is for renewing it, through any outage of Telnyx.
	MinExpiresAfter = time.Hour
)

// books is what a Finder needs of the books.
type books interface {
	Lookup(ctx context.Context, user string, device directory.Device) (store.Found, error)
	User(ctx context.Context, key string) (store.User, error)
	Begin(ctx context.Context, i store.Intent, l store.Limits, hold time.Duration) (store.Credential, error)
	Record(ctx context.Context, by store.By, i store.Intent, m store.Made, l store.Limits) (store.Credential, error)
	Abandon(ctx context.Context, i store.Intent, uncertain bool) error
	QueueDeletion(ctx context.Context, by store.By, id telnyx.CredentialID, detail string) error
	Retire(ctx context.Context, by store.By, id telnyx.CredentialID, detail string, gone bool) error
}

// maker makes credentials at Telnyx, and finds them by their name.
type maker interface {
	Credentials(ctx context.Context, q telnyx.Query) (telnyx.Page, error)
	Credential(ctx context.Context, id telnyx.CredentialID) (telnyx.Credential, error)
	CreateCredential(ctx context.Context, n telnyx.NewCredential) (telnyx.Credential, error)
}

// Config is what a Finder needs.
type Config struct {
	// Store is the books. Required.
	Store books
	// Shared makes all of a user's devices one, the default device. Otherwise each
	// has a credential of its own.
	Shared bool

	// Telnyx makes credentials. Without it nothing is provisioned: who has no
	// credential in the books has none. All that follows is about provisioning.
	Telnyx maker
	// CallTimeout is how long a call of Telnyx takes at most. Default
	// telnyx.DefaultTimeout.
	CallTimeout time.Duration
	// ConnectionID is the Credential Connection at Telnyx that new credentials
	// belong to. Required.
	ConnectionID string
	// Instance tells the credentials of this service from those of another in the
	// same account. Required; see CheckInstance. Changing it gives everybody new
	// credentials; sharing it lets two services delete each other's.
	Instance string
	// Holder names this process among all that share the books. Required.
	Holder string
	// MaxDevices is how many devices of a user have a credential. 0 is any number.
	MaxDevices int
	// Replace takes the credential of the longest unused device when there would
	// be too many. Otherwise the new device is refused.
	Replace bool
	// ReplaceUnusedFor is for how long that device must have been without a token, and
	// its credential must have existed. Default 10 min; negative is none.
	ReplaceUnusedFor time.Duration
	// Everyone provisions for users who are in no books, too, and puts them there.
	Everyone bool
	// Wait makes callers wait until their new credential can be used, if their
	// time suffices. Otherwise they are told to come back.
	Wait bool
	// ReadyAfter is how long Telnyx needs until a new credential can be used.
	// Default 5 s, at most MaxReadyAfter; negative is none.
	ReadyAfter time.Duration
	// ExpiresAfter is the life of new credentials, at least MinExpiresAfter. Default
	// none: it is left to Telnyx.
	ExpiresAfter time.Duration
	// MaxWaiting bounds how many callers wait at once, and, apart from it, how many
	// credentials are being made. Default 512.
	MaxWaiting int

	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnCreate is told of every credential that was made or adopted, or could not
	// be. It must neither block nor panic. Default none.
	OnCreate func(took time.Duration, adopted bool, err error)
}

func (cfg Config) withDefaults() Config {
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = telnyx.DefaultTimeout
	}
	switch {
	case cfg.ReadyAfter == 0:
		cfg.ReadyAfter = DefaultReadyAfter
	case cfg.ReadyAfter < 0:
		cfg.ReadyAfter = 0
	}
	switch {
	case cfg.ReplaceUnusedFor == 0:
		cfg.ReplaceUnusedFor = DefaultReplaceUnusedFor
	case cfg.ReplaceUnusedFor < 0:
		cfg.ReplaceUnusedFor = 0
	}
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = DefaultMaxWaiting
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnCreate == nil {
		cfg.OnCreate = func(time.Duration, bool, error) {}
	}
	return cfg
}

func (cfg Config) check() error {
	switch {
	case cfg.Store == nil:
		return errors.New("Store is required")
	case cfg.MaxWaiting < 0:
		return errors.New("MaxWaiting must be positive")
	case cfg.ReadyAfter > MaxReadyAfter:
		return fmt.Errorf("ReadyAfter must be at most %v", MaxReadyAfter)
	case cfg.Telnyx == nil:
		return nil
	case cfg.CallTimeout < 0 || cfg.CallTimeout > telnyx.MaxTimeout:
		return fmt.Errorf("CallTimeout must be positive and at most %v", telnyx.MaxTimeout)
	case !telnyx.IsConnectionID(cfg.ConnectionID):
		return errors.New("ConnectionID must be letters, digits, - and _, at most 64")
	case CheckInstance(cfg.Instance) != nil:
		return fmt.Errorf("Instance: %w", CheckInstance(cfg.Instance))
	case cfg.Holder == "":
		return errors.New("Holder is required")
	case cfg.MaxDevices < 0:
		return errors.New("MaxDevices must not be negative")
	case cfg.ExpiresAfter != 0 && cfg.ExpiresAfter < MinExpiresAfter:
		return fmt.Errorf("ExpiresAfter must be at least %v", MinExpiresAfter)
	}
	return nil
}
