package handler

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/tracing"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// event is what is known of one request when it is over: the stuff of its log
// line and its metrics. It holds no bearer and no token.
type event struct {
	began      time.Time
	requestID  string
	span       tracing.Span
	traceID    string // "" if there is no trace
	method     string // one of a closed set
	route      string
	client     netip.Addr
	fromProxy  bool // came in over the trusted proxy's listener
	asTelnyx   bool // is refused in the shape of Telnyx's own API
	who        *authz.Principal
	admin      *administering // nil on the public listener
	observed   string         // the rule that would have refused, were rules enforced
	device     directory.Device
	credential telnyx.CredentialID
	source     vending.Source
	outcome    Outcome
	reason     authz.Reason
	err        error
	status     int
	steps      steps
	decision   audit.What // what this is a decision on, or ""
	recorded   bool       // in the audit trail, before it was over
	timing     [1]string  // Server-Timing, where it is sent

	staleBecause error // why Telnyx gave no new token, though the caller has one
}

// administering is who changes the directory, or reads it, and about whom.
type administering struct {
	actor  string
	target string // a user key, or empty
}

// loggedMethod is a method if it is one that people use. Any other is whatever
// the caller has put there, a bearer for one, and of any length.
func loggedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// end fixes what became of the request.
func (ev *event) end(err error) {
	ev.status = cmp.Or(ev.status, http.StatusOK)
	if err != nil {
		ev.err, ev.outcome, ev.reason = err, OutcomeOf(err), reasonOf(err)
		ev.status = refusals[ev.outcome].status
	}
}

// MarshalZerologObject names every field that is logged, and so every field that
// is not.
func (ev *event) MarshalZerologObject(e *zerolog.Event) {
	var client [48]byte // an IPv6 address and its zone, mostly
	e.Str("request_id", ev.requestID).
		Str("method", ev.method).
		Str("route", ev.route).
		Bytes("client", ev.client.AppendTo(client[:0])).
		Str("outcome", string(ev.outcome)).
		Int("status", ev.status)
	if ev.traceID != "" {
		e.Str("trace_id", ev.traceID)
	}
	if ev.reason != "" {
		e.Str("reason", string(ev.reason))
	}
	if ev.who != nil {
		e.Str("issuer", ev.who.Issuer).Str("user", ev.who.User)
	}
	if ev.admin != nil {
		e.Str("actor", ev.admin.actor)
		if ev.admin.target != "" {
			e.Str("target", ev.admin.target)
		}
	}
	if ev.observed != "" {
		e.Str("would_deny", ev.observed)
	}
	if ev.device != "" {
		e.Str("device", string(ev.device))
	}
	if !ev.credential.IsZero() {
		e.Str("credential", ev.credential.String())
	}
	if ev.source != "" {
		e.Str("source", string(ev.source))
	}
	if ev.staleBecause != nil {
		e.Str("stale_because", ev.staleBecause.Error())
	}
	if ev.err != nil && !plain(ev.err) {
		e.Str("error", ev.err.Error())
	}
}

// plain reports whether an error says no more than its outcome and reason do. One
// that is wrapped does.
func plain(err error) bool {
	switch e := err.(type) { //nolint:errorlint // see above
	case *requestError:
		return e.detail == ""
	case *authz.InvalidError:
		return true
	}
	return slices.Contains([]error{authz.ErrUnauthenticated, directory.ErrNoCredential, context.Canceled}, err)
}

// level is how loudly an outcome is logged: what an operator must look at is an
// error, what may pass by itself a warning, and what callers do is neither.
func (ev *event) level() zerolog.Level {
	switch ev.outcome {
	case Internal, CredentialRejected, UpstreamRejected, AuditUnavailable:
		return zerolog.ErrorLevel
	case IssuerUnavailable, DirectoryUnavailable, UpstreamLimited, UpstreamUnavailable, UpstreamTimeout, Overloaded:
		return zerolog.WarnLevel
	}
	if ev.source == vending.Stale || ev.observed != "" {
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}
