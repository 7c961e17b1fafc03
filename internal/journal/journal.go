// Package journal writes log lines for less than a system call each. It imports
// nothing of ours.
package journal

import (
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// pause is the least time between two writes that nothing urges, and so how long a
	// line waits at most.
	pause = 10 * time.Millisecond
	// most bounds what waits, in bytes. Whoever brings more writes it out, and so
	// waits for whoever reads the log.
	most = 256 << 10
)

// A Writer collects lines for as long as there are many. One that comes alone, or
// is a warning or worse, is written at once, with all before it: lines keep their
// order, and nobody who watches a quiet log waits. When a process is killed, what came in
// the last 10 ms may be missing.
type Writer struct {
	writing sync.Mutex // one write at a time; taken before mu
	out     io.Writer
	spare   []byte // the next buffer, while this one is being written

	mu      sync.Mutex
	waiting []byte
	many    bool // a line was written less than a pause ago
	closed  bool
	timer   *time.Timer
}

// New returns a Writer to out.
func New(out io.Writer) *Writer {
	w := &Writer{out: out}
	w.timer = time.AfterFunc(pause, w.rest)
	return w
}

// Close writes what waits. Whatever is written afterwards is so at once.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.timer.Stop()
	w.mu.Unlock()
	return w.flush()
}

// Write implements io.Writer, for lines of no level.
func (w *Writer) Write(line []byte) (int, error) { return w.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel implements zerolog.LevelWriter.
func (w *Writer) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if !w.take(line, level >= zerolog.WarnLevel) {
		return len(line), nil
	}
	return len(line), w.flush()
}

// take takes a line, and reports whether to write now.
func (w *Writer) take(line []byte, urgent bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, line...)
	if urgent || w.closed || len(w.waiting) > most {
		return true
	}
	alone := !w.many
	if alone {
		w.many = true
		w.timer.Reset(pause)
	}
	return alone
}

// rest ends a pause: with a write and another one if lines came in it, for there
// may be more.
func (w *Writer) rest() {
	w.mu.Lock()
	w.many = len(w.waiting) > 0 && !w.closed
	if w.many {
		w.timer.Reset(pause)
	}
	w.mu.Unlock()
	_ = w.flush() // there is nowhere to say that the log cannot be written
}

// flush writes what waits.
func (w *Writer) flush() error {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	lines := w.waiting
	w.waiting = w.spare[:0]
	w.mu.Unlock()
	var err error
	if len(lines) > 0 {
		_, err = w.out.Write(lines)
	}
	w.spare = lines
	return err
}
