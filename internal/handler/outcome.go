package handler

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// An Outcome is the one word for what became of a request: in the answer, the
// log, the metrics and openapi.yaml alike.
type Outcome string

// The outcomes: a closed set.
const (
	Issued               Outcome = "issued"   // a token was handed over
	Answered             Outcome = "answered" // anything else that was asked for was
	Unauthenticated      Outcome = "unauthenticated"
	InvalidToken         Outcome = "invalid_token"
	Denied               Outcome = "denied"
	NoCredential         Outcome = "no_credential"
	RateLimited          Outcome = "rate_limited"
	Provisioning         Outcome = "provisioning"
	IssuerUnavailable    Outcome = "issuer_unavailable"
	DirectoryUnavailable Outcome = "directory_unavailable"
	CredentialRejected   Outcome = "credential_rejected"
	UpstreamRejected     Outcome = "upstream_rejected"
	UpstreamLimited      Outcome = "upstream_limited"
	UpstreamUnavailable  Outcome = "upstream_unavailable"
	UpstreamTimeout      Outcome = "upstream_timeout"
	BadRequest           Outcome = "bad_request"
	NotFound             Outcome = "not_found"
	MethodNotAllowed     Outcome = "method_not_allowed"
	TooLarge             Outcome = "too_large"
	UnsupportedMediaType Outcome = "unsupported_media_type"
	Conflict             Outcome = "conflict"
	PreconditionFailed   Outcome = "precondition_failed"
	Overloaded           Outcome = "overloaded"
	AuditUnavailable     Outcome = "audit_unavailable"
	Canceled             Outcome = "canceled"
	Internal             Outcome = "internal"
)

// statusCanceled is for the log only: the caller is not there to read it.
const statusCanceled = 499

// refusal is how an outcome is told to the caller: in constants of ours, never
// in the words of an error.
type refusal struct {
	status int
	title  string
	detail string
	retry  time.Duration // what Retry-After says unless the error knows better; 0: do not try again
}

var refusals = map[Outcome]refusal{
	Unauthenticated:      {http.StatusUnauthorized, "No credential", "No credential is in a place where this service looks for one. Mostly that is one Authorization header: Bearer, a space, the token.", 0},
	InvalidToken:         {http.StatusUnauthorized, "Bearer not accepted", "The bearer does not verify.", 0},
	Denied:               {http.StatusForbidden, "Not allowed", "A rule of this service does not allow you a token.", 0},
	NoCredential:         {http.StatusForbidden, "No telephony credential", "You are known, but no telephony credential is assigned to you for this device.", 0},
	RateLimited:          {http.StatusTooManyRequests, "Too many requests", "You ask for tokens too often.", time.Second},
	Provisioning:         {http.StatusServiceUnavailable, "Credential not ready", "Your telephony credential has just been created and cannot be used yet.", 5 * time.Second},
	IssuerUnavailable:    {http.StatusServiceUnavailable, "Identity provider unavailable", "Your bearer cannot be checked now, because its issuer does not answer.", 5 * time.Second},
	DirectoryUnavailable: {http.StatusServiceUnavailable, "Directory unavailable", "Your telephony credential cannot be looked up now.", 2 * time.Second},
	CredentialRejected:   {http.StatusBadGateway, "Credential rejected", "Telnyx does not accept the telephony credential assigned to you; an operator must look.", 0},
	UpstreamRejected:     {http.StatusBadGateway, "Upstream rejected", "Telnyx does not accept this service's key, or gave an unusable answer; an operator must look.", 0},
	UpstreamLimited:      {http.StatusServiceUnavailable, "Upstream limited", "Telnyx limits this service's requests.", 5 * time.Second},
	UpstreamUnavailable:  {http.StatusServiceUnavailable, "Upstream unavailable", "Telnyx cannot be reached or is failing.", 5 * time.Second},
	UpstreamTimeout:      {http.StatusGatewayTimeout, "Upstream timeout", "Telnyx did not answer in time.", 5 * time.Second},
	BadRequest:           {http.StatusBadRequest, "Bad request", "The request is not understood.", 0},
	NotFound:             {http.StatusNotFound, "Not found", "There is nothing here.", 0},
	MethodNotAllowed:     {http.StatusMethodNotAllowed, "Method not allowed", "Use the method that the Allow header names.", 0},
	TooLarge:             {http.StatusRequestEntityTooLarge, "Too large", "The request body is larger than 4096 bytes.", 0},
	UnsupportedMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type", "The body must be application/json.", 0},
	Conflict:             {http.StatusConflict, "Conflict", "What the directory says already does not allow it.", 0},
	PreconditionFailed:   {http.StatusPreconditionFailed, "Precondition failed", "It is not, or no longer, as the request says: read it again.", 0},
	Overloaded:           {http.StatusServiceUnavailable, "Overloaded", "Too many requests are being served at this moment.", time.Second},
	AuditUnavailable:     {http.StatusServiceUnavailable, "Audit unavailable", "This service cannot record what it decides, and so gives no token; an operator must look.", 2 * time.Second},
	Canceled:             {statusCanceled, "Canceled", "The caller went away.", 0},
	Internal:             {http.StatusInternalServerError, "Internal error", "Something went wrong in this service.", 0},
}

// reasons tells the caller the class of what is wrong with a bearer or its proof.
var reasons = map[authz.Reason]string{
	authz.ReasonMalformed:   "The bearer cannot be read: it is not whole, or no token.",
	authz.ReasonAlgorithm:   "The bearer's signature algorithm is not accepted.",
	authz.ReasonCritical:    "The bearer has a critical header that is not understood.",
	authz.ReasonType:        "The token's type says that it is not meant as a bearer.",
	authz.ReasonIssuer:      "The bearer's issuer is not one that is accepted here.",
	authz.ReasonAudience:    "The bearer is not meant for this service.",
	authz.ReasonNoExpiry:    "The bearer has no expiry.",
	authz.ReasonExpired:     "The bearer has expired.",
	authz.ReasonNotYetValid: "The bearer is not valid yet.",
	authz.ReasonKey:         "The bearer is signed with a key that its issuer does not publish.",
	authz.ReasonSignature:   "The bearer's signature is wrong.",
	authz.ReasonInactive:    "The bearer's issuer says that it is no longer valid, or never was.",
	authz.ReasonUserClaim:   "The bearer does not say who you are in the claim that is used here.",
	authz.ReasonOrigin:      "A cookie counts only from a page of an allowed origin.",
	authz.ReasonProxy:       "Headers that only a trusted proxy may send do not come from one.",

	authz.ReasonProof:         "The DPoP proof is missing, or is not one that can be checked: one DPoP header, signed by the public key in it.",
	authz.ReasonProofTarget:   "The DPoP proof was made for another method, address or bearer.",
	authz.ReasonProofTime:     "The DPoP proof was not made just now; make a new one for every request, by a clock that is right.",
	authz.ReasonProofReplayed: "The DPoP proof has been used before; make a new one for every request.",
	authz.ReasonProofNonce:    "The DPoP proof does not carry a current nonce; make one with the nonce in the DPoP-Nonce header of this answer.",
	authz.ReasonBinding:       "A bearer that is bound to a key goes with a DPoP proof by that key, and any other bearer with none.",
}

// sentences tell the caller of errors about which there is more to say than their
// outcome does, first match wins.
var sentences = []struct {
	err    error
	detail string
}{
	{authz.ErrAmbiguous, "Send exactly one credential: there are several in this request."},
	{directory.ErrDisabled, "Your access has been withdrawn."},
	{directory.ErrTooManyDevices, "You have as many devices as you may have."},
}

// Outcomes returns all of them, in no order.
func Outcomes() []Outcome {
	return append(slices.Collect(maps.Keys(refusals)), Issued, Answered)
}

// A requestError is a fault in the request itself, or a refusal of the
// handler's own.
type requestError struct {
	outcome Outcome
	detail  string        // told to the caller in place of the outcome's own words, if not empty
	retry   time.Duration // when to try again, if not zero
}

func (e *requestError) Error() string {
	if e.detail == "" {
		return string(e.outcome)
	}
	return string(e.outcome) + ": " + e.detail
}

// meanings translates the errors that other packages declare, first match wins.
var meanings = []struct {
	err     error
	outcome Outcome
}{
	{context.Canceled, Canceled},
	{authz.ErrUnauthenticated, Unauthenticated},
	{authz.ErrAmbiguous, Unauthenticated},
	{authz.ErrIssuerUnavailable, IssuerUnavailable},
	{authz.ErrBusy, Overloaded},
	{authz.ErrDenied, Denied},
	{directory.ErrDisabled, Denied},
	{directory.ErrNoCredential, NoCredential},
	{directory.ErrUnavailable, DirectoryUnavailable},
	{telnyx.ErrCredentialRejected, CredentialRejected},
	{telnyx.ErrKeyRejected, UpstreamRejected},
	{telnyx.ErrBadAnswer, UpstreamRejected},
	{telnyx.ErrLimited, UpstreamLimited},
	{telnyx.ErrTimeout, UpstreamTimeout},
	{telnyx.ErrUnavailable, UpstreamUnavailable},
	{vending.ErrBusy, Overloaded},
	{audit.ErrUnavailable, AuditUnavailable},
}

// OutcomeOf is the one place where errors become outcomes. Whatever it does not
// know is Internal.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Issued
	}
	if request, ok := errors.AsType[*requestError](err); ok {
		return request.outcome
	}
	if _, ok := errors.AsType[*authz.InvalidError](err); ok {
		return InvalidToken
	}
	if _, ok := errors.AsType[*directory.NotReadyError](err); ok {
		return Provisioning
	}
	for _, m := range meanings {
		if errors.Is(err, m.err) {
			return m.outcome
		}
	}
	return Internal
}

// DetailOf is the sentence by which a caller is told of an error: a constant of
// ours, with nothing of the error's own words.
func DetailOf(err error) string {
	if request, ok := errors.AsType[*requestError](err); ok && request.detail != "" {
		return request.detail
	}
	for _, s := range sentences {
		if errors.Is(err, s.err) {
			return s.detail
		}
	}
	if sentence, ok := reasons[reasonOf(err)]; ok {
		return sentence
	}
	return refusals[OutcomeOf(err)].detail
}

// reasonOf is the class of what is wrong with a bearer, or empty.
func reasonOf(err error) authz.Reason {
	if bearer, ok := errors.AsType[*authz.InvalidError](err); ok {
		return bearer.Reason
	}
	return ""
}

// retryOf is when the caller may try again, 0 for never.
func retryOf(err error) time.Duration {
	retry := refusals[OutcomeOf(err)].retry
	if request, ok := errors.AsType[*requestError](err); ok && request.retry > 0 {
		return request.retry
	}
	if young, ok := errors.AsType[*directory.NotReadyError](err); ok && young.RetryAfter > 0 {
		return young.RetryAfter
	}
	if upstream, ok := errors.AsType[*telnyx.Error](err); ok && retry > 0 && upstream.RetryAfter > 0 {
		return upstream.RetryAfter
	}
	return retry
}
