package shared

import (
	"context"
	"strconv"
	"time"
)

// maxCounted bounds how many calls are counted of one name: their times are all
// kept, ten bytes each.
const maxCounted = 100_000

// callsScript counts a call. Name: a list of the times of the calls that were let
// through, in microseconds by Redis's clock, oldest first. Arguments: how many may be
// in the list, and the span in microseconds. It answers how long to wait.
//
// Those that are too old lie at the list's beginning and are found by halving. If the
// newest is not a time that has been, the clock was set back or somebody has written
// here, and all begins anew.
const callsScript = `
local list, most, span = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function at(i) return tonumber(redis.call('LINDEX', list, i) or '') end
local n = redis.call('LLEN', list)
if n > 0 and (at(-1) or now + 1) > now then
	redis.call('DEL', list)
	n = 0
end
if n > 0 and (at(0) or 0) <= now - span then
	local low, high = 1, n
	while low < high do
		local middle = math.floor((low + high) / 2)
		if (at(middle) or 0) <= now - span then low = middle + 1 else high = middle end
	end
	redis.call('LTRIM', list, low, -1)
	n = n - low
end
if n < most then
	redis.call('RPUSH', list, string.format('%.0f', now))
	redis.call('PEXPIRE', list, math.ceil(span / 1000) + 1000)
	return 0
end
return math.max((at(n - most) or 0) + span - now, 1)`

// Calls counts the calls of one name, for all replicas.
type Calls struct {
	redis *Redis
	name  string
}

// Calls returns the counter of that name.
func (r *Redis) Calls(name string) *Calls { return &Calls{r, r.name("calls", name)} }

// Take counts one call if fewer than most were counted in the last span, or else
// says when there will be room, as it looks now. Not ok means that it cannot be told:
// Redis is away, or most is more than 100,000.
func (c *Calls) Take(ctx context.Context, most int, span time.Duration) (wait time.Duration, ok bool) {
	if most < 1 || most > maxCounted || span < time.Millisecond {
		return 0, false
	}
	micros, err := c.redis.run(ctx, c.redis.scripts.calls, []string{c.name}, strconv.Itoa(most), strconv.FormatInt(span.Microseconds(), 10))
	if err != nil || micros < 0 {
		return 0, false
	}
	return min(time.Duration(micros)*time.Microsecond, span), true
}
