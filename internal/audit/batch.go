package audit

import (
	"bytes"
	"runtime"
	"strconv"
	"time"
)

// entry is a record on its way to the sink.
type entry struct {
	tail   []byte        // the line but for its beginning
	grant  bool          // somebody waits for it, to grant something
	change bool          // it is of a change, for which there is room of its own
	fate   fate          // is set before whoever waits is woken
	woken  chan struct{} // of the one who had the batch written
}

// fate is what has become of an entry. Only one that is kept still belongs to who put it.
type fate int

const (
	unknown fate = iota
	kept         // it is written
	aside        // it waits, or is lost
	refused      // it will not be written
)

// mostYields is how often others may run before a write.
const mostYields = 8

// usualLine is room for nearly every line. A longer one's room is not kept.
const usualLine = 1 << 10

func (t *Trail) newEntry() *entry {
	e, there := t.entries.Get().(*entry)
	if !there {
		e = &entry{tail: make([]byte, 0, usualLine), woken: make(chan struct{}, 1)}
	}
	return e
}

func (t *Trail) recycle(e *entry) {
	if cap(e.tail) <= usualLine {
		*e = entry{tail: e.tail[:0], woken: e.woken}
		t.entries.Put(e)
	}
}

// A batch is what is written together. Those who wait for it are woken by its end, or one
// of them before, to have it written.
type batch struct {
	entries  []*entry
	leader   *entry        // whose owner had it written, or nil
	turn     chan struct{} // nil if nobody waits
	released bool          // nobody waits any longer, though it is not written
}

// wake wakes all who wait for the batch.
func (b *batch) wake() {
	if b.turn != nil {
		close(b.turn)
	}
	if b.leader != nil {
		b.leader.woken <- struct{}{}
	}
	b.turn, b.leader = nil, nil
}

// put has an entry written with all that come together, for the one who comes first, or
// who is told to when the one before is written. There is no other queue and no timer:
// somebody alone waits for one write.
func (t *Trail) put(e *entry) fate {
	t.mu.Lock()
	if t.stuck || t.closed {
		defer t.mu.Unlock()
		t.fail(e)
		return e.fate
	}
	t.next.entries = append(t.next.entries, e)
	if !t.leading {
		t.leading = true
		return t.leadFor(e)
	}
	if t.next.turn == nil {
		t.next.turn = make(chan struct{}, 1)
	}
	turn := t.next.turn
	t.mu.Unlock()
	if _, mine := <-turn; mine {
		t.mu.Lock()
		return t.leadFor(e)
	}
	return e.fate
}

// leadFor has the next batch written, for an entry of it, and returns what has become of
// that. It takes the lock, and gives it back. The write is another goroutine's: one that
// does not come to its end must not keep a request in flight, and with it the whole
// service from stopping.
func (t *Trail) leadFor(e *entry) fate {
	t.gather()
	t.next.leader = e
	t.mu.Unlock()
	go t.leader()
	<-e.woken
	return e.fate
}

// gather lets others run for as long as some of them come to have something written
// too: a write costs more than all that a goroutine does to wait for one. Whoever is
// alone waits for nobody. It wants the lock, and lets go of it meanwhile.
func (t *Trail) gather() {
	for range mostYields {
		before := len(t.next.entries)
		t.mu.Unlock()
		runtime.Gosched()
		t.mu.Lock()
		if len(t.next.entries) == before {
			return
		}
	}
}

// lead writes what waits and what has come together.
func (t *Trail) lead() {
	t.mu.Lock()
	b := t.next
	t.next, t.spare = t.spare, nil
	now := time.Now()
	t.current, t.began = b, now
	old := t.waiting
	t.all = append(t.all[:0], old...)
	told := uint64(0)
	if t.untold > 0 {
		told = t.untold
		r := Record{What: Lost, At: t.now(), Count: told}
		t.all = append(t.all, &entry{tail: r.appendTo(nil)})
	}
	before := len(t.all)
	t.all = append(t.all, b.entries...)
	t.mu.Unlock()

	n, failure := t.write(now)
	t.tell(failure)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.failure, t.stuck = failure, false
	t.drop(min(n, len(old)))
	if n > len(old) {
		t.untold -= told
	}
	t.settle(b, max(n-before, 0))
	t.handOver(b)
}

// drop takes the oldest of what waits away, as it is written.
func (t *Trail) drop(n int) {
	for _, e := range t.waiting[:n] {
		t.bytes -= len(e.tail)
	}
	clear(t.waiting[:n])
	t.waiting = t.waiting[n:]
	if len(t.waiting) == 0 {
		t.waiting = nil
	}
}

// settle decides on a batch's entries, of which the first n are written.
func (t *Trail) settle(b *batch, n int) {
	for i, e := range b.entries {
		switch {
		case i < n && !b.released:
			e.fate = kept
		case i < n:
		case !b.released:
			t.fail(e)
		case e.grant && !t.vend: // was refused when nobody knew
		default:
			t.setAside(e)
		}
	}
}

// handOver wakes those who waited for the batch, and one of those who wait for the next to
// write it.
func (t *Trail) handOver(b *batch) {
	b.wake()
	clear(b.entries)
	*b = batch{entries: b.entries[:0]}
	t.current, t.spare = nil, b
	clear(t.all)
	if t.next.turn != nil {
		t.next.turn <- struct{}{}
		return
	}
	t.leading = false
}

// fail decides on an entry that cannot be written.
func (t *Trail) fail(e *entry) {
	if e.grant && !t.vend {
		e.fate = refused
		return
	}
	e.fate = aside
	t.setAside(e)
}

// setAside has an entry wait, if there is room.
func (t *Trail) setAside(e *entry) {
	most, mostBytes := MaxWaiting, maxWaitingBytes
	if !e.change {
		most, mostBytes = most-ForChanges, mostBytes-forChangesBytes
	}
	if t.closed || len(t.waiting) >= most || t.bytes+len(e.tail) > mostBytes {
		t.lost++
		t.untold++
		return
	}
	t.waiting = append(t.waiting, e)
	t.bytes += len(e.tail)
}

// write writes the lines of all, in as few writes as may be, until one fails. It returns
// how many are written. Only these have a number. The clock has been looked at by whoever
// calls, once for a token.
func (t *Trail) write(now time.Time) (n int, err error) {
	if err := t.sink.ready(now, t.reopening.Swap(false)); err != nil {
		return 0, err
	}
	for n < len(t.all) {
		t.lines = append(t.lines[:0], '\n') // for the sink, which may need one
		number := t.number
		for _, e := range t.all[n:] {
			number++
			t.lines = append(t.lines, t.prefix...)
			t.lines = strconv.AppendUint(t.lines, number, 10)
			t.lines = append(t.lines, e.tail...)
			if len(t.lines) > maxWrite {
				break
			}
		}
		whole, err := t.sink.write(t.lines)
		lines := bytes.Count(t.lines[1:1+whole], []byte{'\n'})
		n += lines
		t.number += uint64(lines) //nolint:gosec // none is less than 0
		t.written.Store(t.number)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
