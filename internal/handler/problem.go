package handler

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// problemType begins the type of every problem; the outcome follows. It names,
// and leads nowhere.
const problemType = "urn:tokensvc:outcome:"

// problem is the body of every refusal (RFC 9457).
type problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Code      Outcome `json:"code"`
	Detail    string  `json:"detail"`
	RequestID string  `json:"request_id"`
	Retryable bool    `json:"retryable"`
}

// refuse tells the caller that there is no token, and why.
func (i *intake) refuse(w http.ResponseWriter, ev *event) {
	told := refusals[ev.outcome]
	retry := retryOf(ev.err)
	header := w.Header()
	if told.status == http.StatusUnauthorized {
		header["Www-Authenticate"] = i.challenges(ev)
	}
	if nonce := nonceOf(ev.err); nonce != "" {
		header.Set(nonceHeader, nonce)
	}
	if retry > 0 {
		header.Set("Retry-After", strconv.Itoa(wholeSeconds(retry)))
	}
	ev.tellSteps(header)
	if ev.asTelnyx {
		refuseAsTelnyx(w, ev, told, retry > 0)
		return
	}
	writeJSON(w, told.status, "application/problem+json", problem{
		Type:      problemType + string(ev.outcome),
		Title:     told.title,
		Status:    told.status,
		Code:      ev.outcome,
		Detail:    DetailOf(ev.err),
		RequestID: ev.requestID,
		Retryable: retry > 0,
	})
}

// challenges are the WWW-Authenticate of RFC 6750 section 3: no error code when
// no credential was sent, and otherwise the reason's class for a description. To
// whoever may or did send a bearer that is bound to a key, it is that of RFC 9449
// section 7.1.
func (i *intake) challenges(ev *event) []string {
	const bearer, proof = `Bearer realm="tokensvc"`, `DPoP realm="tokensvc"`
	algorithms := `, algs="` + strings.Join(authz.DefaultAlgorithms, " ") + `"`
	code, aboutProof := proofErrors[ev.reason]
	switch {
	case aboutProof:
		return []string{proof + `, error="` + code + `", error_description="` + string(ev.reason) + `"` + algorithms}
	case ev.outcome == InvalidToken:
		return []string{bearer + `, error="invalid_token", error_description="` + string(ev.reason) + `"`}
	case errors.Is(ev.err, authz.ErrAmbiguous):
		return []string{bearer + `, error="invalid_request"`}
	case i.dpop:
		return []string{bearer, proof + algorithms}
	}
	return []string{bearer}
}

// proofErrors are the error codes of RFC 9449 sections 5, 7.1 and 9.
var proofErrors = map[authz.Reason]string{
	authz.ReasonProof:         "invalid_dpop_proof",
	authz.ReasonProofTarget:   "invalid_dpop_proof",
	authz.ReasonProofTime:     "invalid_dpop_proof",
	authz.ReasonProofReplayed: "invalid_dpop_proof",
	authz.ReasonProofNonce:    "use_dpop_nonce",
	authz.ReasonBinding:       "invalid_token",
}

// nonceOf is what to put into the next DPoP proof, or nothing.
func nonceOf(err error) string {
	if bearer := (*authz.InvalidError)(nil); errors.As(err, &bearer) {
		return bearer.Nonce
	}
	return ""
}

// wholeSeconds rounds up, so that whoever waits that long has waited enough.
func wholeSeconds(d time.Duration) int {
	return int((d + time.Second - 1) / time.Second)
}

// writeJSON sends a value of ours, and a line break for whoever reads it at a
// terminal.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and booleans always can be
	}
	write(w, status, contentType, body, []byte{'\n'})
}

// write sends a whole answer. That the caller has gone is found out elsewhere.
func write(w http.ResponseWriter, status int, contentType string, body ...[]byte) {
	length := 0
	for _, part := range body {
		length += len(part)
	}
	h := w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{strconv.Itoa(length)}
	w.WriteHeader(status)
	for _, part := range body {
		_, _ = w.Write(part)
	}
}
