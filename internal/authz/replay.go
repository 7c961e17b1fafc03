package authz

import (
	"sync"
	"time"
)

// Bounds of the memory of used proofs.
const (
	// maxProofs is how many a generation holds: 3,700 a second, in 45 MiB if
	// every one is another user's.
	maxProofs = 1 << 18
	// maxProofsPerUser is how many of them may be one user's, who could otherwise
	// fill the memory for everybody: with one bearer or many, by one key or many.
	maxProofsPerUser = 1 << 10
)

// replays remembers the proofs that were accepted for as long as they could be
// accepted again. It is two generations: what is new goes into the recent one,
// which becomes the older one after a proofLife, and is dropped after another.
type replays struct {
	life  time.Duration // how long a proof can be accepted
	limit int           // proofs in a generation

	mu            sync.Mutex
	since         time.Time // when recent began
	recent, older generation
	forgotten     time.Time // the newest iat of all that was dropped
}

type generation struct {
	proofs map[digest]struct{}
	users  map[string]int // how many of the proofs are each user's
	newest time.Time      // the latest iat among them
}

func newReplays(life time.Duration, limit int) *replays {
	return &replays{life: life, limit: limit, recent: newGeneration(), older: newGeneration()}
}

func newGeneration() generation {
	return generation{proofs: make(map[digest]struct{}), users: make(map[string]int)}
}

// admit returns nil for a proof that was never admitted before, and remembers
// it. What cannot be remembered is refused with ErrBusy: to forget another one
// for it would let that one pass again.
func (r *replays) admit(proof digest, user string, issuedAt, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	switch {
	case r.remembers(proof):
		return invalid(ReasonProofReplayed)
	case !issuedAt.After(r.forgotten):
		// It might be one that we forgot. Can only be if our clock was set back,
		// or if the caller was held up since it looked at the clock.
		return invalid(ReasonProofTime)
	case len(r.recent.proofs) >= r.limit, r.recent.users[user] >= maxProofsPerUser:
		return ErrBusy
	}
	r.recent.proofs[proof] = struct{}{}
	r.recent.users[user]++
	if issuedAt.After(r.recent.newest) {
		r.recent.newest = issuedAt
	}
	return nil
}

func (r *replays) remembers(proof digest) bool {
	_, recent := r.recent.proofs[proof]
	_, older := r.older.proofs[proof]
	return recent || older
}

// turn begins a new generation when it is time.
func (r *replays) turn(now time.Time) {
	if now.Sub(r.since) < r.life {
		return
	}
	if r.older.newest.After(r.forgotten) {
		r.forgotten = r.older.newest
	}
	r.since, r.recent, r.older = now, newGeneration(), r.recent
}
