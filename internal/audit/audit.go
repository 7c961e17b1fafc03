// Package audit writes down what was decided: a line of JSON for every token that was
// handed over or refused, and for every change that somebody made. The lines of a run are
// numbered without gaps, so that one that is missing shows. It trusts nothing of what it
// is given to be short or harmless, and imports nothing of ours.
package audit

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds on what waits while nothing can be written.
const (
	// MaxWaiting is how many records wait at most. What comes beyond is lost, and that it
	// is, and how much, is written down as soon as something can be.
	MaxWaiting      = 4096
	maxWaitingBytes = 16 << 20
	// ForChanges is how many of the places are for changes alone: these are made though
	// they cannot be recorded, and strangers can have any number of tokens refused.
	ForChanges      = 512
	forChangesBytes = 2 << 20

	// tendEvery is how often what waits is tried again, and the file looked for that may
	// have been put in the place of ours.
	tendEvery = time.Second
	// patience is how long a write may take before nobody waits for it any longer.
	patience = 2 * time.Second
	// maxWrite is what goes into one write, as soon as it is more.
	maxWrite = 64 << 10
)

// ErrUnavailable says that a record could not be written.
var ErrUnavailable = errors.New("the decision cannot be recorded")

// errStuck is why a Trail is in trouble whose sink takes a write and does not end it.
var errStuck = errors.New("a write does not come to its end")

// Config is what a Trail needs.
type Config struct {
	// Path is the file that is written to, which is made if there is none; or Out is what
	// else is. Exactly one is set.
	Path string
	Out  io.Writer
	// GrantUnrecorded has Grant succeed when nothing can be written: the record waits, and may be
	// lost. Default false.
	GrantUnrecorded bool
	// Version is told at the beginning of the run.
	Version string
	// Trouble is told why nothing can be written, and nil when it can again. Default none.
	Trouble func(error)
	// Now is the clock of the records. Default time.Now.
	Now func() time.Time
}

// A Trail is a run's records.
type Trail struct {
	vend    bool
	version string
	now     func() time.Time
	trouble func(error)

	mu        sync.Mutex
	next      *batch // that takes records
	current   *batch // that is being written, or nil
	leading   bool   // somebody writes, or is about to
	leader    func() // lead, made once
	entries   sync.Pool
	began     time.Time
	stuck     bool // and has been at it for too long
	closed    bool
	waiting   []*entry // that could not be written, the oldest first
	bytes     int      // of them
	lost      uint64   // that did not find a place there
	untold    uint64   // of the lost
	failure   error    // why the last write failed, or nil
	written   atomic.Uint64
	reopening atomic.Bool

	// What follows belongs to whoever leads.
	sink   sink
	prefix []byte // what every line of the run begins with, before its number
	number uint64 // of the last line
	all    []*entry
	lines  []byte
	spare  *batch

	telling sync.Mutex
	told    error
}

// Open opens the file for a new run. It writes nothing.
func Open(cfg Config) (*Trail, error) {
	if (cfg.Path == "") == (cfg.Out == nil) {
		return nil, errors.New("audit: either Path or Out is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Trouble == nil {
		cfg.Trouble = func(error) {}
	}
	t := &Trail{
		vend: cfg.GrantUnrecorded, version: cfg.Version, now: cfg.Now, trouble: cfg.Trouble,
		next: new(batch), spare: new(batch),
		prefix: []byte(`{"run":"` + rand.Text() + `","n":`),
	}
	t.leader = t.lead
	var err error
	if t.sink, err = openSink(cfg); err != nil {
		return nil, err
	}
	return t, nil
}

// Begin writes that the run has begun. An error is ErrUnavailable; then that waits.
func (t *Trail) Begin() error {
	err := make(chan error, 1)
	t.patiently(func() { err <- t.record(Record{What: Started, Version: t.version}, false) })
	select {
	case err := <-err:
		return err
	default:
		return ErrUnavailable
	}
}

// Grant writes a record of what is about to be granted, and returns when it is written.
// An error is ErrUnavailable: then it is not, nor will be, and nothing may be granted.
func (t *Trail) Grant(r Record) error {
	err := t.record(r, true)
	if t.vend {
		return nil
	}
	return err
}

// Note writes a record of what is over, or has it wait if that is not possible now.
func (t *Trail) Note(r Record) { _ = t.record(r, false) }

// record writes a record together with those that come at the same time.
func (t *Trail) record(r Record, grant bool) error {
	e := t.newEntry()
	r.At = t.now()
	e.tail, e.grant, e.change = r.appendTo(e.tail), grant, r.What == Admin
	if t.put(e) != kept {
		return ErrUnavailable // and the entry may be somebody else's now
	}
	t.recycle(e)
	return nil
}

// Close writes the last records, that the run is over, and what waits. The error says how
// many records remain unwritten, if any do.
func (t *Trail) Close(last ...Record) error {
	for _, r := range append(last, Record{What: Stopped}) {
		t.patiently(func() { t.Note(r) })
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	unwritten := uint64(len(t.waiting)) + t.untold
	if t.leading { // it does not come to its end
		if t.current != nil {
			unwritten += uint64(len(t.current.entries))
		}
		return &UnwrittenError{unwritten}
	}
	if unwritten > 0 {
		return errors.Join(&UnwrittenError{unwritten}, t.sink.close())
	}
	return t.sink.close()
}

// State is how a Trail is.
type State struct {
	Written uint64 // lines
	Waiting int    // records that could not be written yet
	Lost    uint64 // records that never will be
	Failure error  // why nothing can be written, or nil
}

// State returns how the Trail is now.
func (t *Trail) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return State{t.written.Load(), len(t.waiting), t.lost, t.failure}
}

// tell tells of trouble, and of its end, once.
func (t *Trail) tell(failure error) {
	t.telling.Lock()
	defer t.telling.Unlock()
	if (failure == nil) != (t.told == nil) {
		t.trouble(failure)
	}
	t.told = failure
}
