// Package roster reads and writes lists of people, as CSV or as NDJSON: one line
// for each of a person's devices, or one for a person who has none.
//
// Whoever makes such a list is trusted with the directory, but lists come out of
// spreadsheets and scripts, so every value is checked, every line that is not in
// order is reported by its number, and the others go on. What is reported never
// repeats what stood there: any value may be a misplaced secret. A line of any
// length costs no more memory than the longest that is accepted.
//
// Values are read and written as they are. One that begins with =, +, - or @, which
// a spreadsheet takes for a formula, is not changed: a list must come back as it
// went out. User keys never begin so unless their issuer's name does, and names are
// given by those who may change the directory, not by those who are in it.
package roster

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// A Format is how a list is written.
type Format int

// The formats.
const (
	CSV    Format = iota + 1 // RFC 4180, the first line names the columns
	NDJSON                   // one JSON object on each line
)

// FormatOf tells the format by a file's name: .csv, .ndjson or .jsonl.
func FormatOf(file string) (Format, bool) {
	switch strings.ToLower(path.Ext(file)) {
	case ".csv":
		return CSV, true
	case ".ndjson", ".jsonl":
		return NDJSON, true
	}
	return 0, false
}

// ContentType is the format's media type.
func (f Format) ContentType() string {
	if f == CSV {
		return "text/csv"
	}
	return "application/x-ndjson"
}

// MaxLine bounds in bytes a line. In CSV that is a record, which may go over
// several lines.
const MaxLine = 64 << 10

// A LineError is what is wrong with one line. The Reader can be asked for the
// next.
type LineError struct {
	Line int    // from 1; where the record begins, in CSV
	Text string // words of ours, without what the line says
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// ErrHeader says that the first line of a CSV file does not name columns that
// can be read. The file says nothing without it. It is a *HeaderError.
var ErrHeader = errors.New("the first line must name the columns")

// A HeaderError is what is wrong with the header.
type HeaderError LineError

func (e *HeaderError) Error() string {
	return fmt.Sprintf("%v: line %d: %s", ErrHeader, e.Line, e.Text)
}

// Problem is the error without its line.
func (e *HeaderError) Problem() string { return ErrHeader.Error() + ": " + e.Text }

func (e *HeaderError) Unwrap() error { return ErrHeader }

// ErrShared says that something is about a device that is never looked at.
var ErrShared = errors.New("devices is shared: leave the device out, all devices use one credential")

// CheckShared returns ErrShared for a device that is never looked at where all of a
// user's devices use one credential.
func CheckShared(d directory.Device) error {
	if d != directory.DefaultDevice {
		return ErrShared
	}
	return nil
}

// A Reader reads a list. It is for one goroutine.
type Reader struct {
	// SharedDevices says that all of a user's devices use one credential, that of
	// directory.DefaultDevice. A line about another is not in order: nobody would
	// ever use it.
	SharedDevices bool

	issuers []string
	next    func() (line int, v values, err error)
	failed  error
}

// NewReader returns a Reader of r. issuers are the names of the configured
// issuers: with only one, its name may be left out of the user keys.
func NewReader(r io.Reader, f Format, issuers []string) *Reader {
	reader := &Reader{issuers: issuers}
	if f == CSV {
		reader.next = newCSVReader(r).next
	} else {
		reader.next = newNDJSONReader(r).next
	}
	return reader
}

// Next returns the next line's row. At the end that is io.EOF. A *LineError is
// about that line alone; after any other error, there is nothing more to read: it
// is an ErrHeader, or what r said.
func (r *Reader) Next() (store.Row, error) {
	if r.failed != nil {
		return store.Row{}, r.failed
	}
	line, v, err := r.next()
	if err == nil {
		var row store.Row
		row, err = v.row(r.issuers)
		if err == nil && r.SharedDevices && row.Device != "" {
			err = CheckShared(row.Device)
		}
		if err == nil {
			row.Line = line
			return row, nil
		}
		err = &LineError{line, err.Error()}
	}
	if _, goesOn := errors.AsType[*LineError](err); !goesOn {
		r.failed = err
	}
	return store.Row{}, err
}
