package authz

import "strings"

// DPoP says whether an issuer's bearers are bound to a key that their callers
// must prove to have (RFC 9449).
type DPoP string

// What an issuer's DPoP can be. The zero value is DPoPOff.
const (
	DPoPOff      DPoP = "off"
	DPoPOptional DPoP = "optional" // bound bearers need a proof, others do not
	DPoPRequired DPoP = "required" // only bound bearers are accepted
)

// UsesDPoP reports whether bound bearers and their proofs are accepted.
func (i Issuer) UsesDPoP() bool { return i.DPoP == DPoPOptional || i.DPoP == DPoPRequired }

// binding is the key that a bearer is bound to (RFC 7800 section 3.1).
type binding struct {
	bound      bool
	thumbprint string // of the key (RFC 9449 section 6.1), empty if it is bound in a way that we cannot check
}

func bindingOf(claims map[string]any) binding {
	confirmation, bound := claims["cnf"]
	if !bound {
		// Some issuers, asked about a bound token, say that it is and not to
		// what (RFC 9449 section 6.2).
		kind, _ := claims["token_type"].(string)
		return binding{bound: strings.EqualFold(kind, "dpop")}
	}
	methods, _ := confirmation.(map[string]any)
	thumbprint, _ := methods["jkt"].(string)
	if len(methods) != 1 { // bound to something else besides
		thumbprint = ""
	}
	return binding{true, thumbprint}
}

// proofNeeded reports whether a bearer needs a DPoP proof, or says that no proof
// would do. dpop is whether its sender says that it is bound. A bound bearer
// without a proof may be a stolen one, and is refused whatever the issuer's DPoP
// is.
func (b binding) proofNeeded(dpop bool, issuer *trusted) (needed bool, err error) {
	switch {
	case !dpop && !b.bound && issuer.DPoP != DPoPRequired:
		return false, nil
	case !dpop, !issuer.UsesDPoP(), b.thumbprint == "":
		return false, invalid(ReasonBinding)
	}
	return true, nil
}

// prove checks that a bearer comes from whom it was issued to, as far as it says
// who that is.
func (v *Verifier) prove(e *Evidence, sent sent, known *verified) error {
	if needed, err := known.binding.proofNeeded(sent.dpop, known.issuer); !needed {
		return err
	}
	return v.proofs.check(e.Header["Dpop"], proofWant{
		method: e.Method, url: v.publicURL + e.Path, bearer: sent.text, user: known.who.User, key: known.binding.thumbprint,
	})
}
