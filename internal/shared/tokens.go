package shared

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// markLife is how long a mark keeps out what was minted before it: longer than any
// mint takes.
const markLife = telnyx.MaxTimeout + time.Minute

// putScript stores an entry unless what is in it was asked for before the last
// Forget. Names: the entry, the mark. Arguments: the entry, its life, the mint's age,
// both in milliseconds. Ages and Redis's own clock, because replicas' clocks differ. A
// mark that is still to come is none of ours.
// A number is written out since Lua would round it.
const putScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mark = tonumber(redis.call('GET', KEYS[2]) or '')
if mark and mark >= now - ARGV[3] and mark <= now then
	return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

// forgetScript removes an entry and leaves a mark. Names: the entry, the mark.
// Argument: the mark's life in milliseconds.
const forgetScript = `
redis.call('DEL', KEYS[1])
local now = redis.call('TIME')
redis.call('SET', KEYS[2], string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)), 'PX', ARGV[1])
return 1`

// Take returns the token that is shared for the credential, and when its mint began.
func (r *Redis) Take(ctx context.Context, id telnyx.CredentialID) (token telnyx.LoginToken, since time.Time, ok bool) {
	if r.keys == nil || r.lost.has(id) {
		return telnyx.LoginToken{}, time.Time{}, false
	}
	// One byte more than an entry can have tells one that is too large, without
	// reading all of it.
	answer, err := r.ask(ctx, func(ctx context.Context, c rueidis.Client) rueidis.RedisResult {
		return c.Do(ctx, c.B().Getrange().Key(r.name(tokenName, id.String())).Start(0).End(maxEntry).Build())
	})
	if err != nil {
		if refusalOf(err) == errType { //nolint:errorlint // it is that very one
			r.onRefused(Unreadable)
		}
		return telnyx.LoginToken{}, time.Time{}, false
	}
	entry, err := answer.AsBytes()
	if err != nil || len(entry) == 0 {
		return telnyx.LoginToken{}, time.Time{}, false
	}
	token, since, refused := r.open(id, entry)
	if refused != "" {
		r.onRefused(refused)
		return telnyx.LoginToken{}, time.Time{}, false
	}
	if !since.After(r.lost.before()) {
		return telnyx.LoginToken{}, time.Time{}, false
	}
	return token, since, true
}

// Put shares a token whose mint began at since. It takes the place of whatever is
// there.
func (r *Redis) Put(ctx context.Context, id telnyx.CredentialID, token telnyx.LoginToken, since time.Time) {
	now := r.now()
	life := token.ExpiresAt.Sub(now)
	if r.keys == nil || life < time.Millisecond || token.JWT.Len() > telnyx.MaxTokenBytes || !r.Up() {
		return
	}
	entry, err := r.seal(id, token, since)
	if err != nil {
		return
	}
	_, _ = r.run(ctx, r.scripts.put, r.namesOf(id), string(entry), milliseconds(life), milliseconds(max(now.Sub(since), 0)))
}

// Forget takes the credential's token away, and keeps out one whose mint began
// before, on whichever replica. If Redis does not answer, this process takes no
// token of the credential's from it until it does, and has it forget then.
func (r *Redis) Forget(ctx context.Context, id telnyx.CredentialID) {
	if r.keys == nil {
		return
	}
	// Noted first: until it is done nobody here may take the token.
	turn := r.lost.add(id, r.now())
	r.forget(ctx, id, turn)
}

func (r *Redis) forget(ctx context.Context, id telnyx.CredentialID, turn uint64) bool {
	_, err := r.run(ctx, r.scripts.forget, r.namesOf(id), milliseconds(markLife))
	if err == nil {
		r.lost.remove(id, turn)
	}
	return err == nil
}

// forgetLost forgets what could not be forgotten when it should have been.
func (r *Redis) forgetLost(ctx context.Context) {
	for id, turn := range r.lost.some() {
		if !r.forget(ctx, id, turn) {
			return
		}
	}
}

const (
	tokenName = "token"
	markName  = "forgotten"
	claimName = "claim"
)

func (r *Redis) namesOf(id telnyx.CredentialID) []string {
	return []string{r.name(tokenName, id.String()), r.name(markName, id.String())}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
