// Package pacing keeps what is asked of Telnyx below what Telnyx allows, and
// leaves it alone while it is down. It learns the limit from Telnyx's answers.
// Whoever cannot go at once waits in line, and who would wait for too long is told
// when his turn comes, and has it then.
//
// A Pacer stands in front of the calls of internal/telnyx, as its Gate. It believes
// Telnyx's numbers within bounds, and knows credentials, and nothing of users.
package pacing

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Defaults and bounds of a Config.
const (
	DefaultMaxWaiting = 256
	DefaultMaxWait    = 2 * time.Second
	MaxMaxWaiting     = 1 << 16
	MaxMaxWait        = time.Minute
)

// window counts the calls made in the last span, for all replicas.
type window interface {
	// Take counts one call if fewer than most were counted in the last span, and
	// else says when there will be room. ok is false when it cannot be told now.
	Take(ctx context.Context, most int, span time.Duration) (wait time.Duration, ok bool)
}

// Config is what a Pacer needs. The zero value will do.
type Config struct {
	// MaxWaiting bounds the callers that wait in line. Default 256.
	MaxWaiting int
	// MaxWait bounds for how long one of them does. Default 2 s.
	MaxWait time.Duration
	// Window counts the calls of all replicas, which then keep to the limit
	// together. Default none: this process alone.
	Window window
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// OnChange is told when the breaker changes, and when a limit is learnt or
	// changes; from any goroutine. It must neither block nor panic. Default none.
	OnChange func(State)
}

// A Breaker is how calls are let through.
type Breaker string

// The states of the breaker.
const (
	Closed   Breaker = "closed"    // calls are made
	Open     Breaker = "open"      // Telnyx is down: none is made for a moment
	HalfOpen Breaker = "half-open" // one or two are made, to see whether it is back
)

// State is how things are.
type State struct {
	Limit     int           // calls that Telnyx allows in a Window; 0 while none is known
	Window    time.Duration // 0 while no limit is known
	Guessed   bool          // Telnyx has not said so: the limit is what it served before it refused
	Share     int           // calls we make in a Window at most; 0 while no limit is known
	Remaining int           // what Telnyx last said is left; Limit when it is not known
	Waiting   int           // callers in line
	Owed      int           // callers who were told when to come back, and are expected
	InFlight  int           // attempts that are being made
	Breaker   Breaker
	Since     time.Time // when the breaker became so
	Why       error     // why it is not closed: a kind of telnyx's; nil when it is
}

// A Pacer paces. It is safe for use by many goroutines.
type Pacer struct {
	maxWaiting int
	maxWait    time.Duration
	shared     window
	now        func() time.Time
	onChange   func(State)
	start      time.Time // all other times are since then

	mu       sync.Mutex // not held while anything waits
	closed   bool
	limit    limit
	tally    tally
	span     time.Duration // of the tally
	begun    meter
	good     meter // those that went well
	breaker  breaker
	inFlight int
	underWay map[telnyx.CredentialID]time.Duration // when those in flight were let in: of one credential, the last
	quickest quickest
	few      int           // so many may be in flight; 0 is any number
	heard    time.Duration // when Telnyx last answered, or the first call began

	logins, others        line
	promises              promises
	lastPlace, firstPlace int64
	pace                  time.Duration // when the next in line may go
	timer                 *time.Timer   // calls serve
	wakes                 time.Duration // when it does

	heldByAll, heldBackground time.Duration // the replicas together have no room until then
	part                      int           // of the share, what other replicas leave us; 0 is not known
	partAt                    time.Duration // when that was last looked at
	crowdedAt                 time.Duration // when the replicas last had no room for a call; 0 for never
	alone                     bool          // their window is away

	told change
}

// A change is what OnChange is told of.
type change struct {
	breaker Breaker
	limit   int
	window  time.Duration
	guessed bool
}

// New returns a Pacer that knows nothing of Telnyx yet.
func New(cfg Config) (*Pacer, error) {
	if cfg.MaxWaiting == 0 {
		cfg.MaxWaiting = DefaultMaxWaiting
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = DefaultMaxWait
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.MaxWaiting < 0 || cfg.MaxWaiting > MaxMaxWaiting:
		return nil, fmt.Errorf("pacing: MaxWaiting must be between 1 and %d", MaxMaxWaiting)
	case cfg.MaxWait < 0 || cfg.MaxWait > MaxMaxWait:
		return nil, fmt.Errorf("pacing: MaxWait must be positive and at most %v", MaxMaxWait)
	}
	return &Pacer{
		maxWaiting: cfg.MaxWaiting, maxWait: cfg.MaxWait, shared: cfg.Window, now: cfg.Now, onChange: cfg.OnChange,
		underWay: make(map[telnyx.CredentialID]time.Duration),
		start:    cfg.Now(), tally: newTally(unknownSpan), span: unknownSpan, breaker: breaker{state: Closed}, few: fewest,
		told: change{breaker: Closed},
	}, nil
}

// unknownSpan is over how long calls are counted before a limit is known: so that
// then those of the last minute are not forgotten.
const unknownSpan = time.Minute

// Close frees all who wait, and lets nobody in any more.
func (p *Pacer) Close() {
	p.mu.Lock()
	defer p.unlock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.sendAllAway(func() error { return telnyx.Withheld(telnyx.ErrUnavailable, time.Second, errClosed) })
	p.promises = promises{}
}

// State returns how things are.
func (p *Pacer) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state()
}

func (p *Pacer) state() State {
	at := p.at()
	p.promises.lapse(at)
	s := State{
		Limit: p.limit.most, Guessed: p.limit.guessed, Window: p.limit.span, Share: p.limit.share(at), Remaining: p.limit.most,
		Waiting: len(p.logins) + len(p.others), Owed: p.promises.owed, InFlight: p.inFlight,
		Breaker: p.breaker.state, Since: p.start.Add(p.breaker.since), Why: p.breaker.kind,
	}
	if at < p.limit.until {
		s.Remaining = p.limit.remaining
	}
	return s
}

// at is now, since the Pacer began; a clock that is set back stands at first.
func (p *Pacer) at() time.Duration { return max(0, p.now().Sub(p.start)) }

func (p *Pacer) lineOf(w *waiter) *line {
	if w.background {
		return &p.others
	}
	return &p.logins
}

// unlock unlocks p.mu and tells of what has changed.
func (p *Pacer) unlock() {
	is := change{p.breaker.state, p.limit.most, p.limit.span, p.limit.guessed}
	if is == p.told || p.onChange == nil {
		p.mu.Unlock()
		return
	}
	p.told = is
	state := p.state()
	p.mu.Unlock()
	p.onChange(state)
}
