package journal

import (
	"runtime"
	"sync/atomic"
)

const (
	pageBytes = 256 << 10
	// sealed is what is taken of a page that takes no more lines: too much for any
	// line to fit.
	sealed = 1 << 40
)

// A page holds lines. Any number of goroutines put lines onto it, and none waits for
// another: each takes a piece of it and copies its line there.
type page struct {
	bytes  [pageBytes]byte
	taken  atomic.Int64
	copied atomic.Int64
	end    atomic.Int64 // of the last line, once one did not fit; before, -1
}

// put puts a line onto the page, which must be no longer than that, or reports that
// it does not fit.
func (p *page) put(line []byte) bool {
	n := int64(len(line))
	end := p.taken.Add(n)
	if end > pageBytes {
		if end-n <= pageBytes { // the first that does not fit
			p.end.Store(end - n)
		}
		return false
	}
	copy(p.bytes[end-n:end], line)
	p.copied.Add(n)
	return true
}

// seal returns what is on the page when no more is put there, and nobody is
// copying any more. Only one may seal it, once.
func (p *page) seal() []byte {
	end := p.taken.Swap(sealed)
	if end > pageBytes {
		for end = p.end.Load(); end < 0; end = p.end.Load() {
			runtime.Gosched()
		}
	}
	for p.copied.Load() < end {
		runtime.Gosched()
	}
	return p.bytes[:end]
}

// clear makes a sealed page take lines again.
func (p *page) clear() {
	p.copied.Store(0)
	p.end.Store(-1)
	p.taken.Store(0) // last: from here on lines may come
}
