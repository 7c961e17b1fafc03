package handler

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// token is the whole story of a login token, from a request in to a
// token out. It refuses as early as it can.
func (s *Service) token(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error {
	var err error
	ev.who, err = s.verify(ctx, ev, r)
	if err != nil {
		return err
	}
	now := s.now()
	ev.observed, err = s.policy.Load().Judge(ev.who, now)
	if err != nil {
		return err
	}
	if err := s.shares.take(ctx, ev.who.User, now); err != nil {
		return err
	}
	ev.device, err = deviceOf(w, r)
	if err != nil {
		return err
	}
	ev.credential, err = s.directory.Find(ctx, directory.Query{
		User: ev.who.User, Claims: ev.who.Claims, Device: ev.device, Create: true, RequestID: ev.requestID,
	})
	if err != nil {
		return err
	}
	vended, err := s.vendor.Vend(ctx, ev.credential, vending.Ask{Fresh: wantsFresh(r.Header)})
	if err != nil {
		return err
	}
	if err := s.stillTheirs(ctx, ev, vended.Source); err != nil {
		return err
	}
	ev.source, ev.staleBecause = vended.Source, vended.StaleBecause
	return s.hand(w, r, ev, vended.LoginToken)
}

// stillTheirs asks once more whose the credential is if something may have been waited for,
// which may take as long as it takes somebody to take the credential away. A directory
// that does not answer now has answered for them before.
func (s *Service) stillTheirs(ctx context.Context, ev *event, from vending.Source) error {
	if from == vending.Cached {
		return nil
	}
	now, err := s.directory.Find(ctx, directory.Query{User: ev.who.User, Claims: ev.who.Claims, Device: ev.device, RequestID: ev.requestID})
	_, another := errors.AsType[*directory.NotReadyError](err) // that was created meanwhile
	switch {
	case another || errors.Is(err, directory.ErrDisabled) || errors.Is(err, directory.ErrNoCredential):
		return err
	case err == nil && now != ev.credential:
		return &directory.NotReadyError{RetryAfter: time.Second}
	}
	return nil
}

// hand writes the token, and tells that it has.
func (s *Service) hand(w http.ResponseWriter, r *http.Request, ev *event, token telnyx.LoginToken) error {
	if err := r.Context().Err(); err != nil { // nobody is there to take it
		return err
	}
	ev.outcome = Issued
	now := s.now()
	if prefersText(r.Header["Accept"]) {
		write(w, http.StatusOK, "text/plain; charset=utf-8", []byte(token.JWT.Reveal()))
	} else {
		s.answers.write(w, answerTo(ev, token, now))
	}
	s.issued(ev.credential, now)
	return nil
}
