package authz

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// crowd bounds how many callers do a thing at once.
type crowd struct {
	limit int64
	in    atomic.Int64
}

// enter reports whether there was room. If so, leave must be called.
func (c *crowd) enter() bool {
	if c.in.Add(1) <= c.limit {
		return true
	}
	c.leave()
	return false
}

func (c *crowd) leave() { c.in.Add(-1) }

// A queue is for questions of one kind. Tokens that were good before have one of
// their own, so that whoever invents tokens does not shut out those who have
// signed in.
type queue struct {
	callers   crowd         // who wait for answers
	questions crowd         // those under way, and those that wait for a place
	places    chan struct{} // at the issuer
}

func newQueue(waiting, places int) queue {
	return queue{
		callers: crowd{limit: int64(waiting)}, questions: crowd{limit: int64(waiting)}, places: make(chan struct{}, places),
	}
}

// inPlace asks a question when there is a place for it. Questions are counted, and
// not who waits for them: a question goes on when its caller has left.
func (q *queue) inPlace(question func() (*token, error)) (*token, error) {
	if !q.questions.enter() {
		return nil, errCrowded
	}
	defer q.questions.leave()
	select {
	case q.places <- struct{}{}:
	case <-time.After(placeTimeout):
		return nil, errors.New("too many questions wait for an answer")
	}
	defer func() { <-q.places }()
	return question()
}

// waiting counts who waits for an answer about each token, so that one person does
// not take everybody's room with one token.
type waiting struct {
	mu      sync.Mutex
	callers map[digest]int
}

const maxCallersPerToken = 64

// enter reports whether there was room. If so, leave must be called.
func (w *waiting) enter(sum digest) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.callers[sum] >= maxCallersPerToken {
		return false
	}
	w.callers[sum]++
	return true
}

func (w *waiting) leave(sum digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.callers[sum]--; w.callers[sum] == 0 {
		delete(w.callers, sum)
	}
}
