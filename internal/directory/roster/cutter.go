package roster

import (
	"errors"
	"io"
	"strings"
)

// A Part is some lines of a list, and a list itself.
type Part struct {
	List  []byte
	head  int // lines at its beginning that are the whole list's
	first int // the whole list's line that comes after those
}

// First returns the whole list's line that is the part's first.
func (p Part) First() int { return p.first }

// Line returns which line of the whole list a line of the part is.
func (p Part) Line(n int) int { return p.first + n - p.head - 1 }

// A Cutter cuts a list into parts, for somebody who takes no longer ones. It is
// for one goroutine.
type Cutter struct {
	records *records
	header  *csvReader // of CSV
	head    []byte
	most    int

	ready []byte // a record that goes into the next part
	line  int    // where it begins
	later error  // to be returned once the part before it was
}

// NewCutter returns a Cutter of r into parts of at most so many bytes, and that is
// MaxLine at least: a line is never cut.
func NewCutter(r io.Reader, f Format, most int) *Cutter {
	c := &Cutter{most: max(most, MaxLine)}
	if f == CSV {
		c.header = newCSVReader(r)
		c.records = c.header.records
	} else {
		c.records = newRecords(r, false)
	}
	return c
}

// Next returns the next part. The errors are a Reader's: io.EOF at the end, a
// *LineError about a line that is in no part, and any other is the end too.
func (c *Cutter) Next() (Part, error) {
	if err := c.readHeader(); err != nil {
		return Part{}, err
	}
	p := Part{List: append([]byte(nil), c.head...)}
	if len(c.head) > 0 {
		p.head = 1
	}
	for {
		if err := c.readAhead(); err != nil {
			if p.first > 0 {
				c.later = err
				return p, nil
			}
			return Part{}, err
		}
		if p.first > 0 && len(p.List)+len(c.ready) > c.most {
			return p, nil
		}
		if p.first == 0 {
			p.first = c.line
		}
		p.List, c.ready = append(p.List, c.ready...), nil
	}
}

// readHeader reads what stands at the beginning of every part.
func (c *Cutter) readHeader() error {
	if c.header == nil || c.head != nil {
		return nil
	}
	if err := c.header.readHeader(); err != nil {
		return err
	}
	var names []string
	for _, column := range c.header.columns {
		names = append(names, columns[column])
	}
	c.head = []byte(strings.Join(names, ",") + "\n")
	return nil
}

// readAhead sees to it that there is a record to go on with. Empty lines are
// records here, so that lines are counted alike everywhere.
func (c *Cutter) readAhead() (err error) {
	if c.ready != nil {
		return nil
	}
	if err, c.later = c.later, nil; err == nil {
		c.ready, c.line, err = c.records.take()
	}
	if _, goesOn := errors.AsType[*LineError](err); err != nil && !goesOn {
		c.later = err // for whoever asks again
	}
	return err
}
