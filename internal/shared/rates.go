package shared

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"
)

// allowScript keeps a rate. Name: the time, in microseconds by Redis's clock, at
// which whatever was let through would have been if it had come evenly. Arguments:
// the time between two, and how far that time may run ahead, both in microseconds.
// It answers how long to wait.
//
// A time that lies further ahead than it ever gets, after the clock was set back or
// somebody has written here, is set to the furthest.
const allowScript = `
local gap, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function set(at)
	redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
end
local at = tonumber(redis.call('GET', KEYS[1]) or '')
if not at or not (at > now) then at = now end
if at > now + ahead then
	at = now + ahead
	set(at)
end
if at + gap > now + ahead then
	return math.ceil(at + gap - now - ahead)
end
set(at + gap)
return 0`

// Allow counts one request of the key's, of which perMinute are allowed in the long
// run and burst at once, and says how long it would have to wait: zero if it is
// allowed. Who waits has not been counted. Not ok means that it cannot be told now.
func (r *Redis) Allow(ctx context.Context, kind, key string, perMinute, burst int) (wait time.Duration, ok bool) {
	if perMinute < 1 || burst < 1 || !r.Up() {
		return 0, false
	}
	gap := max(time.Minute/time.Duration(perMinute), time.Microsecond)
	micros, err := r.run(ctx, r.scripts.allow, []string{r.name("rate", kind+":"+r.hide(kind, key))},
		strconv.FormatInt(gap.Microseconds(), 10), strconv.FormatInt(gap.Microseconds()*int64(burst), 10))
	if err != nil || micros < 0 {
		return 0, false
	}
	return min(time.Duration(micros)*time.Microsecond, gap), true
}

// hide makes a name of a key that says nothing of it: with a sealing key not even to
// somebody who tries all addresses and all names.
func (r *Redis) hide(kind, key string) string {
	var with []byte
	if r.keys != nil {
		if keys := r.keys(); goodKeys(keys) {
			with = []byte(keys[0].Reveal())
		}
	}
	hash := hmac.New(sha256.New, with)
	hash.Write([]byte("tokensvc rate 1\n" + kind + "\n" + key))
	return base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16])
}
