package roster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// quoting is where in a CSV record one is, as encoding/csv sees it.
type quoting int

const (
	atField  quoting = iota // at the beginning of a value
	inPlain                 // in a value without quotes
	inQuotes                // in a quoted value, where a line's end is nothing special
	afterOne                // after a quote in a quoted value: its end, or half of one that is meant
	astray                  // after a mistake; encoding/csv gives up on the line
)

// after is where one is after a byte.
func (q quoting) after(b byte) quoting {
	switch {
	case q == inQuotes:
		if b == '"' {
			return afterOne
		}
		return inQuotes
	case b == '\n' || b == ',' && q != astray:
		return atField
	case b == '"' && (q == atField || q == afterOne):
		return inQuotes
	case q == atField && b != '"' || q == inPlain && b != '"':
		return inPlain
	}
	return astray
}

// records cuts a list into its records: a line each, or in CSV as many as the
// quotes go over. Empty lines are none.
type records struct {
	r      *bufio.Reader
	quoted bool // is CSV

	line   int // that comes next, from 1
	record []byte
}

func newRecords(r io.Reader, quoted bool) *records {
	return &records{r: bufio.NewReaderSize(r, MaxLine), quoted: quoted, line: 1, record: make([]byte, 0, MaxLine+1)}
}

var (
	errTooLong = fmt.Errorf("longer than %d bytes", MaxLine)
	errOpen    = errors.New("a quote is not closed")
	byteOrder  = []byte("\xEF\xBB\xBF")
)

// next returns a record, with a line feed at its end and until the next call, and
// the line where it begins. One that is too long is a LineError: it is skipped
// whole, and no part of it is taken for a record, whatever it looks like.
func (s *records) next() (record []byte, line int, err error) {
	for {
		record, line, err = s.take()
		if err != nil || len(bytes.TrimRight(record, "\r\n")) > 0 {
			return record, line, err
		}
	}
}

// take is next for empty lines too.
func (s *records) take() (record []byte, line int, err error) {
	record, line, err = s.whole()
	if line == 1 {
		record = bytes.TrimPrefix(record, byteOrder)
	}
	return record, line, err
}

// whole is take with a byte order mark, if there is one.
func (s *records) whole() (record []byte, line int, err error) {
	s.record, line = s.record[:0], s.line
	var q quoting
	tooLong := false
	for {
		part, err := s.r.ReadSlice('\n')
		if s.quoted {
			for _, b := range part {
				q = q.after(b)
			}
		}
		if tooLong = tooLong || len(s.record)+len(part) > MaxLine; !tooLong {
			s.record = append(s.record, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return s.last(line, q, tooLong)
		case err != nil:
			return nil, line, err
		}
		s.line++
		if q == inQuotes {
			continue
		}
		if tooLong {
			return nil, line, &LineError{line, errTooLong.Error()}
		}
		return s.record, line, nil
	}
}

// last is what to return at the end of the list.
func (s *records) last(line int, q quoting, tooLong bool) ([]byte, int, error) {
	switch {
	case q == inQuotes:
		return nil, line, &LineError{line, errOpen.Error()}
	case tooLong:
		return nil, line, &LineError{line, errTooLong.Error()}
	case len(s.record) == 0:
		return nil, line, io.EOF
	}
	s.record = append(s.record, '\n')
	return s.record, line, nil
}
