package store

import (
	"context"
	"errors"
	"hash/maphash"
	"strconv"
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
	pretend *pretence // of ImportDryRun
	refused bool      // a row was
	over    error     // no more is taken
}

var errEnded = errors.New("store: the import has ended")

// BeginImport begins an import, which must be ended. An ImportAtomic lives no
// longer than ctx.
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
		var err error
		if i.whole, err = s.beginImport(ctx, by); err != nil {
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

// pauseTimeout is how long PostgreSQL waits for the next rows of an ImportAtomic,
// which holds up all who change the books.
const pauseTimeout = time.Minute

func (s *Store) beginImport(ctx context.Context, by By) (*change, error) {
	c, err := s.begin(ctx, by)
	if err != nil || s.postgres == nil {
		return c, err
	}
	err = c.exec(`SELECT set_config('idle_in_transaction_session_timeout', $1, true)`, strconv.FormatInt(pauseTimeout.Milliseconds(), 10))
	if err != nil {
		_ = c.Rollback()
		return nil, err
	}
	return c, nil
}

// Add takes up to MaxBatch rows and returns a verdict on each. With an error come
// the verdicts on those before the first that was not taken, of an ImportEach; of
// others none was. It is ErrInvalid, if they are too many, of which none is taken,
// or directory.ErrUnavailable, after which no more is taken.
func (i *Import) Add(ctx context.Context, rows []Row) ([]Verdict, error) {
	switch {
	case i.over != nil:
		return nil, i.over
	case len(rows) > MaxBatch || i.rows+len(rows) > MaxRows:
		return nil, invalid("at most %d rows at once, and %d in all", MaxBatch, MaxRows)
	}
	i.rows += len(rows)
	verdicts := make([]Verdict, len(rows))
	good := make([]int, 0, len(rows)) // indexes of the rows that go on
	for n, row := range rows {
		verdicts[n] = Verdict{Line: row.Line, Err: i.check(row)}
		if verdicts[n].Err == nil {
			good = append(good, n)
		}
	}
	decided, err := i.decide(ctx, rows, good, verdicts)
	if err != nil {
		i.over = err
		if i.mode != ImportEach {
			return nil, err
		}
		verdicts = verdicts[:good[decided]]
	}
	for _, v := range verdicts {
		i.refused = i.refused || v.Err != nil
	}
	return verdicts, err
}

// decide returns how many of the good rows have their verdict.
func (i *Import) decide(ctx context.Context, rows []Row, good []int, verdicts []Verdict) (decided int, err error) {
	for decided < len(good) && err == nil {
		n, left := 0, good[decided:]
		switch i.mode {
		case ImportEach:
			n, err = i.writeSome(ctx, rows, left, verdicts)
		case ImportAtomic:
			i.whole.ctx = ctx
			n, err = i.step(i.whole, rows, left, verdicts)
			err = unavailable(err)
		case ImportDryRun:
			n, err = i.pretendStep(ctx, rows, left, verdicts)
			err = unavailable(err)
		}
		decided += n
	}
	return decided, err
}

const (
	// stepRows is how many rows are read, decided and written at once.
	stepRows = 1000
	// holdUp is how long one change of an ImportEach takes more rows, and handOver
	// how much later the next one begins: who waits for the books gets them.
	holdUp   = 250 * time.Millisecond
	handOver = longestPause + 5*time.Millisecond
)

// writeSome writes as many of the good rows as there is time for, and returns how
// many these are. The more there are, the less is written twice: most of them are
// on the same pages as others.
func (i *Import) writeSome(ctx context.Context, rows []Row, good []int, verdicts []Verdict) (written int, err error) {
	i.handOver(ctx)
	err = i.store.change(ctx, i.by, func(c *change) error {
		for began := time.Now(); written == 0 || written < len(good) && time.Since(began) < holdUp; {
			n, err := i.step(c, rows, good[written:], verdicts)
			if err != nil {
				return err
			}
			written += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	i.written = time.Now()
	return written, nil
}

// handOver waits until whoever waited for the last change to be over has begun.
func (i *Import) handOver(ctx context.Context) {
	wait := time.NewTimer(time.Until(i.written.Add(handOver)))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// step decides and writes some of the good rows, and returns how many.
func (i *Import) step(c *change, rows []Row, good []int, verdicts []Verdict) (n int, err error) {
	good = good[:min(len(good), stepRows)]
	b, err := i.store.readBatch(c.ctx, c, rows, good)
	if err != nil {
		return 0, err
	}
	b.at, b.last = c.at, c.last
	b.decide(rows, good, verdicts)
	if err := c.write(b); err != nil {
		return 0, err
	}
	return len(good), nil
}

// pretendStep is step for a dry run.
func (i *Import) pretendStep(ctx context.Context, rows []Row, good []int, verdicts []Verdict) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	good = good[:min(len(good), stepRows)]
	b, err := i.store.readBatch(ctx, i.store.reads, rows, good)
	if err != nil {
		return 0, err
	}
	b.at = i.store.now().UnixMilli()
	i.pretend.before(b, rows, good)
	b.decide(rows, good, verdicts)
	i.pretend.after(b)
	return len(good), nil
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
	whole := i.whole
	defer whole.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	switch {
	case !commit:
		return nil
	case broken != nil:
		return broken
	case i.refused:
		return invalid("of an import that is written whole, rows were refused")
	}
	whole.ctx = ctx
	return unavailable(whole.commit())
}

// check says what is wrong with a row by itself, or beside those before it.
func (i *Import) check(r Row) error {
	if err := r.check(); err != nil {
		return err
	}
	device := maphash.Comparable(i.seed, [2]string{r.User, string(r.Device)})
	if line, twice := i.devices[device]; twice {
		return invalid("the same user and device as in line %d", line)
	}
	i.devices[device] = r.Line
	if r.Credential.IsZero() {
		return nil
	}
	id := maphash.Comparable(i.seed, r.Credential)
	if line, twice := i.credentials[id]; twice {
		return invalid("the same credential as in line %d", line)
	}
	i.credentials[id] = r.Line
	return nil
}

func (r Row) check() error {
	if err := checkKey(r.User); err != nil {
		return err
	}
	if err := checkName(r.Name); err != nil {
		return err
	}
	if r.Credential.IsZero() {
		return nil
	}
	if r.Disabled != nil && *r.Disabled {
		return invalid("a disabled user has no credential")
	}
	return Assignment{ID: r.Credential, SIPUsername: r.SIPUsername}.check(r.Device)
}
