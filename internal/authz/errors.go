package authz

import "errors"

// ErrIssuerUnavailable says that an issuer's keys cannot be had, or that it gives
// no answer about a token. It says nothing about the bearer, whose owner may try
// again.
var ErrIssuerUnavailable = errors.New("the issuer is unavailable")

// ErrBusy says that too much comes at once to check safely: whether a DPoP
// proof has been used before can no longer be remembered. It says nothing about
// the bearer, whose owner may try again with a new proof.
var ErrBusy = errors.New("too much at once to check safely")

// A Reason is the class of what is wrong with a bearer or with the DPoP proof
// beside it: one of a closed set, safe to tell the caller.
type Reason string

// The reasons for which a bearer is invalid.
const (
	ReasonMalformed   Reason = "malformed"     // cannot be read: not whole, not a token, or a claim of the wrong type
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
	ReasonOrigin      Reason = "origin"        // a cookie that did not come from a page of an allowed origin
	ReasonProxy       Reason = "proxy"         // headers of the trusted proxy's that did not come from it

	ReasonProof         Reason = "proof"          // no DPoP proof, or not one: form, typ, alg, jwk, jti or signature
	ReasonProofTarget   Reason = "proof_target"   // made for another method (htm), address (htu) or bearer (ath)
	ReasonProofTime     Reason = "proof_time"     // without iat, too old, or ahead of us
	ReasonProofReplayed Reason = "proof_replayed" // seen before
	ReasonProofNonce    Reason = "proof_nonce"    // without a nonce of ours, or with one of long ago
	ReasonBinding       Reason = "binding"        // the bearer is bound to another key, or not used as its binding says
)

// Reasons lists every Reason.
var Reasons = []Reason{
	ReasonMalformed, ReasonAlgorithm, ReasonCritical, ReasonType, ReasonIssuer, ReasonAudience,
	ReasonNoExpiry, ReasonExpired, ReasonNotYetValid, ReasonKey, ReasonSignature, ReasonInactive, ReasonUserClaim,
	ReasonOrigin, ReasonProxy,
	ReasonProof, ReasonProofTarget, ReasonProofTime, ReasonProofReplayed, ReasonProofNonce, ReasonBinding,
}

// An InvalidError says that a bearer does not verify, and the class of why.
type InvalidError struct {
	Reason Reason
	Nonce  string // to put into the next DPoP proof, with ReasonProofNonce
}

func (e *InvalidError) Error() string { return "invalid bearer: " + string(e.Reason) }

func invalid(r Reason) error { return &InvalidError{Reason: r} }
