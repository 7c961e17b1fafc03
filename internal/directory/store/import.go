package store

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// An ImportMode says what becomes of an import's rows.
type ImportMode int

// The modes.
const (
	ImportEach   ImportMode = iota // written as it is added: what is right is kept, whatever else is wrong
	ImportAtomic                   // all is written at the End, or nothing; nobody else changes the books meanwhile
	ImportDryRun                   // nothing is written, and nobody held up
)

// MaxRows bounds an import.
const MaxRows = 10_000_000

// A Row is a user, or a user and what one of its devices has.
type Row struct {
	Line        int    // of the file, to be shown
	User        string // the key
	Name        string
	NameSet     bool  // otherwise a user that is there keeps its name
	Disabled    *bool // nil leaves it as it is
	Device      directory.Device
	Credential  telnyx.CredentialID // zero: the row is about the user alone
	SIPUsername string              // may be empty: not known
}

// Did is what became of a row.
type Did string

// What may become of a row.
const (
	RowCreated   Did = "created"   // the user is new, or the device had no credential
	RowUpdated   Did = "updated"   // something else was changed
	RowUnchanged Did = "unchanged" // all was so already
)

// A Verdict is what became of a row, or why it was refused: ErrInvalid, ErrTaken,
// ErrDeleting or directory.ErrDisabled. A row is taken whole or not at all.
type Verdict struct {
	Line int
	Did  Did // "" with an Err
	Err  error
}

// Problem is why the row was refused, in a sentence for whoever wrote it.
func (v Verdict) Problem() string {
	if wrong, ok := errors.AsType[*invalidError](v.Err); ok {
		return wrong.problem
	}
	return v.Err.Error()
}

// An Import puts many users into the books. It is for one goroutine.
//
// In one import no user and device may come twice, and no credential. What is
// remembered for that are eight bytes of a hash, so of ten million rows one may be
// refused wrongly, with a chance of one in a million.
type Import struct {
	store *Store
	by    By
	mode  ImportMode

	rows        int
	seed        maphash.Seed
	devices     map[uint64]int // the line of a user and device
	credentials map[uint64]int // the line of a credential

	written time.Time // of ImportEach: when the last change was over
	whole   *change   // of ImportAtomic
	pause   pause     // of ImportAtomic
	pretend *pretence // of ImportDryRun
	refused bool      // a row was
	over    error     // no more is taken
}

var errEnded = errors.New("store: the import has ended")

// BeginImport begins an import, which must be ended. An ImportAtomic lives no
// longer than ctx, and is over if for a minute it is given no rows.
func (s *Store) BeginImport(ctx context.Context, by By, mode ImportMode) (*Import, error) {
	i := &Import{
		store: s, by: by, mode: mode, seed: maphash.MakeSeed(),
		devices: make(map[uint64]int), credentials: make(map[uint64]int),
	}
	switch mode {
	case ImportEach:
		s.prepareImport(ctx)
	case ImportAtomic:
		s.prepareImport(ctx)
		if err := i.beginWhole(ctx); err != nil {
			s.finishImport(ctx)
			return nil, unavailable(err)
		}
	case ImportDryRun:
		i.pretend = newPretence(i.seed)
	default:
		return nil, invalid("no mode of an import")
	}
	return i, nil
}

// End ends the import; a second End does nothing. An ImportAtomic is written with
// commit, and else forgotten, as it is when a row was refused, which with commit
// is an ErrInvalid. The other error is directory.ErrUnavailable.
func (i *Import) End(ctx context.Context, commit bool) error {
	if errors.Is(i.over, errEnded) {
		return nil
	}
	broken := i.over
	i.over = errEnded
	if i.pretend != nil {
		return nil
	}
	defer i.store.finishImport(ctx)
	if i.whole == nil {
		return nil
	}
	paused := i.pause.end()
	defer i.pause.over()
	whole := i.whole
	defer whole.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	switch {
	case !commit:
		return nil
	case broken != nil:
		return broken
	case paused != nil:
		return paused
	case i.refused:
		return invalid("of an import that is written whole, rows were refused")
	}
	whole.ctx = ctx
	return unavailable(whole.commit())
}
