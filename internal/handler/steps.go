package handler

import (
	"net/http"
	"strconv"
	"time"
)

// steps is how long the steps of a token's story took, 0 for one that was not
// reached. To verify is everything until the caller is known; to mint is to get a
// token from wherever it came, which takes no time if one was kept.
type steps struct {
	verify, directory, mint time.Duration

	lap time.Duration // when the step began that is being taken, after the request did
}

// begin begins a step that does not begin with the end of the one before. The first
// begins with the request.
func (s *steps) begin(request time.Time) { s.lap = time.Since(request) }

// took notes down how long a step took that ends now. It is never 0, whatever the clock.
func (s *steps) took(step *time.Duration, request time.Time) {
	now := time.Since(request)
	*step, s.lap = max(now-s.lap, 1), now
}

const timingHeader = "Server-Timing"

// tellSteps tells a verified caller how long the steps took, for a phone to show and
// for whoever wonders whose slow minute it was. Only for tokens in our own way: how
// long the directory takes over the id that Telnyx's way has in its path is nobody's
// business.
func (ev *event) tellSteps(h http.Header) {
	if ev.route != tokenRoute || ev.who == nil {
		return
	}
	var room [96]byte
	b := appendStep(room[:0], "verify", ev.steps.verify)
	if ev.steps.directory > 0 {
		b = appendStep(append(b, ", "...), "directory", ev.steps.directory)
	}
	if ev.steps.mint > 0 {
		b = appendStep(append(b, ", "...), "mint", ev.steps.mint)
	}
	ev.timing[0] = string(b)
	h[timingHeader] = ev.timing[:]
}

// appendStep appends a step as "verify;dur=0.041", in milliseconds.
func appendStep(b []byte, name string, took time.Duration) []byte {
	b = append(append(b, name...), ";dur="...)
	b = strconv.AppendInt(b, int64(took/time.Millisecond), 10)
	micros := int(took % time.Millisecond / time.Microsecond)
	return append(b, '.', byte('0'+micros/100), byte('0'+micros/10%10), byte('0'+micros%10))
}
