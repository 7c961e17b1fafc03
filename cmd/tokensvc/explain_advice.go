package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
)

// advice is what an operator can do about it, or nothing.
func (x *explainer) advice(e *explanation, seen authz.Explanation) string {
	switch e.Outcome {
	case handler.Denied:
		if e.Disabled {
			return fmt.Sprintf("enable the user again, if that is meant: tokensvc users enable %s", e.User)
		}
		return "see that the person meets the rule that is not met, or change issuers[].require"
	case handler.NoCredential:
		if x.cfg.Directory.Kind == "claim" {
			return fmt.Sprintf("have the issuer put the credential's UUID into the claim %s, for this device", x.cfg.Directory.Value)
		}
		if e.Unlisted {
			return fmt.Sprintf("%s is not in the directory, and provision.users is listed: tokensvc users add %s", e.User, e.User)
		}
		if e.full {
			return "remove one of the devices: tokensvc users show, users remove -device; or raise max_devices"
		}
		if x.cfg.Directory.isDatabase() {
			return fmt.Sprintf("give %s a credential: tokensvc users add %s -device %s -credential UUID", e.User, e.User, e.Device)
		}
		return fmt.Sprintf("give %s a credential for this device in the users file", e.User)
	case handler.InvalidToken:
		return x.adviceOnReason(e, seen)
	case handler.IssuerUnavailable:
		return x.adviceOnOutage(e)
	case handler.DirectoryUnavailable:
		if errors.Is(e.unknown, store.ErrOlderSchema) {
			return "tokensvc migrate"
		}
		return "see with tokensvc check why the database does not answer"
	}
	return ""
}

func (x *explainer) adviceOnReason(e *explanation, seen authz.Explanation) string {
	i, _ := x.issuer(e.Issuer)
	switch e.Reason {
	case authz.ReasonMalformed:
		return "give the whole token and nothing else: no quotes, and not the JSON that it came in"
	case authz.ReasonIssuer:
		return x.adviceOnIssuer(seen)
	case authz.ReasonAudience:
		return fmt.Sprintf("have the token issued for %s (claim %s), or say in issuers[].audience whom it is for", strings.Join(i.Audiences, " or "), i.AudienceClaim)
	case authz.ReasonExpired:
		return "sign in again for a new one; if it is new, compare the clocks"
	case authz.ReasonNotYetValid:
		return "compare the clocks of this machine and of the issuer"
	case authz.ReasonAlgorithm:
		return "have the issuer sign with an asymmetric algorithm that issuers[].algorithms allows"
	case authz.ReasonKey:
		return "see whether the token is of this very issuer, and whether these are its keys"
	case authz.ReasonType:
		return "send an access token or an ID token, whichever issuers[].audience is about"
	case authz.ReasonSignature:
		return "copy the whole token; if it is whole, its issuer signs with other keys: see issuers[].keys, or -keys"
	case authz.ReasonUserClaim:
		return fmt.Sprintf("see that the token has the claim %s, or choose another with issuers[].user_claim", i.UserClaim)
	case authz.ReasonBinding:
		return fmt.Sprintf("see issuers[].dpop, which is %s", i.DPoP)
	case authz.ReasonInactive:
		return "sign in again for a new one; it may have been revoked, or be another issuer's"
	}
	return ""
}

func (x *explainer) adviceOnIssuer(seen authz.Explanation) string {
	if i, ok := x.issuer(seen.Nearly); ok {
		return fmt.Sprintf("spell issuers[].issuer of %s as the token does: it differs from %s by a slash at the end or by letters' case", i.Name, i.URL)
	}
	var known []string
	for _, i := range x.issuers {
		if i.Proxy == nil {
			known = append(known, i.URL)
		}
	}
	if len(known) == 0 {
		return "ask GET /v1/whoami through the proxy: it sends headers and no token, which cannot be seen here"
	}
	return "send a token of " + strings.Join(known, " or ") + ", exactly so, or add its issuer to issuers"
}

func (x *explainer) adviceOnOutage(e *explanation) string {
	switch {
	case e.keys.from == keysAsked && x.offline:
		return "leave out -offline: its issuer is asked about each token, and nobody else can tell"
	case e.keys.from == keysAsked:
		return "see with tokensvc check why the issuer does not answer"
	case x.offline:
		return "run explain once without -offline, which keeps the issuer's keys, or give them with -keys FILE"
	}
	i, _ := x.issuer(e.Issuer)
	if last := keptKeys(i); !last.at.IsZero() {
		return "see with tokensvc check why the keys cannot be had, or use those of " + moment(last.at) + " with -offline"
	}
	return "see with tokensvc check why the keys cannot be had, or give them with -keys FILE"
}
