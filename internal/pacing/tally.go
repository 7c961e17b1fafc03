package pacing

import "time"

// pieces is into how many slices a span is cut. One more is kept, so that the span is
// covered wherever in a slice we are: we count a hundredth too much, never too
// little.
const pieces = 100

// A tally counts calls in a span that slides along with the clock, in bounded
// memory. Times are since the Pacer began.
type tally struct {
	width  time.Duration // of a slice
	counts [pieces + 1]int
	newest int64 // the number of the slice that runs; slice n begins at n*width
	total  int
}

func newTally(span time.Duration) tally { return tally{width: max(span/pieces, 1)} }

// period is for how long a call is counted, at most: what is sent evenly has
// share calls in each.
func (t *tally) period() time.Duration { return (pieces + 1) * t.width }

// slide drops what is older than the span.
func (t *tally) slide(at time.Duration) {
	running := int64(at / t.width)
	if running <= t.newest {
		return
	}
	for n := max(t.newest+1, running-pieces); n <= running; n++ {
		t.total -= t.counts[n%(pieces+1)]
		t.counts[n%(pieces+1)] = 0
	}
	t.newest = running
}

func (t *tally) add(at time.Duration, calls int) {
	t.slide(at)
	t.counts[t.newest%(pieces+1)] += calls
	t.total += calls
}

// takeBack uncounts a call that was not made after all: of the latest.
func (t *tally) takeBack() {
	for n := t.newest; n >= max(0, t.newest-pieces); n-- {
		if t.counts[n%(pieces+1)] > 0 {
			t.counts[n%(pieces+1)]--
			t.total--
			return
		}
	}
}

// move counts a call as made later than it was counted.
func (t *tally) move(from, to time.Duration) {
	n, later := int64(from/t.width), min(int64(to/t.width), t.newest)
	switch oldest := t.newest - pieces; {
	case later < oldest:
		return
	case n < oldest: // no longer counted
		t.total++
	case t.counts[n%(pieces+1)] == 0: // the span has changed since
		return
	default:
		t.counts[n%(pieces+1)]--
	}
	t.counts[later%(pieces+1)]++
}

// opens says when there is room for one call more after ahead others, if share is
// the most in a span. It needs slide.
func (t *tally) opens(at time.Duration, share, ahead int) time.Duration {
	// The call that is share calls later goes a period later at the earliest.
	later := time.Duration(ahead/share) * t.period()
	excess := t.total + ahead%share + 1 - share
	if excess <= 0 {
		return at + later
	}
	for n := max(0, t.newest-pieces); n <= t.newest; n++ {
		excess -= t.counts[n%(pieces+1)]
		if excess <= 0 {
			return time.Duration(n+pieces+1)*t.width + later
		}
	}
	return at + t.period() + later // share has shrunk below what was sent and is still to come
}

// spread is the tally of the same calls over another span. Each counts as made at
// the end of its slice, so that none is forgotten early.
func (t *tally) spread(at, span time.Duration) tally {
	t.slide(at)
	fresh := newTally(span)
	fresh.slide(max(0, at-fresh.period()))
	for n := max(0, t.newest-pieces); n <= t.newest; n++ {
		if calls := t.counts[n%(pieces+1)]; calls > 0 {
			made := min(time.Duration(n+1)*t.width, at)
			if made > at-span {
				fresh.add(made, calls)
			}
		}
	}
	fresh.slide(at)
	return fresh
}

// quickest is how long calls take at least: those of the last while, and of the one
// before.
type quickest struct {
	least, before time.Duration // 0 is not known
	since         time.Duration
}

// of takes in how long a call took, and returns the least.
func (q *quickest) of(at, took time.Duration) time.Duration {
	if at-q.since >= 5*time.Second {
		q.before, q.least, q.since = q.least, 0, at
	}
	took = max(took, 1)
	if q.least == 0 || took < q.least {
		q.least = took
	}
	if q.before > 0 {
		return min(q.least, q.before)
	}
	return q.least
}

// A meter counts calls by the second.
type meter struct {
	second      int64
	now, before int
}

func (m *meter) slide(at time.Duration) {
	switch second := int64(at / time.Second); {
	case second == m.second:
	case second == m.second+1:
		m.second, m.now, m.before = second, 0, m.now
	default:
		*m = meter{second: second}
	}
}

func (m *meter) add(at time.Duration) { m.slide(at); m.now++ }

func (m *meter) rate(at time.Duration) int { m.slide(at); return max(m.now, m.before) }
