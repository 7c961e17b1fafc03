package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// A Reading is what is found in files of records.
type Reading struct {
	runs  map[string]*Run
	order []*Run
	// Torn is how many lines are no whole records.
	Torn int
}

// A Run is what is found of a run.
type Run struct {
	ID      string
	Began   string // the time in its first record, or "" without it
	Version string
	Stopped bool   // it has come to its end
	Records uint64 // each of which counts once
	Again   uint64 // that are there once more
	Lost    uint64 // that it says were lost

	spans []Span
}

// A Span is of records whose numbers follow on one another.
type Span struct{ First, Last uint64 }

// maxSpans bounds how scattered a run's records may be in what is read.
const maxSpans = 100_000

// ErrScattered says that a run's records are in such disorder that they are not kept
// track of.
var ErrScattered = errors.New("the records of a run are in no order")

// maxLine is more than any line has.
const maxLine = 256 << 10

// Read reads a file. Those that were put away are read before the one that is in use.
func (g *Reading) Read(from io.Reader) error {
	lines := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			g.Torn++
			err = skipLine(lines)
		} else if len(bytes.TrimSpace(line)) > 0 {
			if err := g.line(line); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// skipLine reads the rest of a line that is too long.
func skipLine(lines *bufio.Reader) error {
	for {
		_, err := lines.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// read is what a record says of its run.
type read struct {
	Run     string `json:"run"`
	N       uint64 `json:"n"`
	What    What   `json:"what"`
	Time    string `json:"time"`
	Version string `json:"version"`
	Count   uint64 `json:"count"`
}

func (g *Reading) line(line []byte) error {
	var r read
	if json.Unmarshal(line, &r) != nil || r.Run == "" || r.N == 0 || line[len(line)-1] != '\n' {
		g.Torn++
		return nil
	}
	run, known := g.runs[r.Run]
	if !known {
		if g.runs == nil {
			g.runs = make(map[string]*Run)
		}
		run = &Run{ID: r.Run}
		g.runs[r.Run] = run
		g.order = append(g.order, run)
	}
	return run.add(r)
}

func (r *Run) add(of read) error {
	switch of.What {
	case Started:
		r.Began, r.Version = of.Time, of.Version
	case Stopped:
		r.Stopped = true
	}
	for i := len(r.spans) - 1; i >= 0; i-- { // mostly it follows on the last
		switch s := &r.spans[i]; {
		case of.N == s.Last+1:
			s.Last++
			r.count(of)
			return nil
		case of.N >= s.First && of.N <= s.Last:
			r.Again++
			return nil
		case of.N > s.Last:
			return r.insert(i+1, of)
		}
	}
	return r.insert(0, of)
}

func (r *Run) insert(at int, of read) error {
	if len(r.spans) == maxSpans {
		return ErrScattered
	}
	r.spans = slices.Insert(r.spans, at, Span{of.N, of.N})
	r.count(of)
	return nil
}

func (r *Run) count(of read) {
	r.Records++
	if of.What == Lost {
		r.Lost += of.Count
	}
}

// Last returns the highest number that there is.
func (r *Run) Last() uint64 { return r.spans[len(r.spans)-1].Last }

// Gaps returns the numbers, up to the last, of which there is no record.
func (r *Run) Gaps() []Span {
	var all []Span
	next := uint64(1)
	for _, s := range r.spans {
		if s.First > next {
			all = append(all, Span{next, s.First - 1})
		}
		next = s.Last + 1
	}
	return all
}

// Missing returns how many these are.
func (r *Run) Missing() uint64 { return r.Last() - r.Records }

// Runs returns the runs in the order in which they were met.
func (g *Reading) Runs() []*Run { return g.order }
