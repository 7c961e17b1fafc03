// Package store keeps the books: users, the telephony credentials that are
// theirs, what still has to be deleted at Telnyx, and who changed what. The books
// are in SQLite, for one process, or in PostgreSQL, for any number of replicas.
//
// It decides nothing but what keeps the books true: a credential is one person's,
// a disabled user has none, and whatever is taken from somebody is either kept by
// order or on the list of what to delete. Changes are made one after the other,
// and each is an event with a number. No SIP password is ever in the books.
package store

import (
	"errors"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// What a Store may answer besides what was asked for. Whatever is wrong with the
// database itself is directory.ErrUnavailable.
var (
	// ErrNotFound says that there is no such user, device or credential.
	ErrNotFound = errors.New("not in the directory")
	// ErrTaken says that the credential is another user's, or another device's, or
	// to a login that it is kept by order.
	ErrTaken = errors.New("this credential is somebody else's already")
	// ErrDeleting says that the credential is about to be deleted at Telnyx.
	ErrDeleting = errors.New("this credential is being deleted at Telnyx")
	// ErrChanged says that the user is not, or no longer, as the caller takes it
	// to be.
	ErrChanged = errors.New("the user has been changed meanwhile")
	// ErrHeld says that another holds the lease, or creates this credential.
	ErrHeld = errors.New("another is at it")
	// ErrNewerSchema says that the database belongs to a newer version of this
	// service, which this one would damage.
	ErrNewerSchema = errors.New("the database has a newer schema than this version knows")
	// ErrOlderSchema says that `tokensvc migrate` has not been run.
	ErrOlderSchema = errors.New("the database has an older schema: run tokensvc migrate")
)

// Bounds.
const (
	// MaxPage is the most that one call lists.
	MaxPage = 1000
	// MaxBatch is the most rows of one Import.Add.
	MaxBatch = 5000
)

// Config is what a Store needs.
type Config struct {
	// SQLite is the path of the database file, and Postgres the URL of the
	// database, without a password. Exactly one of them is set.
	SQLite   string
	Postgres string
	// Password is asked for whenever a connection to PostgreSQL is made. Default
	// none.
	Password func() (secret.Text, error)
	// Connections bounds how many are open to PostgreSQL, besides one that Follow
	// listens on. A quarter is for changes, and as many, but two at most, for lists;
	// of fewer than four all are for anything. Default 16.
	Connections int
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// A User is a person in the books.
type User struct {
	Key         string // "<issuer>:<value>"
	Name        string // for people to read, may be empty
	CreatedAt   time.Time
	DisabledAt  time.Time // zero if not disabled
	Version     int64     // of the user and its credentials; grows with every change
	Credentials []Credential
}

// A Credential is a telephony credential and whose it is.
type Credential struct {
	ID          telnyx.CredentialID
	User        string
	Device      directory.Device
	SIPUsername string    // may be empty
	Provisioned bool      // we created it, so we may delete it when it is replaced
	CreatedAt   time.Time // in the books
	UsableAt    time.Time // from when Telnyx gives tokens for it; zero for always
	ExpiresAt   time.Time // zero for never
	VendedAt    time.Time // when a token of it was last handed out, known some ten seconds later; zero for never
}

// By says who makes a change.
type By struct {
	Actor     string // "login", "admin main:alice", "cli root", …
	RequestID string // may be empty
}

// An Action is what an event says was done.
type Action string

// The actions.
const (
	UserCreated        Action = "user_created"
	UserChanged        Action = "user_changed"
	UserDisabled       Action = "user_disabled"
	UserEnabled        Action = "user_enabled"
	UserRemoved        Action = "user_removed"
	CredentialCreated  Action = "credential_created"  // by us, at Telnyx
	CredentialAdopted  Action = "credential_adopted"  // was at Telnyx, under our name
	CredentialAssigned Action = "credential_assigned" // by somebody who knew its id
	CredentialRenewed  Action = "credential_renewed"  // expires later
	CredentialReleased Action = "credential_released" // is nobody's any more
	CredentialDeleted  Action = "credential_deleted"  // at Telnyx
)

// An Event is a change that was made.
type Event struct {
	Number     int64 // from 1, without gaps, in the order of the changes
	At         time.Time
	By         By
	Action     Action
	User       string              // may be empty
	Device     directory.Device    // may be empty
	Credential telnyx.CredentialID // may be zero
	Detail     string              // may be empty; words of ours
}

// A Match is a condition on the user that is to be changed. The zero value is
// none; otherwise one field is set.
type Match struct {
	Version int64 // it has this version
	Exists  bool  // it is there, whatever its version
	Absent  bool  // it is not there
}
