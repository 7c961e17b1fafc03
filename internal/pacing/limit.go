package pacing

import (
	"math"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// margin is the part of Telnyx's limit that we use. The rest is for calls that
	// travel faster than those before them.
	margin = 0.95
	// cut is what 429s that come together leave of our share at least: each takes
	// as much as weight calls. A few are of calls that were held up on the way; many
	// mean that there is less for us than we think. floor is what is always left.
	cut    = 0.7
	weight = 10
	floor  = 0.05
	// What one cut took comes back within recovery, or in as many windows.
	recovery        = 30 * time.Second
	recoveryWindows = 5
	// pause is how long nothing is asked after a 429 that does not say.
	pause = time.Second
	// guessedSpan is the window of a limit that was guessed: what went well in the
	// last second, but no less than leastGuess, in which there is room to find out.
	// A guess grows by guessGrowth calls each second at least, and is forgotten when
	// it has doubled without a 429. After 429s in a row with nothing that went well
	// among them it was no such limit that was met, and the guess says little of what
	// is allowed when they are over: it doubles each second, until the next 429.
	guessedSpan = time.Second
	leastGuess  = fewest
	guessGrowth = 0.25
	guessForget = 2
	// The largest reset of two generations is the window's length. Each has so many
	// answers and windows, so that a window that has become shorter is noticed.
	generationAnswers = 200
	generationWindows = 10
)

// A limit is what is known of Telnyx's. Times are since the Pacer began.
type limit struct {
	most    int           // calls in a span; 0 while none is known
	span    time.Duration // the length of Telnyx's window
	guessed bool          // from a 429 that said nothing

	reset, older time.Duration // the largest of this generation, and of the one before
	answers      int           // of this generation
	since        time.Duration // when it began

	factor   float64 // of our share when it was last cut
	cutAt    time.Duration
	uncut    float64       // the factor before that
	nothing  bool          // nothing had gone well before that
	cutAgain time.Duration // 429s before that are of calls sent before the cut

	held time.Duration // Telnyx told us to wait until then

	remaining int           // what Telnyx last said is left
	spare     int           // of it, what we have not sent since
	until     time.Duration // when remaining is no longer true
}

// learn takes in what an answer says of the limit that has taken so long, when we
// have made so many calls in the last span, and so many are under way.
func (l *limit) learn(at time.Duration, a telnyx.Attempt, took time.Duration, ours, underWay int) {
	if a.Limit == 0 {
		return
	}
	reset := max(a.Reset, time.Second)
	if l.most != a.Limit || l.guessed {
		l.most, l.guessed = a.Limit, false
		l.reset, l.older, l.answers, l.since = 0, 0, 0, at
		if l.factor == 0 || l.factor > 1 {
			l.factor = 1
		}
	}
	if l.answers >= generationAnswers && at-l.since >= generationWindows*l.span {
		l.reset, l.older, l.answers, l.since = 0, l.reset, 0, at
	}
	l.answers++
	l.reset = max(l.reset, reset)
	l.span = max(l.reset, l.older)
	// It was true when the call was counted, which is when it came: by now, if calls
	// take long and windows are short, it may be of a window that is over.
	l.remaining, l.until = a.Remaining, at+a.Reset-took
	// While the calls that are counted can all be ours, to keep to our share is
	// enough. Else others use the account, and those of ours that are under way may
	// or may not be counted in what is left: assume not.
	l.spare = a.Limit
	if a.Limit-a.Remaining > ours {
		l.spare = a.Remaining - underWay
	}
}

// limited takes in a 429, met while so many calls went well a second.
func (l *limit) limited(at time.Duration, wait time.Duration, rate int) {
	if wait == 0 {
		wait = pause
	}
	l.held = max(l.held, at+wait)
	if l.share(at) == 0 {
		l.most, l.span, l.guessed, l.factor, l.cutAt = max(rate, leastGuess), guessedSpan, true, 1, at
	}
	if at >= l.cutAgain {
		l.uncut, l.cutAgain = l.factorAt(at), max(l.held, at+time.Second)
		l.factor, l.cutAt, l.nothing = l.uncut, at, rate == 0
	}
	less := weight / float64(l.most)
	if l.guessed {
		less = 1 // it was no more than a guess
	}
	l.factor = max(l.factor-less, l.uncut*cut, floor)
}

// factorAt is the part of our share that 429s leave us. It comes back slowly, by
// addition, and goes quickly, by multiplication: so those who share a limit without
// knowing of each other come to share it evenly.
func (l *limit) factorAt(at time.Duration) float64 {
	if l.factor >= 1 && !l.guessed {
		return 1
	}
	growth := (1 - cut) / max(recovery, recoveryWindows*l.span).Seconds()
	if l.guessed {
		growth = max(growth, guessGrowth/float64(l.most))
	}
	factor := l.factor + growth*(at-l.cutAt).Seconds()
	if l.guessed && l.nothing {
		factor = max(factor, l.factor*math.Exp2((at-max(l.cutAt, l.held)).Seconds()))
	}
	if l.guessed {
		return min(factor, guessForget)
	}
	return min(factor, 1)
}

// share is how many calls we make in a span at most; 0 while no limit is known.
func (l *limit) share(at time.Duration) int {
	factor := l.factorAt(at)
	if l.guessed && factor >= guessForget {
		l.most, l.span, l.guessed = 0, 0, false
	}
	if l.most == 0 {
		return 0
	}
	return max(1, int(margin*float64(l.most)*factor))
}

// healed is the share that is reckoned with for those who are told to come back: half
// of what the limit allows, though 429s have just cut it to less. That comes back while
// they are away, and a promise is not taken back.
func (l *limit) healed() int {
	if l.guessed {
		return 1
	}
	return max(1, int(margin*float64(l.most)/2))
}

// opens says when Telnyx would take a call, as far as it has told us.
func (l *limit) opens(at time.Duration) time.Duration {
	if l.spare <= 0 && at < l.until {
		return max(l.held, l.until)
	}
	return l.held
}
