package handler

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// whoami tells a caller whom this service sees in their credential, and what
// would come of asking for a token, as far as that can be told without Telnyx. It
// is the token's story up to there.
func (s *Service) whoami(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error {
	var err error
	ev.who, err = s.verify(ctx, ev, r)
	if err != nil {
		return err
	}
	now := s.now()
	if err := s.shares.take(ctx, ev.who.User, now); err != nil {
		return err
	}
	ev.device, err = deviceIn(r.URL.RawQuery)
	if err != nil {
		return err
	}
	policy := s.policy.Load()
	ev.observed, err = policy.Judge(ev.who, now)
	if err == nil {
		ev.credential, err = s.directory.Find(ctx, directory.Query{User: ev.who.User, Claims: ev.who.Claims, Device: ev.device})
	}
	create := errors.Is(err, directory.ErrNotCreated)
	if create {
		err = nil
	}
	outcome := OutcomeOf(err)
	if outcome != Issued && outcome != Denied && outcome != NoCredential {
		return err
	}
	writeJSON(w, http.StatusOK, "application/json", seen{
		Issuer: ev.who.Issuer, Subject: ev.who.Subject, User: ev.who.User, UserClaim: ev.who.UserClaim,
		ExpiresAt: timestamp(ev.who.ExpiresAt), Rules: verdicts(policy.Explain(ev.who, now)), Observed: ev.observed,
		Device: ev.device, Directory: s.directoryName, Credential: shown(ev.credential), WouldCreate: create,
		Outcome: outcome, RequestID: ev.requestID,
	})
	return nil
}

// seen is the answer. It has nothing in it that its reader could not have known,
// and no claims but the one that says who they are.
type seen struct {
	Issuer     string           `json:"issuer"`
	Subject    string           `json:"subject"`
	User       string           `json:"user"`
	UserClaim  string           `json:"user_claim"`
	ExpiresAt  string           `json:"expires_at,omitempty"`
	Rules      []verdict        `json:"rules"`
	Observed   string           `json:"would_deny,omitempty"`
	Device     directory.Device `json:"device"`
	Directory  string           `json:"directory"`
	Credential string           `json:"credential,omitempty"`

	WouldCreate bool    `json:"would_create,omitempty"`
	Outcome     Outcome `json:"outcome"`
	RequestID   string  `json:"request_id"`
}

type verdict struct {
	Rule string `json:"rule"`
	Met  bool   `json:"met"`
}

func verdicts(explained []authz.Verdict) []verdict {
	all := make([]verdict, len(explained))
	for i, v := range explained {
		all[i] = verdict(v)
	}
	return all
}

func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func shown(id telnyx.CredentialID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// deviceIn reads a query: nothing, or one device.
func deviceIn(query string) (directory.Device, error) {
	values, err := url.ParseQuery(query)
	devices := values["device"]
	switch {
	case err != nil || len(values) > 1 || len(values) == 1 && len(devices) != 1:
		return "", &requestError{outcome: BadRequest, detail: "The query's only parameter is device, once."}
	case len(devices) == 0:
		return directory.DefaultDevice, nil
	}
	device, err := directory.ParseDevice(devices[0])
	if err != nil {
		return "", &requestError{outcome: BadRequest, detail: deviceForm}
	}
	return device, nil
}
