package pacing

import (
	"context"
	"math"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// fewest is how many calls may be under way while nothing is known of how
	// Telnyx fares, and most is where we stop to count them.
	fewest = 16
	most   = 1024
	// catchUp is how much of a delay of ours, of a timer say, is made up for by
	// letting calls go closer to each other.
	catchUp = 50 * time.Millisecond
	// leastPart of the share is reckoned with, though other replicas may leave less:
	// who comes back too soon is told again, who comes too late has lost his time.
	leastPart = 8
	// remembered is for how long after the replicas had no room for us their window
	// may be away until each of them takes the limit for its own.
	remembered = 30 * time.Second
	// allCounted is a share that counts a call and holds nobody up: as many as
	// replicas count together.
	allCounted = 100_000
	// never is not until something ends.
	never = time.Duration(math.MaxInt64)
)

// opens says when a call may be made, if it is the first in line. It needs p.mu.
func (p *Pacer) opens(at time.Duration, background bool) time.Duration {
	when := max(at, p.limit.opens(at), p.heldByAll)
	if background {
		when = max(when, p.heldBackground)
	}
	if p.few > 0 && p.inFlight >= p.few {
		return never
	}
	share := p.shareOf(at, background)
	if share == 0 {
		return when
	}
	p.tally.slide(at)
	return max(when, p.tally.opens(at, share, 0))
}

// shareOf is how many calls may be counted in a window at most when one is made
// here; 0 while no limit is known. While the window that replicas count in is away for a
// moment it is three quarters of our part: each would use all of the limit else, parts
// are as large as they last were and not all large at once, and 429s cost more than is
// left unused.
func (p *Pacer) shareOf(at time.Duration, background bool) int {
	share := p.shareOfAll(at, background)
	if p.alone && p.crowdedAt > 0 && at < p.crowdedAt+remembered {
		return min(share, max(1, p.part*3/4))
	}
	return share
}

// shareOfAll is the same for all replicas together.
func (p *Pacer) shareOfAll(at time.Duration, background bool) int {
	share := p.limit.share(at)
	if background && share > 1 {
		return share / 2
	}
	return share
}

// begin lets a call in.
func (p *Pacer) begin(at time.Duration, w *waiter) {
	if p.inFlight == 0 {
		p.heard = at // nobody has waited for an answer until now
	}
	p.inFlight++
	p.underWay[w.about] = at
	p.limit.spare--
	p.tally.add(at, 1)
	p.begun.add(at)
	p.breaker.begin(at, w.about, w.background)
}

// end takes in that a call has ended, and returns how long it took. One that took
// longer than others may have come to Telnyx later by as much, so it is counted as
// made that much later: when calls that were held up come together with others, no
// window has more than its share. How much is bounded, because it may as well have
// taken its time at Telnyx.
func (p *Pacer) end(at time.Duration, about telnyx.CredentialID) (took time.Duration) {
	p.inFlight = max(0, p.inFlight-1)
	began, ok := p.underWay[about]
	if !ok {
		return 0 // another of the same credential's has ended before it
	}
	delete(p.underWay, about)
	took = at - began
	if late := min(took-p.quickest.of(at, took), p.span/4); late > p.tally.width {
		p.tally.move(began, began+late)
	}
	return took
}

// serve lets those in whose turn it is: logins first. They go one after the other,
// evenly, because who goes all at once comes all at once again a window later.
func (p *Pacer) serve(at time.Duration) {
	sent := 0
	for {
		w := p.logins.first()
		if w == nil {
			w = p.others.first()
		}
		if w == nil {
			return
		}
		when := max(p.opens(at, w.background), p.pace)
		switch {
		case when <= at:
			p.lineOf(w).leave(w)
			p.begin(at, w)
			if p.pace < at-catchUp {
				p.pace = at // it was something else that held them up
			}
			p.pace += p.pacing(at)
			w.turn <- nil
		case when == never:
			return // whoever leaves calls serve
		case when > w.deadline:
			p.lineOf(w).leave(w)
			w.turn <- p.sendAway(at, w, sent)
			sent++
		default:
			p.wake(at, when)
			return
		}
	}
}

// sendAllAway empties the line.
func (p *Pacer) sendAllAway(why func() error) {
	for _, l := range []*line{&p.logins, &p.others} {
		for _, w := range *l {
			w.index = -1
			w.turn <- why()
		}
		*l = nil
	}
}

// wake has serve called at that time.
func (p *Pacer) wake(at, when time.Duration) {
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(when-at, p.woken)
	case p.wakes > at && p.wakes <= when:
		return
	default:
		p.timer.Reset(when - at)
	}
	p.wakes = when
}

func (p *Pacer) woken() {
	p.mu.Lock()
	defer p.unlock()
	p.wakes = 0
	if !p.closed {
		p.serve(p.at())
	}
}

// ahead is how many go before a call, so far as can be told: who was told to come
// back is before all newcomers, and among his like has come about when he should.
func (p *Pacer) ahead(w *waiter) int {
	switch {
	case w.background:
		return len(p.logins) + p.promises.owed + p.others.before(w.place)
	case w.newcomer:
		return p.logins.before(w.place) + p.expected()
	}
	return p.logins.before(w.place)
}

// expected is how many of those who were told to come back go before a newcomer.
// With replicas most of them come to another one, and are newcomers there: who is
// told too late a turn has lost his time, and room goes unused meanwhile.
func (p *Pacer) expected() int {
	if p.shared != nil {
		return p.promises.owed * 5 / 8
	}
	return p.promises.owed
}

// turn says when a call can be made that has so many ahead of it.
func (p *Pacer) turn(at time.Duration, w *waiter, ahead int) time.Duration {
	when := max(at, p.limit.opens(at), p.heldByAll, p.pace) + time.Duration(ahead)*p.gap(at)
	if share := p.shareOf(at, w.background); share > 0 {
		p.tally.slide(at)
		when = max(when, p.tally.opens(at, share, ahead))
	}
	return when
}

// pacing is the time between two calls of those in line: a little less than would
// be even, so that room that nobody came for can be made up for.
func (p *Pacer) pacing(at time.Duration) time.Duration {
	share := p.limit.share(at)
	if share == 0 {
		return 0
	}
	return p.tally.period() * 4 / 5 / time.Duration(share)
}

// gap is the time between two calls as far as we can tell: other replicas may use
// a part of the limit. While none is known it is short, because twice as many go
// with every answer; who comes back too soon is told again when more is known.
func (p *Pacer) gap(at time.Duration) time.Duration {
	share := p.limit.share(at)
	if share == 0 {
		return time.Second / most
	}
	share = max(share, p.limit.healed())
	if p.part > 0 {
		share = min(share, max(p.part, share/leastPart))
	}
	return p.tally.period() / time.Duration(share)
}

// counted reports whether the replicas together have room for a call that was let
// in here. If not, it goes back to its place.
func (p *Pacer) counted(ctx context.Context, w *waiter) bool {
	if p.shared == nil {
		return true
	}
	p.mu.Lock()
	share, span, few := p.shareOfAll(p.at(), w.background), p.limit.span, p.few > 0
	p.unlock()
	switch {
	case share == 0 && few: // it is counted all the same, for when a limit is known
		share, span = allCounted, time.Second
	case share == 0:
		return true
	}
	wait, ok := p.shared.Take(ctx, share, span)
	p.mu.Lock()
	defer p.unlock()
	p.alone = !ok
	switch {
	case !ok:
		return true
	case wait <= 0:
		p.part = max(p.part, p.tally.total)
		return true
	}
	p.takeBack(w, p.at()+min(wait, 2*span))
	return false
}

// takeBack undoes begin for a call for which the replicas have no room until then.
func (p *Pacer) takeBack(w *waiter, until time.Duration) {
	p.inFlight = max(0, p.inFlight-1)
	delete(p.underWay, w.about)
	p.tally.takeBack()
	p.breaker.end(w.about)
	if w.background {
		p.heldBackground = until
	} else {
		p.heldByAll = until + p.gap(p.at())/2 // others are told the same, and there is room for one
		p.learnPart()
	}
}

// learnPart takes in what the other replicas leave us: on average over some spans,
// because in one it may be anything.
func (p *Pacer) learnPart() {
	at := p.at()
	p.crowdedAt = at
	share := p.limit.share(at)
	switch {
	case p.part == 0:
		p.part = share
	case at < p.partAt+p.span:
		return
	}
	p.partAt = at
	p.part = max(1, share/leastPart, (3*p.part+p.tally.total)/4)
}
