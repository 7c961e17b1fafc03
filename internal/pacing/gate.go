package pacing

import (
	"context"
	"errors"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Why an attempt is withheld.
var (
	errInLine = errors.New("too many are in line before it")
	errHeld   = errors.New("telnyx has asked to be left alone for so long")
	errDown   = errors.New("none is made until telnyx is seen to answer again")
	errClosed = errors.New("the service is stopping")
)

// callTime is what a call is left of its time when it has waited in line.
const callTime = time.Second

// A Gate is one way in. All ways lead into the same window.
type Gate struct {
	pacer      *Pacer
	background bool
}

// Logins is for the calls that somebody waits for.
func (p *Pacer) Logins() *Gate { return &Gate{p, false} }

// Background is for the calls that nobody waits for: they go when no login waits
// and less than half of what we may use of the window is used.
func (p *Pacer) Background() *Gate { return &Gate{p, true} }

// Enter waits for the turn of a call about that credential. Its error is made by
// telnyx.Withheld, or the context's. Who gets telnyx.ErrLimited has a place in
// line, under the credential: his turn is when the RetryAfter is over, or a little
// later, and then nobody goes before him who came after him.
func (g *Gate) Enter(ctx context.Context, about telnyx.CredentialID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := waiter{about: about, background: g.background, index: -1}
	for {
		if err := g.pacer.enter(ctx, &w); err != nil {
			return err
		}
		if g.pacer.counted(ctx, &w) {
			return nil
		}
	}
}

// Leave is told how an attempt ended that Enter let in.
func (g *Gate) Leave(a telnyx.Attempt) { g.pacer.leave(a, g.background) }

// enter lets a call in, as far as this process alone can tell.
func (p *Pacer) enter(ctx context.Context, w *waiter) error {
	p.mu.Lock()
	in, err := p.ask(ctx, w)
	p.unlock()
	if in || err != nil {
		return err
	}
	timer := time.NewTimer(w.deadline - p.at())
	defer timer.Stop()
	select {
	case err := <-w.turn:
		return err
	case <-ctx.Done():
		return p.stopWaiting(w, func(time.Duration) error { return ctx.Err() })
	case <-timer.C:
		return p.stopWaiting(w, func(at time.Duration) error { return p.sendAway(at, w, p.logins.before(w.place)) })
	}
}

// stopWaiting takes a waiter out of line, and returns what becomes of it: why says,
// unless its turn has come in the same moment.
func (p *Pacer) stopWaiting(w *waiter, why func(at time.Duration) error) error {
	p.mu.Lock()
	defer p.unlock()
	if !p.lineOf(w).leave(w) {
		return <-w.turn
	}
	at := p.at()
	defer p.serve(at) // somebody else may be the first now
	return why(at)
}

// ask lets a call in, or puts it in line, or sends it away. It needs p.mu.
func (p *Pacer) ask(ctx context.Context, w *waiter) (in bool, err error) {
	at := p.at()
	if p.closed {
		return false, telnyx.Withheld(telnyx.ErrUnavailable, time.Second, errClosed)
	}
	if until, refused := p.breaker.refuses(at, w.background); refused {
		return false, p.down(at, until)
	}
	if p.breaker.state == HalfOpen {
		if until := p.limit.opens(at); until > at {
			return false, p.down(at, until)
		}
		p.begin(at, w)
		return true, nil
	}
	due := p.findPlace(at, w)
	if len(p.logins) == 0 && (!w.background || len(p.others) == 0) && p.opens(at, w.background) <= at {
		p.begin(at, w)
		return true, nil
	}
	ahead := p.ahead(w)
	if w.deadline == 0 {
		w.deadline = deadline(ctx, at, p.maxWait)
	}
	turn := max(due, p.turn(at, w, ahead))
	if turn > w.deadline || !p.makeRoom(at, w) {
		return false, p.promise(at, w, turn)
	}
	w.turn = make(chan error, 1)
	p.lineOf(w).join(w)
	p.serve(at)
	return false, nil
}

// findPlace gives a call its place in line: that which it was promised, or the
// last. It says when a promised turn is.
func (p *Pacer) findPlace(at time.Duration, w *waiter) (due time.Duration) {
	if w.place != 0 {
		return 0
	}
	if !w.background {
		if place, due, ok := p.promises.take(at, w.about); ok {
			w.place = place
			return due
		}
	}
	p.lastPlace++
	w.place, w.newcomer = p.lastPlace, true
	return 0
}

// deadline is when a call stops waiting in line.
func deadline(ctx context.Context, at, most time.Duration) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(end)-callTime)
	}
	return at + most
}

// makeRoom reports whether a call may join the line. When that is full, whoever
// would go last makes room for one that goes before him.
func (p *Pacer) makeRoom(at time.Duration, w *waiter) bool {
	if len(p.logins)+len(p.others) < p.maxWaiting {
		return true
	}
	if w.background {
		return false
	}
	last := p.others.last
	if len(p.others) == 0 {
		last = p.logins.last
	}
	out := last()
	if !out.background && out.place < w.place {
		return false
	}
	p.lineOf(out).leave(out)
	out.turn <- p.sendAway(at, out, p.ahead(out))
	return true
}

// sendAway is the error of a call that is not let in, with so many ahead of it.
func (p *Pacer) sendAway(at time.Duration, w *waiter, ahead int) error {
	return p.promise(at, w, p.turn(at, w, ahead))
}

// promise remembers a call's place until its turn, and is the error that says when
// to come back: a little before, because whole seconds are rounded up, and who is
// early waits here. Nobody waits for a background call, so it keeps no place.
func (p *Pacer) promise(at time.Duration, w *waiter, turn time.Duration) error {
	if !w.background && !w.about.IsZero() { // it would be anybody's who comes for none
		p.promises.remember(at, w.about, w.place, turn)
	}
	gap := p.gap(at)
	early := min(p.maxWait, time.Duration(p.maxWaiting)*gap) / 2
	return telnyx.Withheld(p.kindOfWait(at), max(turn-early-at, gap, time.Millisecond), p.whyWait(at))
}

// whyWait is what a call waits for.
func (p *Pacer) whyWait(at time.Duration) error {
	if len(p.logins) == 0 && p.limit.held > at {
		return errHeld
	}
	return errInLine
}

// kindOfWait is what keeps calls from being made: the limit, or, as long as only a
// few may be under way, that Telnyx leaves these without an answer.
func (p *Pacer) kindOfWait(at time.Duration) error {
	if p.few > 0 && p.inFlight >= p.few && at-p.heard >= time.Second {
		return telnyx.ErrTimeout
	}
	return telnyx.ErrLimited
}

// down is the error of a call that the breaker refuses: of one kind for all, for as
// long as it is not closed.
func (p *Pacer) down(at, until time.Duration) error {
	return telnyx.Withheld(p.breaker.kind, max(until-at, 0)+jitter(openFor), errDown)
}

// leave takes in how an attempt ended.
func (p *Pacer) leave(a telnyx.Attempt, background bool) {
	p.mu.Lock()
	defer p.unlock()
	at := p.at()
	p.tally.slide(at)
	took := p.end(at, a.About)
	p.limit.learn(at, a, took, p.tally.total, min(p.inFlight, p.begun.rate(at)))
	p.follow()
	switch is := func(kind error) bool { return errors.Is(a.Kind, kind) }; {
	case a.Kind == nil, is(telnyx.ErrCredentialRejected), is(telnyx.ErrKeyRejected):
		p.good.add(at)
		p.heardFrom(at, a.About)
		p.more()
	case is(telnyx.ErrLimited):
		p.heardFrom(at, a.About)
		p.slowDown(at, a, background)
	case is(telnyx.ErrUnavailable), is(telnyx.ErrTimeout):
		if p.breaker.fail(at, a.About, a.Kind) {
			p.sendAllAway(func() error { return p.down(at, p.breaker.due) })
		}
	default: // it says nothing of Telnyx
		p.breaker.end(a.About)
	}
	p.serve(at)
}

// heardFrom takes in that Telnyx answered.
func (p *Pacer) heardFrom(at time.Duration, about telnyx.CredentialID) {
	p.heard = at
	if p.breaker.answer(at, about) {
		// Those of before may hang for a while yet, and are not counted against it.
		p.few = p.inFlight + fewest
	}
}

// more lets one more call be under way for each that went well, which doubles them
// from one answer to the next, until there is no reason to count any more.
func (p *Pacer) more() {
	if p.few == 0 {
		return
	}
	if p.few++; p.few > most {
		p.few = 0
	}
}

// slowDown takes in a 429. Whoever got it keeps his place, before all others.
func (p *Pacer) slowDown(at time.Duration, a telnyx.Attempt, background bool) {
	p.limit.limited(at, a.RetryAfter, p.good.rate(at))
	p.follow()
	if !background && !a.About.IsZero() {
		p.firstPlace--
		p.promises.remember(at, a.About, p.firstPlace, p.limit.held)
	}
}

// follow has the tally count over the span of the limit.
func (p *Pacer) follow() {
	if span := p.limit.span; span != p.span && span > 0 {
		p.tally, p.span = p.tally.spread(p.at(), span), span
	}
}
