package pacing

import (
	"container/heap"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// maxPromises bounds how many are remembered.
	maxPromises = 1 << 16
	// expected is how long after his turn somebody is reckoned with: whole seconds
	// are rounded up, and then there is the way.
	expected = 2 * time.Second
	// kept is how long after it he finds his place when he comes.
	kept = time.Minute
)

// A promise is somebody's place in line who was told to come back.
type promise struct {
	about    telnyx.CredentialID
	place    int64
	due      time.Duration // when his turn is
	expected bool          // he is reckoned with
	over     time.Duration // when he no longer is, and then when the promise ends
	index    int           // in the heap
}

// promises are the places of those who were told to come back, each by what his
// call is about; the first to be over is the first of the heap.
type promises struct {
	of   map[telnyx.CredentialID]*promise
	heap promiseHeap
	owed int // those that are expected
}

// remember keeps a place. Of two for one credential the better is kept. If there
// are too many already it is not, and who has it is a newcomer when he returns.
func (s *promises) remember(at time.Duration, about telnyx.CredentialID, place int64, due time.Duration) {
	s.lapse(at)
	if old := s.of[about]; old != nil {
		place = min(place, old.place)
		s.remove(old)
	}
	if len(s.of) >= maxPromises {
		return
	}
	p := &promise{about: about, place: place, due: due, expected: true, over: due + expected}
	if s.of == nil {
		s.of = make(map[telnyx.CredentialID]*promise)
	}
	s.of[about] = p
	s.owed++
	heap.Push(&s.heap, p)
}

// take returns the place of somebody who has come back.
func (s *promises) take(at time.Duration, about telnyx.CredentialID) (place int64, due time.Duration, ok bool) {
	if len(s.of) == 0 {
		return 0, 0, false
	}
	s.lapse(at)
	p := s.of[about]
	if p == nil {
		return 0, 0, false
	}
	s.remove(p)
	return p.place, p.due, true
}

// lapse sees to those who have not come.
func (s *promises) lapse(at time.Duration) {
	for len(s.heap) > 0 && s.heap[0].over <= at {
		p := s.heap[0]
		if !p.expected {
			s.remove(p)
			continue
		}
		p.expected, p.over = false, p.due+kept
		s.owed--
		heap.Fix(&s.heap, p.index)
	}
}

func (s *promises) remove(p *promise) {
	if p.expected {
		s.owed--
	}
	delete(s.of, p.about)
	heap.Remove(&s.heap, p.index)
}

type promiseHeap []*promise

func (h promiseHeap) Len() int           { return len(h) }
func (h promiseHeap) Less(i, j int) bool { return h[i].over < h[j].over }
func (h promiseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *promiseHeap) Push(x any) {
	p := x.(*promise) //nolint:errcheck // only promises are pushed
	p.index = len(*h)
	*h = append(*h, p)
}

func (h *promiseHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
