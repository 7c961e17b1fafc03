package shared

import (
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// maxLost bounds how many credentials are remembered that Redis has not been
	// able to forget. Beyond it, this process takes no token any more that is older
	// than that moment.
	maxLost = 10_000
	// someLost is how many of them are tried again at once.
	someLost = 256
)

// lost are the credentials whose tokens are to be forgotten and may still be in
// Redis.
type lost struct {
	mu      sync.Mutex
	ids     map[telnyx.CredentialID]uint64 // by turns, so that a later one is not taken for done with an earlier
	turn    uint64
	barrier time.Time
}

func (l *lost) add(id telnyx.CredentialID, now time.Time) (turn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.ids[id]; !known && len(l.ids) >= maxLost || l.ids == nil {
		if l.ids != nil {
			l.barrier = now
		}
		l.ids = map[telnyx.CredentialID]uint64{}
	}
	l.turn++
	l.ids[id] = l.turn
	return l.turn
}

func (l *lost) remove(id telnyx.CredentialID, turn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids[id] == turn {
		delete(l.ids, id)
	}
}

func (l *lost) has(id telnyx.CredentialID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, has := l.ids[id]
	return has
}

// before is the time since which a token must have been minted to be taken: zero
// unless more was lost than can be remembered.
func (l *lost) before() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.barrier
}

func (l *lost) some() map[telnyx.CredentialID]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	some := map[telnyx.CredentialID]uint64{}
	for id, turn := range l.ids {
		if len(some) == someLost {
			break
		}
		some[id] = turn
	}
	return some
}
