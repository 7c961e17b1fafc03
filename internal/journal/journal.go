// Package journal writes log lines for less than a system call each, and has no
// lock that all who write share. It imports nothing of ours.
package journal

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// pause is the least time between two writes that nothing urges, and so how long a
// line waits at most.
const pause = 10 * time.Millisecond

// A Writer collects lines for as long as there are many. One that comes alone, or
// is a warning or worse, is written at once, with all before it: lines of one goroutine
// keep their order, and nobody who watches a quiet log waits. When a process is
// killed, what came in the last 10 ms may be missing.
type Writer struct {
	page   atomic.Pointer[page] // that takes lines now
	many   atomic.Bool          // the timer runs: a line was written less than a pause ago
	closed atomic.Bool
	timer  *time.Timer

	writing sync.Mutex // one write at a time
	out     io.Writer
	spare   *page // for while the other is being written
}

// New returns a Writer to out.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, spare: new(page)}
	first := new(page)
	first.clear()
	w.page.Store(first)
	w.many.Store(true)
	w.timer = time.AfterFunc(pause, w.rest)
	return w
}

// Close writes what waits. Whatever is written afterwards is so at once.
func (w *Writer) Close() error {
	w.closed.Store(true)
	w.timer.Stop()
	_, err := w.flush(nil)
	return err
}

// Write implements io.Writer, for lines of no level.
func (w *Writer) Write(line []byte) (int, error) { return w.WriteLevel(zerolog.NoLevel, line) }

// WriteLevel implements zerolog.LevelWriter.
func (w *Writer) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if len(line) > pageBytes {
		_, err := w.flush(line)
		return len(line), err
	}
	for !w.page.Load().put(line) { // who finds a page full writes it out, and waits for who reads the log
		if _, err := w.flush(nil); err != nil {
			return 0, err
		}
	}
	if level < zerolog.WarnLevel && !w.closed.Load() && !w.alone() {
		return len(line), nil
	}
	_, err := w.flush(nil)
	return len(line), err
}

// alone reports whether no line was written less than a pause ago, and begins one if
// so.
func (w *Writer) alone() bool {
	if w.many.Load() || !w.many.CompareAndSwap(false, true) {
		return false
	}
	w.timer.Reset(pause)
	return true
}

// rest ends a pause: with a write and another pause if lines came in it, for there
// may be more.
func (w *Writer) rest() {
	if n, _ := w.flush(nil); n > 0 && !w.closed.Load() { // there is nowhere to say that the log cannot be written
		w.timer.Reset(pause)
		return
	}
	w.many.Store(false)
	_, _ = w.flush(nil) // what came just before that
}

// flush writes what waits, and then a line that is too long to wait, if there is one.
func (w *Writer) flush(long []byte) (n int, err error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.spare.clear()
	w.spare = w.page.Swap(w.spare)
	for _, lines := range [][]byte{w.spare.seal(), long} {
		if len(lines) > 0 && err == nil {
			n += len(lines)
			_, err = w.out.Write(lines)
		}
	}
	return n, err
}
