// Package journal writes log lines for less than a system call each, and has no
// lock that all who write share. It imports nothing of ours.
package journal

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// pause is the least time between two writes that nothing urges, and so how long a
// line waits at most.
const pause = 10 * time.Millisecond

// patience is how long a write may take before nobody waits for it any longer. Whoever
// reads the log may stop reading, and that must stop neither the service nor its end.
const patience = time.Second

// errStuck says that a write has not come to its end.
var errStuck = errors.New("journal: a write does not come to its end")

// A Writer collects lines for as long as there are many. One that comes alone, or
// is a warning or worse, is written at once, with all before it: lines of one goroutine
// keep their order, and nobody who watches a quiet log waits. When a process is
// killed, what came in the last 10 ms may be missing. While nobody reads the log, a page of
// lines waits, and what comes beyond is lost and counted.
type Writer struct {
	page   atomic.Pointer[page] // that takes lines now
	many   atomic.Bool          // the timer runs: a line was written less than a pause ago
	closed atomic.Bool
	timer  *time.Timer

	stuck atomic.Bool   // the write that is going on has been at it for too long
	lost  atomic.Uint64 // lines, since that was said last

	writing chan struct{} // takes one: a write at a time
	out     io.Writer
	spare   *page // for while the other is being written
}

// New returns a Writer to out.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, spare: new(page), writing: make(chan struct{}, 1)}
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

// WriteLevel implements zerolog.LevelWriter. A line that is lost is no error: what zerolog
// does with one is to write it to standard error.
func (w *Writer) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	err := w.write(level, line)
	if errors.Is(err, errStuck) {
		err = nil
	}
	return len(line), err
}

func (w *Writer) write(level zerolog.Level, line []byte) error {
	if len(line) > pageBytes {
		return w.flushOrLose(bytes.Clone(line)) // whose owner may go on before it is written
	}
	for !w.page.Load().put(line) { // who finds a page full writes it out, and waits for who reads the log
		if err := w.flushOrLose(nil); err != nil {
			return err
		}
	}
	if level < zerolog.WarnLevel && !w.closed.Load() && !w.alone() {
		return nil
	}
	_, err := w.flush(nil)
	return err
}

// flushOrLose is flush for a line that does not fit onto the page.
func (w *Writer) flushOrLose(long []byte) error {
	_, err := w.flush(long)
	if errors.Is(err, errStuck) {
		w.lost.Add(1)
	}
	return err
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

// flush has what waits written, and then a line that is too long to wait, if there is one.
// It returns when that is done, or goes on for too long. The error is errStuck if it has not
// begun.
func (w *Writer) flush(long []byte) (n int, err error) {
	if w.stuck.Load() {
		return 0, errStuck
	}
	turn := time.NewTimer(patience)
	defer turn.Stop()
	select {
	case w.writing <- struct{}{}:
	case <-turn.C:
		return 0, errStuck
	}
	done, late := make(chan written, 1), make(chan struct{})
	go w.lead(long, done, late)
	select {
	case r := <-done:
		return r.bytes, r.err
	case <-late:
		return 0, nil
	}
}

// written is what has become of a write.
type written struct {
	bytes int
	err   error
}

// lead is the one who writes. It may outlast who waits for it, and then also writes what has
// come meanwhile, and how much was lost.
func (w *Writer) lead(long []byte, done chan<- written, late chan struct{}) {
	defer func() { <-w.writing }()
	n, stuck, err := w.watched(long, late)
	done <- written{n, err}
	for stuck || w.lost.Load() > 0 {
		w.stuck.Store(false)
		_, stuck, _ = w.watched(w.whatIsLost(), make(chan struct{})) // there is nowhere to say that the log cannot be written
	}
}

// watched writes, and if that goes on for too long says so to everybody, and closes late.
func (w *Writer) watched(long []byte, late chan struct{}) (n int, stuck bool, err error) {
	watch := time.AfterFunc(patience, func() {
		w.stuck.Store(true)
		close(late)
	})
	n, err = w.writeOut(long)
	if stuck = !watch.Stop(); stuck {
		<-late
	}
	return n, stuck, err
}

// whatIsLost is the line that says how many lines were lost, or nil.
func (w *Writer) whatIsLost() []byte {
	lost := w.lost.Swap(0)
	if lost == 0 {
		return nil
	}
	var line bytes.Buffer
	log := zerolog.New(&line)
	log.Warn().Uint64("lines", lost).Timestamp().Msg("lines of the log are lost: nobody read it")
	return line.Bytes()
}

func (w *Writer) writeOut(long []byte) (n int, err error) {
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
