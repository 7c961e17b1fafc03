package handler

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/crash"
)

// endpoint answers one request, or returns why it does not, in which case it has
// written nothing.
type endpoint func(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error

// An intake is what every request gets, whatever it asks for: a deadline, a bound
// on how many there are, an answer whatever happens, and one log line, one
// metric and, of a decision, one record when it is over.
type intake struct {
	metrics  *Metrics
	log      zerolog.Logger
	trail    trail
	now      func() time.Time
	timeout  time.Duration
	room     int64 // how many requests may be in flight
	inFlight atomic.Int64
	client   func(*http.Request) netip.Addr // who sent a request
	dpop     bool                           // callers are told that bearers may be bound to a key
	traces   traces
	telnyx   string // what is below this path is refused in Telnyx's words; "" for none
}

// A place is where a request has come to.
type place struct {
	route     string
	decision  audit.What // what is decided there, or ""
	fromProxy bool       // it is on the trusted proxy's listener
}

// serve has an endpoint answer one request.
func (i *intake) serve(at place, e endpoint, w http.ResponseWriter, r *http.Request) {
	ev := &event{
		began:     time.Now(), // as deadlines are, whatever the clock says
		requestID: requestID(w),
		method:    loggedMethod(r.Method),
		route:     at.route,
		decision:  at.decision,
		client:    i.client(r),
		fromProxy: at.fromProxy,
		asTelnyx:  i.telnyx != "" && strings.HasPrefix(r.URL.Path, i.telnyx),
		outcome:   Answered, // unless there is more to say
	}
	defer i.finish(ev)
	ctx := &deadline{Context: i.traces.begin(ev, r), at: ev.began.Add(i.timeout)}
	defer ctx.end()
	ev.end(i.attempt(ctx, e, ev, w, r))
	if ev.err != nil {
		i.refuse(w, ev)
	}
}

// attempt runs an endpoint if there is room for it, and turns a panic into an
// error.
func (i *intake) attempt(ctx context.Context, e endpoint, ev *event, w http.ResponseWriter, r *http.Request) (err error) {
	defer i.inFlight.Add(-1)
	if i.inFlight.Add(1) > i.room {
		return &requestError{outcome: Overloaded}
	}
	defer crash.Into(&err)
	return e(ctx, ev, w, r)
}

func (i *intake) finish(ev *event) {
	if ev.decision != "" && !ev.recorded {
		i.trail.Note(ev.record())
	}
	took := time.Since(ev.began)
	i.metrics.request(ev, took)
	ev.told()
	line := i.log.WithLevel(ev.level()).EmbedObject(ev).Dur("duration_ms", took.Round(time.Microsecond))
	if p, ok := errors.AsType[*crash.Error](ev.err); ok {
		line.Bytes("stack", p.Stack)
	}
	line.Msg("request")
}
