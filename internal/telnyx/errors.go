package telnyx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The kinds of failure. Every error of a Client's calls is an *Error, whose
// Kind is one of these or context.Canceled.
var (
	// ErrInvalid: the arguments are nothing that Telnyx could accept; nothing
	// was sent.
	ErrInvalid = errors.New("the call's arguments are not valid")
	// ErrCredentialRejected: Telnyx cannot use this credential (400, 404, 422).
	// What it answers for an expired or deleted one is not documented, so the
	// three are one. From list and create: it refuses what was asked for.
	ErrCredentialRejected = errors.New("telnyx does not accept the credential")
	// ErrKeyRejected: Telnyx accepts none of the API keys for this (401, 403), or
	// there is none that could be sent.
	ErrKeyRejected = errors.New("telnyx does not accept the API key")
	// ErrBadAnswer: a status or body that the call must not have: a redirect,
	// a page, nothing, not a token, too much.
	ErrBadAnswer = errors.New("telnyx gave an answer that cannot be used")
	// ErrLimited: too many requests (429). RetryAfter may say how long.
	ErrLimited = errors.New("telnyx limits the rate of requests")
	// ErrUnavailable: no connection, a broken one, or a 5xx.
	ErrUnavailable = errors.New("telnyx is unavailable")
	// ErrTimeout: no answer within the call's Timeout or the caller's own
	// deadline, or Telnyx itself says so (408, 504).
	ErrTimeout = errors.New("telnyx did not answer in time")
)

// An Error says how a call failed, in words and numbers of ours: it holds
// nothing of the answer's body or headers but what it says it holds.
// errors.Is finds its Kind and, where there is one, its cause, such as
// syscall.ECONNREFUSED or context.DeadlineExceeded.
type Error struct {
	Op         string        // "mint", "get", "list", "create", "update" or "delete"
	Credential CredentialID  // which one the call was about; zero for list and create
	Kind       error         // one of the kinds above, or context.Canceled when the caller gave up
	Status     int           // the answer's status; 0 when there was none
	Code       string        // Telnyx's own error code: 1 to 8 digits, or empty
	RetryAfter time.Duration // how long Telnyx, or the Gate, asks to wait, at most MaxRetryAfter; 0 when it does not say
	Attempts   int           // how many requests were made; 0 when the Gate withheld the first
	// Uncertain: a request may have reached Telnyx and its answer is unknown
	// or unusable, so what was asked for may have been done. After a create,
	// look by name before creating again.
	Uncertain bool

	cause    error // safe to print: never text that came over the wire
	withheld bool  // the last attempt was not made: the gate did not let it in
}

// Error describes the failure in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("telnyx: " + e.Op)
	if !e.Credential.IsZero() {
		b.WriteString(" " + e.Credential.String())
	}
	b.WriteString(": " + e.Kind.Error())
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.Code != "" {
		b.WriteString(", code " + e.Code)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %v", e.RetryAfter)
	}
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

// WasWithheld reports whether the Gate kept the last attempt from being made. Then
// RetryAfter is when to come back, neither sooner nor much later.
func (e *Error) WasWithheld() bool { return e.withheld }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.cause}
}

// kindOf says what a status that is not a success means.
func kindOf(status int) error {
	switch {
	case status == http.StatusBadRequest, status == http.StatusNotFound, status == http.StatusUnprocessableEntity:
		return ErrCredentialRejected
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ErrKeyRejected
	case status == http.StatusTooManyRequests:
		return ErrLimited
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return ErrTimeout
	case status >= 500:
		return ErrUnavailable
	}
	return ErrBadAnswer
}

// settled reports whether an answer of this kind says that nothing was done.
func settled(kind error) bool {
	return slices.Contains([]error{ErrCredentialRejected, ErrKeyRejected, ErrLimited, ErrInvalid}, kind)
}

// errorCode finds Telnyx's error code in the body of a refusal. Errors come
// as a list, as a single object (a patch of an expired credential), or not at
// all (an empty 500); codes as text, or as numbers. Anything but 1 to 8 digits
// is no code, so that no other text of the body can come out of here.
func errorCode(body []byte) string {
	var envelope struct {
		Errors json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return ""
	}
	type item struct {
		Code json.RawMessage `json:"code"`
	}
	var list []item
	if json.Unmarshal(envelope.Errors, &list) != nil {
		list = make([]item, 1)
		if json.Unmarshal(envelope.Errors, &list[0]) != nil {
			return ""
		}
	}
	if len(list) == 0 {
		return ""
	}
	code := strings.Trim(string(list[0].Code), `"`)
	if !isCode(code) {
		return ""
	}
	return code
}

func isCode(s string) bool {
	if len(s) < 1 || len(s) > 8 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// refused is the error of a call that was never sent.
func refused(op string, id CredentialID, kind, why error) *Error {
	return &Error{Op: op, Credential: id, Kind: kind, cause: why}
}

// interrupted returns the error of a call whose context is done, or nil. The
// context's own deadline is the earlier of ours and the caller's.
func interrupted(ctx context.Context) *Error {
	switch {
	case ctx.Err() == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return &Error{Kind: context.Canceled}
	}
	return &Error{Kind: ErrTimeout, cause: context.DeadlineExceeded}
}
