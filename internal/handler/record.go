package handler

import (
	"errors"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// trail keeps the records of decisions. Grant returns when the record is written, or an
// audit.ErrUnavailable, and then nothing may be granted.
type trail interface {
	Grant(audit.Record) error
	Note(audit.Record)
}

// record is what is written down of a decision: who asked, for what, and what became of it.
func (ev *event) record() audit.Record {
	r := audit.Record{
		What: ev.decision, Outcome: string(ev.outcome), Reason: string(ev.reason),
		Device: string(ev.device), Credential: ev.credential.String(), RequestID: ev.requestID, Client: ev.client,
		Rule: ev.rule(), Source: string(ev.source),
	}
	if ev.who != nil {
		r.User, r.Issuer = ev.who.User, ev.who.Issuer
	}
	if ev.decision == audit.Admin {
		r.Action = ev.method + " " + ev.route
	}
	if ev.admin != nil {
		r.Actor, r.Target = ev.admin.actor, ev.admin.target
	}
	return r
}

// rule is the rule that decided, or would have if it were enforced, or "".
func (ev *event) rule() string {
	if denied, ok := errors.AsType[*authz.DeniedError](ev.err); ok {
		return denied.Rule
	}
	return ev.observed
}

// grant records that a token is handed over, of which the record has the sum.
func (s *Service) grant(ev *event, token telnyx.LoginToken) error {
	r := ev.record()
	r.Outcome = string(Issued)
	r.TokenSHA256 = token.SHA256
	if err := s.trail.Grant(r); err != nil {
		return err
	}
	ev.outcome, ev.recorded = Issued, true
	return nil
}
