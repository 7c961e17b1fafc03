package shared

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// leaseLife is for how long others wait in vain for a holder that was killed.
	leaseLife = 3 * time.Second
	// renewEvery leaves room for a renewal that fails.
	renewEvery = leaseLife / 3
	// maxHeld is for how long a lease is renewed at most: no mint takes longer.
	maxHeld = telnyx.MaxTimeout
)

// Names: the lease. Arguments: the holder, and to take or renew it, its life in
// milliseconds. One that would last for longer is none of ours. A lease that has lapsed
// may be another's by now.
const (
	claimScript = `
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left <= tonumber(ARGV[2]) then
	return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`
	renewScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0`
	releaseScript = `
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('DEL', KEYS[1])
end
return 0`
)

// Claim asks for the right to mint a token for the credential. Not ok means that
// another replica has it: until it releases it, or for 3 seconds if that replica
// dies. While Redis is away everybody is granted it. release is never nil, and may
// be called more than once.
func (r *Redis) Claim(ctx context.Context, id telnyx.CredentialID) (release func(), ok bool) {
	if r.keys == nil || !r.Up() {
		return func() {}, true
	}
	l := &lease{redis: r, name: r.name(claimName, id.String()), holder: rand.Text(), until: time.Now().Add(maxHeld)}
	granted, err := r.run(ctx, r.scripts.claim, []string{l.name}, l.holder, milliseconds(leaseLife))
	if err == nil && granted == 0 {
		return func() {}, false
	}
	if err == nil {
		l.renewLater()
	}
	// After another error it may be ours all the same, and then it is released.
	return l.release, true
}

// A lease is the right to mint that this process holds.
type lease struct {
	redis        *Redis
	name, holder string
	until        time.Time

	mu    sync.Mutex
	timer *time.Timer
	over  bool
}

// renewLater renews the lease in a while, and so on. Most are released before.
func (l *lease) renewLater() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over && time.Now().Before(l.until) {
		l.timer = time.AfterFunc(renewEvery, l.renew)
	}
}

func (l *lease) renew() {
	renewed, err := l.redis.run(context.Background(), l.redis.scripts.renew, []string{l.name}, l.holder, milliseconds(leaseLife))
	if err == nil && renewed == 0 {
		return // it has lapsed
	}
	l.renewLater()
}

func (l *lease) release() {
	l.mu.Lock()
	done := l.over
	l.over = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	if !done {
		_, _ = l.redis.run(context.Background(), l.redis.scripts.release, []string{l.name}, l.holder)
	}
}
