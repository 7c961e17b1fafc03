package pacing

import (
	"math/rand/v2"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// distinct is how many credentials must fail before Telnyx is thought to be
	// down: for one that Telnyx chokes on nobody else is to suffer.
	distinct = 3
	// Or of so many calls in the last while, half fail.
	busyCalls = 20
	busyFor   = 10 // seconds
	// openFor, and up to as long again, is how long nothing is asked.
	openFor = time.Second
	// probeFor is how long a probe keeps another one from being made. It goes on
	// after that: a Telnyx that hangs answers none, and one that is slow does.
	probeFor = time.Second
	// maxProbes bounds the probes that are under way, the old ones included.
	maxProbes = 8
)

// A breaker lets nobody through while Telnyx is down, except for a probe now and
// then. It is ours and not a library's, because what it decides by is: whose calls
// fail, who probes, and when whoever was refused should come back. Times are since
// the Pacer began.
type breaker struct {
	state Breaker
	since time.Duration
	kind  error         // of the failures that opened it
	due   time.Duration // when the next probe is, while it is open

	failing  [distinct]failure
	failures int64 // how many there were
	answered int64 // how many there had been when Telnyx last answered
	seconds  [busyFor]second

	probes []probe // while it is half-open, oldest first
}

// A failure is the latest one of a credential.
type failure struct {
	about  telnyx.CredentialID
	number int64 // 0 is none
	at     time.Duration
}

// A second is what came of the calls that ended in it.
type second struct {
	number         int64
	failed, others int
}

type probe struct {
	about      telnyx.CredentialID
	background bool
	began      time.Duration
}

// refuses says whether a call must not be made now, and until when not.
func (b *breaker) refuses(at time.Duration, background bool) (until time.Duration, refused bool) {
	switch b.state {
	case Closed:
		return 0, false
	case Open:
		if at < b.due {
			return b.due, true
		}
		b.become(at, HalfOpen)
		return 0, false
	}
	if len(b.probes) >= maxProbes {
		return at + probeFor, true
	}
	for _, p := range b.probes {
		// A login need not wait for what came of a background call.
		if at < p.began+probeFor && (background || !p.background) {
			return p.began + probeFor, true
		}
	}
	return 0, false
}

// begin is told of a call that is made.
func (b *breaker) begin(at time.Duration, about telnyx.CredentialID, background bool) {
	if b.state == HalfOpen {
		b.probes = append(b.probes, probe{about, background, at})
	}
}

// end finds the probe that has ended, if it is one.
func (b *breaker) end(about telnyx.CredentialID) (p probe, was bool) {
	for i, p := range b.probes {
		if p.about == about {
			b.probes = append(b.probes[:i], b.probes[i+1:]...)
			return p, true
		}
	}
	return probe{}, false
}

// answer is told that Telnyx answered, and reports whether the breaker changed.
func (b *breaker) answer(at time.Duration, about telnyx.CredentialID) bool {
	switch b.state {
	case Closed:
		b.answered = b.failures
		b.count(at).others++
	case HalfOpen:
		if _, was := b.end(about); was {
			b.become(at, Closed)
			return true
		}
	}
	return false
}

// fail is told that Telnyx did not, and reports whether the breaker changed.
func (b *breaker) fail(at time.Duration, about telnyx.CredentialID, kind error) bool {
	switch b.state {
	case Closed:
		b.note(at, about)
		b.count(at).failed++
		if b.down(at) {
			b.kind = kind
			b.become(at, Open)
			return true
		}
	case HalfOpen:
		// One that another has followed says how things were when it was made.
		if p, was := b.end(about); was && at < p.began+probeFor {
			b.become(at, Open)
			return true
		}
	}
	return false
}

// down reports whether the failures so far mean that Telnyx is.
func (b *breaker) down(at time.Duration) bool {
	inARow, lately := 0, 0
	for _, f := range b.failing {
		if f.number > b.answered {
			inARow++
		}
		if f.number > 0 && at-f.at <= busyFor*time.Second {
			lately++
		}
	}
	if inARow == distinct {
		return true
	}
	failed, all := 0, 0
	for _, s := range b.seconds {
		if s.number > int64(at/time.Second)-busyFor {
			failed, all = failed+s.failed, all+s.failed+s.others
		}
	}
	return lately == distinct && all >= busyCalls && 2*failed >= all
}

// note remembers a failure in the place of the credential's last, or the oldest.
func (b *breaker) note(at time.Duration, about telnyx.CredentialID) {
	b.failures++
	place := &b.failing[0]
	for i := range b.failing {
		f := &b.failing[i]
		if f.number > 0 && f.about == about && !about.IsZero() { // calls about none are different ones
			place = f
			break
		}
		if f.number < place.number {
			place = f
		}
	}
	*place = failure{about, b.failures, at}
}

func (b *breaker) count(at time.Duration) *second {
	number := int64(at / time.Second)
	s := &b.seconds[number%busyFor]
	if s.number != number {
		*s = second{number: number}
	}
	return s
}

func (b *breaker) become(at time.Duration, state Breaker) {
	b.state, b.since, b.probes = state, at, b.probes[:0]
	switch state {
	case Closed:
		*b = breaker{state: Closed, since: at}
	case Open:
		b.due = at + openFor + jitter(openFor)
	}
}

// jitter keeps those who were turned away together from returning together.
func jitter(d time.Duration) time.Duration {
	return rand.N(d) //nolint:gosec // spreads load, guards nothing
}
