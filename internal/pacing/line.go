package pacing

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A waiter is a call that is about to be made, and waits in line if it must.
type waiter struct {
	about      telnyx.CredentialID
	background bool
	place      int64 // smaller goes first; 0 until it has one
	newcomer   bool  // it was not told to come back, so those who were go first
	deadline   time.Duration
	turn       chan error // nil when it may go; has room for the one that is sent
	index      int        // in the line; -1 when it is in none
}

// A line has waiters in the order of their places.
type line []*waiter

func (l line) first() *waiter {
	if len(l) == 0 {
		return nil
	}
	return l[0]
}

// last is who would go last.
func (l line) last() *waiter {
	return slices.MaxFunc(l, func(a, b *waiter) int { return cmp.Compare(a.place, b.place) })
}

// before counts those that go before a place.
func (l line) before(place int64) int {
	n := 0
	for _, w := range l {
		if w.place < place {
			n++
		}
	}
	return n
}

func (l *line) join(w *waiter) { heap.Push((*lineHeap)(l), w) }

// leave takes a waiter out, and reports whether it was in.
func (l *line) leave(w *waiter) bool {
	if w.index < 0 {
		return false
	}
	heap.Remove((*lineHeap)(l), w.index)
	return true
}

type lineHeap line

func (h lineHeap) Len() int           { return len(h) }
func (h lineHeap) Less(i, j int) bool { return h[i].place < h[j].place }
func (h lineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *lineHeap) Push(x any) {
	w := x.(*waiter) //nolint:errcheck // only waiters are pushed
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *lineHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1], last.index = nil, -1
	*h = old[:len(old)-1]
	return last
}
