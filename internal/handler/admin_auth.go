package handler

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
)

// admit finds out who asks, for the log and the books, and lets them in or not:
// the admin token, or somebody whom the issuer vouches for and the rules allow.
func (a *Admin) admit(ctx context.Context, ev *event, r *http.Request) error {
	if a.isToken(r.Header["Authorization"]) {
		ev.admin = &administering{actor: "admin token"}
		return nil
	}
	if a.verifier == nil {
		return notTheToken(r.Header["Authorization"])
	}
	if !a.opaque && isOpaque(r.Header["Authorization"]) { // an old admin token, for one
		return &authz.InvalidError{Reason: authz.ReasonMalformed}
	}
	var err error
	ev.who, err = a.verifier.Verify(ctx, adminEvidence(r))
	if err != nil {
		return err
	}
	if _, err := a.policy.Load().Judge(ev.who, a.now()); err != nil { // also of another issuer
		return err
	}
	if err := a.enabled(ctx, ev.who.User); err != nil {
		return err
	}
	ev.admin = &administering{actor: "admin " + ev.who.User}
	return nil
}

// enabled returns an ErrDenied for somebody who is disabled in the directory, or
// the first thing to do with a bearer that lives on would be to enable its owner.
// The admin token and the command line are for when no other administrator is left.
func (a *Admin) enabled(ctx context.Context, user string) error {
	found, err := a.store.Lookup(ctx, user, directory.DefaultDevice)
	if err == nil && found.Disabled {
		err = fmt.Errorf("%w: %w", authz.ErrDenied, directory.ErrDisabled)
	}
	return err
}

// isToken reports whether the one credential of a request is the admin token. Its
// sum is compared, which tells nothing by the time it takes, nor of the length.
func (a *Admin) isToken(authorization []string) bool {
	if a.token == nil || len(authorization) != 1 {
		return false
	}
	token := a.token()
	scheme, text, _ := strings.Cut(authorization[0], " ")
	if token.Len() < MinAdminToken || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sent, want := sha256.Sum256([]byte(strings.Trim(text, " "))), sha256.Sum256([]byte(token.Reveal()))
	return subtle.ConstantTimeCompare(sent[:], want[:]) == 1
}

// isOpaque reports whether the one credential of a request is a bearer that is no
// JWT, which another issuer than the admins' might be asked about.
func isOpaque(authorization []string) bool {
	if len(authorization) != 1 {
		return false
	}
	scheme, text, _ := strings.Cut(authorization[0], " ")
	text = strings.Trim(text, " ")
	if text == "" || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, proofHeader) {
		return false
	}
	first, _, dotted := strings.Cut(text, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(first)
	return !dotted || err != nil || !bytes.Contains(decoded, []byte(`"alg"`))
}

// notTheToken is why somebody is not let in by whom only the token is expected.
func notTheToken(authorization []string) error {
	switch len(authorization) {
	case 0:
		return authz.ErrUnauthenticated
	case 1:
		return errors.Join(
			&requestError{outcome: InvalidToken, detail: "The bearer is not the admin token."},
			&authz.InvalidError{Reason: authz.ReasonInactive},
		)
	}
	return authz.ErrAmbiguous
}

// adminEvidence shows of a request what a page of another site could not have a
// browser send: the Authorization header, and the proof that may go with it. What
// is in cookies, or in headers that a proxy may add, is not looked at.
func adminEvidence(r *http.Request) authz.Evidence {
	header := make(http.Header)
	for _, name := range []string{"Authorization", http.CanonicalHeaderKey(proofHeader)} {
		if values := r.Header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	return authz.Evidence{Header: header, Method: r.Method, Path: r.URL.EscapedPath(), RemoteAddr: r.RemoteAddr}
}
