package authz

import "errors"

// ErrIssuerUnavailable says that an issuer's keys cannot be had, or that it gives
// no answer about a token. It says nothing about the bearer, whose owner may try
// again.
var ErrIssuerUnavailable = errors.New("the issuer is unavailable")

// A Reason is the class of what is wrong with a bearer: one of a closed set,
// safe to tell the caller.
type Reason string

// The reasons for which a bearer is invalid.
const (
	ReasonMalformed   Reason = "malformed"     // not a signed JWT, or a claim of the wrong type
	ReasonAlgorithm   Reason = "algorithm"     // not in the issuer's allow-list; "none" and HMAC never are
	ReasonCritical    Reason = "critical"      // has a crit header, none of which we understand
	ReasonType        Reason = "type"          // its typ says that it is something else
	ReasonIssuer      Reason = "issuer"        // not one that is configured
	ReasonAudience    Reason = "audience"      // meant for somebody else
	ReasonNoExpiry    Reason = "no_expiry"     // without exp
	ReasonExpired     Reason = "expired"       // exp has passed
	ReasonNotYetValid Reason = "not_yet_valid" // nbf or iat lies ahead
	ReasonKey         Reason = "key"           // the issuer has no such key
	ReasonSignature   Reason = "signature"     // the key says no
	ReasonInactive    Reason = "inactive"      // the issuer, asked about it, says that it is not active
	ReasonUserClaim   Reason = "user_claim"    // the user claim is missing, unverified or unusable
)

// Reasons lists every Reason.
var Reasons = []Reason{
	ReasonMalformed, ReasonAlgorithm, ReasonCritical, ReasonType, ReasonIssuer, ReasonAudience,
	ReasonNoExpiry, ReasonExpired, ReasonNotYetValid, ReasonKey, ReasonSignature, ReasonInactive,
	ReasonUserClaim,
}

// An InvalidError says that a bearer does not verify, and the class of why.
type InvalidError struct{ Reason Reason }

func (e *InvalidError) Error() string { return "invalid bearer: " + string(e.Reason) }

func invalid(r Reason) error { return &InvalidError{r} }
