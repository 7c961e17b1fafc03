package shared

import (
	"context"
	"strconv"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// maxCounted bounds how many calls are counted of one name: their times are all
// kept, ten bytes each.
const maxCounted = 100_000

// callsScript counts a call. Names: a list of the times of the calls that were let
// through, in microseconds by Redis's clock, oldest first; the longest span that any
// replica counts over. Arguments: how many may be in the span, and the span in
// microseconds; how long that longest span is remembered, in milliseconds, and the most
// that it can be. It answers how long to wait.
//
// A replica that has just started counts over another span than those that know
// Telnyx's: it must not forget what they count. What is too old for all lies at the
// list's beginning and is found by halving. If the newest is not a time that has been,
// the clock was set back or somebody has written here, and all begins anew.
const callsScript = `
local list, longest = KEYS[1], KEYS[2]
local most, span, memory, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function at(i) return tonumber(redis.call('LINDEX', list, i) or '') end
local keep = math.min(tonumber(redis.call('GET', longest) or '') or 0, limit)
if span >= keep then
	keep = span
	redis.call('SET', longest, string.format('%.0f', span), 'PX', memory)
end
local n = redis.call('LLEN', list)
if n > 0 and (at(-1) or now + 1) > now then
	redis.call('DEL', list)
	n = 0
end
local function older(than)
	if n == 0 or (at(0) or 0) > than then return 0 end
	local low, high = 1, n
	while low < high do
		local middle = math.floor((low + high) / 2)
		if (at(middle) or 0) <= than then low = middle + 1 else high = middle end
	end
	return low
end
local gone = older(now - keep)
if gone > 0 then
	redis.call('LTRIM', list, gone, -1)
	n = n - gone
end
local counted = n
if keep > span then counted = n - older(now - span) end
if counted < most then
	redis.call('RPUSH', list, string.format('%.0f', now))
	redis.call('PEXPIRE', list, math.ceil(keep / 1000) + 1000)
	return 0
end
return math.max((at(n - most) or 0) + span - now, 1)`

const (
	// spanMemory is for how long the longest span is remembered after somebody counted
	// over it.
	spanMemory = 10 * time.Minute
	// maxSpan is the longest that Telnyx's window can be: see telnyx.MaxRetryAfter.
	maxSpan = telnyx.MaxRetryAfter
)

// Calls counts the calls of one name, for all replicas.
type Calls struct {
	redis         *Redis
	name, longest string
}

// Calls returns the counter of that name.
func (r *Redis) Calls(name string) *Calls {
	return &Calls{r, r.name("calls", name), r.name("span", name)}
}

// Take counts one call if fewer than most were counted in the last span, or else
// says when there will be room, as it looks now. Not ok means that it cannot be told:
// Redis is away, or most is more than 100,000.
func (c *Calls) Take(ctx context.Context, most int, span time.Duration) (wait time.Duration, ok bool) {
	if most < 1 || most > maxCounted || span < time.Millisecond {
		return 0, false
	}
	micros, err := c.redis.run(ctx, c.redis.scripts.calls, []string{c.name, c.longest},
		strconv.Itoa(most), strconv.FormatInt(span.Microseconds(), 10), milliseconds(spanMemory), strconv.FormatInt(maxSpan.Microseconds(), 10))
	if err != nil || micros < 0 {
		return 0, false
	}
	return min(time.Duration(micros)*time.Microsecond, span), true
}
