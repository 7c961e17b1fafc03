package handler

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/tracing"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// A manner is how somebody asks for a login token, and how they are given it.
type manner struct {
	wanted func(w http.ResponseWriter, r *http.Request) (wanted, error)
	write  func(s *Service, w http.ResponseWriter, r *http.Request, ev *event, token telnyx.LoginToken, now time.Time)
}

// wanted says which of the caller's own credentials a token is wanted for: that of a
// device, or the one with an id.
type wanted struct {
	device directory.Device
	byID   bool
	id     telnyx.CredentialID // zero for one that nobody has
}

// ours is the manner of our own API.
var ours = manner{wanted: wantedInBody, write: (*Service).writeToken}

// token is a token's story in our own manner.
func (s *Service) token(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error {
	return s.tell(ctx, ev, w, r, ours)
}

// tell tells the whole story of a login token, from a request in to a token out. It
// refuses as early as it can.
func (s *Service) tell(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request, as manner) error {
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
	want, err := as.wanted(w, r)
	if err != nil {
		return err
	}
	if err := s.find(ctx, ev, want); err != nil {
		return err
	}
	vended, err := s.vend(ctx, ev, vending.Ask{Fresh: wantsFresh(r.Header)})
	if err != nil {
		return err
	}
	if err := s.stillTheirs(ctx, ev, want, vended.Source); err != nil {
		return err
	}
	ev.source, ev.staleBecause = vended.Source, vended.StaleBecause
	return s.hand(w, r, ev, vended.LoginToken, as)
}

// find finds the credential that is wanted, of the caller and of nobody else.
func (s *Service) find(ctx context.Context, ev *event, want wanted) (err error) {
	ev.steps.begin(ev.began)
	defer ev.steps.took(&ev.steps.directory, ev.began)
	ctx, step := s.traces.tracer.Step(ctx, tracing.Directory)
	defer left(step, &err)
	q := directory.Query{User: ev.who.User, Claims: ev.who.Claims, Device: want.device, Create: !want.byID, RequestID: ev.requestID}
	if want.byID {
		return s.findByID(ctx, ev, q, want.id)
	}
	ev.device = want.device
	ev.credential, err = s.directory.Find(ctx, q)
	return err
}

// findByID finds a credential of the caller's by its id. Somebody else's is like one
// that is not there, and like what is no id: the directory is asked the same of all of
// them, so also the time that it takes tells nothing.
func (s *Service) findByID(ctx context.Context, ev *event, q directory.Query, id telnyx.CredentialID) error {
	device, err := s.directory.DeviceOf(ctx, q, id)
	if err == nil {
		q.Device = device
		ev.device = device
		ev.credential, err = s.directory.Find(ctx, q)
	}
	if err == nil && ev.credential != id || errors.Is(err, directory.ErrNoCredential) { // taken away between the two, or never theirs
		ev.credential = telnyx.CredentialID{}
		return errNotTheirs
	}
	return err
}

// errNotTheirs refuses an id that is of no credential of the caller's.
var errNotTheirs = &requestError{outcome: NotFound, detail: "You have no telephony credential of this id."}

// vend gets a token of the credential, from wherever there is one.
func (s *Service) vend(ctx context.Context, ev *event, ask vending.Ask) (v vending.Vended, err error) {
	defer ev.steps.took(&ev.steps.mint, ev.began) // from where the directory's ended
	ctx, step := s.traces.tracer.Step(ctx, tracing.Mint)
	defer left(step, &err)
	return s.vendor.Vend(ctx, ev.credential, ask)
}

// stillTheirs asks once more whose the credential is if something may have been waited for,
// which may take as long as it takes somebody to take the credential away. A directory
// that does not answer now has answered for them before.
func (s *Service) stillTheirs(ctx context.Context, ev *event, want wanted, from vending.Source) error {
	if from == vending.Cached {
		return nil
	}
	now, err := s.directory.Find(ctx, directory.Query{User: ev.who.User, Claims: ev.who.Claims, Device: ev.device, RequestID: ev.requestID})
	_, another := errors.AsType[*directory.NotReadyError](err) // that was created meanwhile
	other := err == nil && now != ev.credential
	switch {
	case want.byID && (another || other || errors.Is(err, directory.ErrNoCredential)):
		return errNotTheirs
	case another || errors.Is(err, directory.ErrDisabled) || errors.Is(err, directory.ErrNoCredential):
		return err
	case other:
		return &directory.NotReadyError{RetryAfter: time.Second}
	}
	return nil
}

// hand writes the token once it is recorded that it does, and tells that it has.
func (s *Service) hand(w http.ResponseWriter, r *http.Request, ev *event, token telnyx.LoginToken, as manner) error {
	if err := r.Context().Err(); err != nil { // nobody is there to take it
		return err
	}
	if err := s.grant(ev, token); err != nil {
		return err
	}
	now := s.now()
	as.write(s, w, r, ev, token, now)
	s.issued(ev.credential, now)
	return nil
}
