package main

import (
	"fmt"
	"io"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/handler"
)

// say prints the explanation for a person, a line for each thing.
func (e *explanation) say(w io.Writer) {
	const width = len("credential")
	row := func(mark, name, text string) { sayRow(w, mark, name, width, text) }
	e.sayIssuer(row)
	if e.Verified {
		e.sayUser(row)
	}
	e.sayOutcome(row)
}

type rowPrinter func(mark, name, text string)

func (e *explanation) sayIssuer(row rowPrinter) {
	switch {
	case e.Issuer != "":
		row(" ", "issuer", e.Issuer+", "+e.url)
		row(" ", "sent in", placeOf(e.Source, e.NeedsProof))
	case e.Reason == authz.ReasonIssuer:
		row("✗", "issuer", "none that is configured")
	default:
		row("✗", "issuer", "cannot be told")
	}
	if e.Keys != "" {
		row(" ", "keys", e.keys.String())
	}
	switch {
	case e.Verified && e.ExpiresAt != "":
		row("✓", "verified", "until "+e.ExpiresAt)
	case e.Verified:
		row("✓", "verified", "")
	case e.Reason != "":
		row("✗", "verified", string(e.Reason)+": "+e.Detail)
	case e.Cause != "":
		row("✗", "verified", "cannot be told: "+e.Cause)
	default:
		row("✗", "verified", "cannot be told: "+e.Detail)
	}
}

// placeOf is where in a request the bearer has to be.
func placeOf(source string, needsProof bool) string {
	parsed, err := authz.ParseSource(source)
	switch {
	case err == nil && parsed.IsCookie():
		return source + ", from a page of cors.origins"
	case err == nil && parsed != authz.Source{}:
		return source + ", the token alone"
	case needsProof:
		return "Authorization: DPoP TOKEN"
	}
	return "Authorization: Bearer TOKEN"
}

func (e *explanation) sayUser(row rowPrinter) {
	row(" ", "user", fmt.Sprintf("%s, by the claim %s", e.User, e.UserClaim))
	if e.NeedsProof {
		row(" ", "bound", "to a key: a request needs a DPoP proof by it, which cannot be checked here")
	} else {
		row(" ", "bound", "to no key")
	}
	for _, r := range e.Rules {
		row(sign(r.Met), "rule", r.Rule)
	}
	switch {
	case len(e.Rules) == 0:
		row(" ", "mode", "there are no rules")
	case e.Observed != "":
		row(" ", "mode", string(e.Mode)+": not refused, but would be by "+e.Observed)
	default:
		row(" ", "mode", string(e.Mode))
	}
	switch {
	case e.Creates:
		row("✓", "credential", fmt.Sprintf("none yet for the device %s: it is created at the first login", e.Device))
	case e.unknown != nil:
		row("✗", "credential", "cannot be told: the directory "+e.Directory+" does not say")
	case e.Unlisted:
		row("✗", "credential", "none, and "+e.User+" is not in the directory "+e.Directory)
	case e.Credential == "":
		row("✗", "credential", fmt.Sprintf("none for the device %s in the directory %s", e.Device, e.Directory))
	default:
		row("✓", "credential", fmt.Sprintf("%s for the device %s, by the directory %s", e.Credential, e.Device, e.Directory))
	}
}

func (e *explanation) sayOutcome(row rowPrinter) {
	text := string(e.Outcome)
	switch {
	case e.Outcome == handler.Issued:
		text += ", as far as can be told without Telnyx"
	case e.Outcome == "":
		text = "cannot be told"
	case e.Reason == "":
		text += ": " + e.Detail
	}
	row(sign(e.Outcome == handler.Issued), "outcome", text)
	if e.Do != "" {
		row(" ", "do", e.Do)
	}
}
