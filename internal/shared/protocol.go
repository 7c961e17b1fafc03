package shared

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
)

// What is taken of a message. Ours are a kilobyte, with a script two; the largest
// that can be is an entry with a token of 16 KiB in it.
const (
	maxBulk     = 64 << 10
	maxLine     = 4 << 10
	maxElements = 64 // of a message, arrays in arrays included
	maxDepth    = 8
	// maxMessage is what all strings of a message may have together.
	maxMessage = 2 * maxBulk
)

var errProtocol = errors.New("it does not speak Redis's protocol")

// A guard is a connection on which nothing arrives but well-formed answers to what
// was asked. The library trusts its server: what says that it has a terabyte to
// send, arrays without end or more answers than there were questions makes it
// panic in a goroutine of its own, or eat all memory, which ends the process. So it
// sees none of that.
type guard struct {
	net.Conn
	onEnd func(error) // called when the connection ends, by whichever side; maybe often

	out, in scanner
	asked   atomic.Int64
	got     int64
}

// Write counts the questions before they leave.
func (g *guard) Write(p []byte) (int, error) {
	n, err := g.out.scan(p)
	if err != nil {
		g.onEnd(err)
		return 0, err
	}
	g.asked.Add(n)
	return g.Conn.Write(p)
}

// Read hands over what it has looked at. It is called by one goroutine at a time.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	answers, bad := g.in.scan(p[:n])
	g.got += answers
	if bad == nil && g.got > g.asked.Load() {
		bad = fmt.Errorf("%w: it answers what was not asked", errProtocol)
	}
	if bad != nil {
		g.onEnd(bad)
		return 0, bad
	}
	if err != nil {
		g.onEnd(err)
	}
	return n, err
}

// Close ends the connection.
func (g *guard) Close() error {
	g.onEnd(net.ErrClosed)
	return g.Conn.Close()
}

// A scanner follows one direction of a connection, in pieces of any size, and counts
// the messages. It takes the second version of the protocol and none of the third's
// types, since that one is not asked for.
type scanner struct {
	kind     byte // of the line being read; 0 between lines
	length   int  // of that line
	number   int  // what it says, if it is a length
	digits   int
	negative bool
	ended    bool // the line's carriage return was read

	skip     int           // bytes of a string still to come, its line end included
	open     [maxDepth]int // how many elements the open arrays still want
	depth    int
	elements int // of this message, as announced
	bytes    int // of its strings, as announced
}

// scan returns how many messages ended in p.
func (s *scanner) scan(p []byte) (messages int64, err error) {
	for len(p) > 0 {
		done := false
		if s.skip > 0 {
			n := min(s.skip, len(p))
			s.skip -= n
			p, done = p[n:], s.skip == 0
		} else {
			if done, err = s.line(p[0]); err != nil {
				return messages, err
			}
			p = p[1:]
		}
		if done && s.complete() {
			messages++
		}
	}
	return messages, nil
}

// line takes one byte of a line, and reports whether a value ends with it.
func (s *scanner) line(b byte) (done bool, err error) {
	if s.kind == 0 {
		switch b {
		case '+', '-', ':', '$', '*':
			s.kind, s.length, s.number, s.digits, s.negative, s.ended = b, 0, 0, 0, false, false
			return false, nil
		}
		return false, fmt.Errorf("%w: a message of an unknown type", errProtocol)
	}
	switch {
	case b == '\n' && s.ended:
		return s.lineEnd()
	case b == '\n' || s.ended:
		return false, fmt.Errorf("%w: a line without its end", errProtocol)
	case b == '\r':
		s.ended = true
		return false, nil
	}
	if s.length++; s.length > maxLine {
		return false, fmt.Errorf("%w: a line of more than %d bytes", errProtocol, maxLine)
	}
	if s.kind == '+' || s.kind == '-' {
		return false, nil
	}
	return false, s.digit(b)
}

// digit takes one byte of a number.
func (s *scanner) digit(b byte) error {
	switch {
	case b == '-' && s.length == 1:
		s.negative = true
		return nil
	case b < '0' || b > '9' || s.digits == 19:
		return fmt.Errorf("%w: what should be a number is none", errProtocol)
	}
	s.digits++
	if s.kind != ':' {
		s.number = min(s.number*10+int(b-'0'), maxBulk+1)
	}
	return nil
}

// lineEnd begins what the line announces, or reports that its value is complete.
func (s *scanner) lineEnd() (done bool, err error) {
	kind := s.kind
	s.kind = 0
	switch {
	case kind == '+' || kind == '-':
		return true, nil
	case s.digits == 0:
		return false, fmt.Errorf("%w: what should be a number is none", errProtocol)
	case kind == ':', s.negative && s.number == 1: // an integer, or no string, or no array
		return true, nil
	case s.negative:
		return false, fmt.Errorf("%w: a negative length", errProtocol)
	case kind == '$':
		return false, s.beginString()
	}
	return s.beginArray()
}

func (s *scanner) beginString() error {
	if s.number > maxBulk {
		return fmt.Errorf("%w: a string of more than %d bytes", errProtocol, maxBulk)
	}
	if s.bytes += s.number; s.bytes > maxMessage {
		return fmt.Errorf("%w: a message of more than %d bytes", errProtocol, maxMessage)
	}
	s.skip = s.number + len("\r\n")
	return nil
}

func (s *scanner) beginArray() (done bool, err error) {
	if s.number == 0 {
		return true, nil
	}
	s.elements += s.number
	if s.elements > maxElements || s.depth == maxDepth {
		return false, fmt.Errorf("%w: an array too large or too deep", errProtocol)
	}
	s.open[s.depth] = s.number
	s.depth++
	return false, nil
}

// complete takes note that a value is complete, and reports whether a message is.
func (s *scanner) complete() bool {
	for ; s.depth > 0; s.depth-- {
		if s.open[s.depth-1]--; s.open[s.depth-1] > 0 {
			return false
		}
	}
	s.elements, s.bytes = 0, 0
	return true
}
