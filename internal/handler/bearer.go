package handler

import (
	"net/http"
	"strings"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// What may be wrong before there is anything to verify.
var (
	errNoBearer    = &requestError{outcome: Unauthenticated}
	errManyBearers = &requestError{outcome: Unauthenticated, detail: "Send exactly one Authorization header."}
)

// bearerOf finds the caller's credential: exactly one Authorization header, of
// the scheme Bearer, which is compared without regard to case (RFC 9110 section
// 11.1) and as a whole, then spaces, then the token (RFC 6750 section 2.1).
func bearerOf(h http.Header) (secret.Text, error) {
	sent := h.Values("Authorization")
	if len(sent) > 1 {
		return secret.Text{}, errManyBearers
	}
	if len(sent) == 0 {
		return secret.Text{}, errNoBearer
	}
	scheme, token, _ := strings.Cut(sent[0], " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return secret.Text{}, errNoBearer
	}
	return secret.New(token), nil
}
