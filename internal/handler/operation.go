package handler

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// telnyxPaths begins the path of whatever Telnyx's own SDKs ask for.
	telnyxPaths = "/v2/"
	// operationRoute is Telnyx's operation for a token, for SDKs of Telnyx's with our
	// address and the user's bearer in place of Telnyx's and the API key.
	operationRoute = telnyxPaths + "telephony_credentials/{id}/token"
	// shouldRetryHeader tells those SDKs whether to try again, which they otherwise do
	// after every status from 500 on.
	shouldRetryHeader = "X-Should-Retry"
)

// telnyxs is how Telnyx's SDKs ask for a token, and are given one.
var telnyxs = manner{wanted: wantedInPath, write: (*Service).writeAsTelnyx}

// operation is a token's story in Telnyx's manner.
func (s *Service) operation(ctx context.Context, ev *event, w http.ResponseWriter, r *http.Request) error {
	return s.tell(ctx, ev, w, r, telnyxs)
}

// wantedInPath reads which credential a path names: me for the caller's, me:mobile for
// that of a device of theirs, or an id. What is none of these is an id that nobody has.
func wantedInPath(w http.ResponseWriter, r *http.Request) (wanted, error) {
	if err := emptyBody(w, r); err != nil {
		return wanted{}, err
	}
	name := chi.URLParam(r, "id")
	if r.URL.RawPath != "" { // else it is decoded already
		name, _ = url.PathUnescape(name) // as net/url has done before
	}
	if name == "me" {
		return wanted{device: directory.DefaultDevice}, nil
	}
	if label, ok := strings.CutPrefix(name, "me:"); ok {
		device, err := directory.ParseDevice(label)
		if err != nil {
			return wanted{}, &requestError{outcome: BadRequest, detail: deviceForm}
		}
		return wanted{device: device}, nil
	}
	id, _ := telnyx.ParseCredentialID(name)
	return wanted{byID: true, id: id}, nil
}

// emptyBody reads the body of a request that has nothing to say in it: none, or an
// empty JSON object.
func emptyBody(w http.ResponseWriter, r *http.Request) error {
	members, err := membersOf(w, r)
	if err == nil && len(members) > 0 {
		err = &requestError{outcome: BadRequest, detail: "The body must be empty, or an empty JSON object."}
	}
	return err
}

// writeAsTelnyx writes a token as Telnyx does: 201, and the bare JWT.
func (*Service) writeAsTelnyx(w http.ResponseWriter, _ *http.Request, ev *event, t telnyx.LoginToken, _ time.Time) {
	ev.status = http.StatusCreated
	write(w, ev.status, "text/plain; charset=utf-8", []byte(t.JWT.Reveal()))
}

// telnyxErrors is the body of a refusal as Telnyx writes it.
type telnyxErrors struct {
	Errors [1]telnyxError `json:"errors"`
}

type telnyxError struct {
	Code   string `json:"code"` // a number of Telnyx's
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Meta   struct {
		Outcome   Outcome `json:"outcome"`
		RequestID string  `json:"request_id"`
	} `json:"meta"`
}

// refuseAsTelnyx writes a refusal in the form that Telnyx's SDKs read, with our outcome
// and request id where they keep what they do not know.
func refuseAsTelnyx(w http.ResponseWriter, ev *event, told refusal, retryable bool) {
	said := telnyxError{Code: telnyxCode(told.status), Title: told.title, Detail: DetailOf(ev.err)}
	said.Meta.Outcome, said.Meta.RequestID = ev.outcome, ev.requestID
	w.Header().Set(shouldRetryHeader, strconv.FormatBool(retryable))
	writeJSON(w, told.status, "application/json", telnyxErrors{Errors: [1]telnyxError{said}})
}

// telnyxCode is the number by which Telnyx would call a refusal.
func telnyxCode(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "10009" // authentication failed
	case http.StatusForbidden:
		return "10010" // not allowed
	case http.StatusNotFound:
		return "10005" // not found
	case http.StatusTooManyRequests:
		return "10011" // too many requests
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return "10015" // bad request
	}
	return "10007" // unexpected
}
