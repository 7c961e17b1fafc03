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
	"errors"
	"fmt"
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
type Pacer struct{ cfg Config }

// New returns a Pacer that knows nothing of Telnyx yet.
func New(cfg Config) (*Pacer, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("pacing: %w", err)
	}
	return &Pacer{cfg: cfg}, nil
}

func (cfg Config) check() error {
	switch {
	case cfg.MaxWaiting < 0 || cfg.MaxWaiting > MaxMaxWaiting:
		return fmt.Errorf("MaxWaiting must be between 1 and %d", MaxMaxWaiting)
	case cfg.MaxWait < 0 || cfg.MaxWait > MaxMaxWait:
		return errors.New("MaxWait must be positive and at most a minute")
	}
	return nil
}

// Close frees all who wait, and lets nobody in any more.
func (p *Pacer) Close() {}

// State returns how things are.
func (p *Pacer) State() State { return State{Breaker: Closed} }

// A Gate is one way in. All ways lead into the same window.
type Gate struct {
	pacer      *Pacer
	background bool
}

// Logins is for the calls that somebody waits for.
func (p *Pacer) Logins() *Gate { return &Gate{p, false} }

// Background is for the calls that nobody waits for: they go when no login waits,
// and use half of the window at most.
func (p *Pacer) Background() *Gate { return &Gate{p, true} }

// Enter waits for the turn of a call about that credential. Its error is made by
// telnyx.Withheld, or the context's.
func (g *Gate) Enter(ctx context.Context, about telnyx.CredentialID) error { return ctx.Err() }

// Leave is told how an attempt ended that Enter let in.
func (g *Gate) Leave(telnyx.Attempt) {}
