package handler

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
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
func (s *Service) refuse(w http.ResponseWriter, ev *event) {
	told := refusals[ev.outcome]
	retry := retryOf(ev.outcome, ev.err)
	header := w.Header()
	if told.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", challenge(ev))
	}
	if retry > 0 {
		header.Set("Retry-After", strconv.Itoa(wholeSeconds(retry)))
	}
	writeJSON(w, told.status, "application/problem+json", problem{
		Type:      problemType + string(ev.outcome),
		Title:     told.title,
		Status:    told.status,
		Code:      ev.outcome,
		Detail:    detailOf(ev.outcome, ev.err),
		RequestID: ev.requestID,
		Retryable: retry > 0,
	})
}

// challenge is the WWW-Authenticate of RFC 6750 section 3: no error code when no
// credential was sent, and otherwise the reason's class for a description.
func challenge(ev *event) string {
	const scheme = `Bearer realm="tokensvc"`
	switch {
	case ev.outcome == InvalidToken:
		return scheme + `, error="invalid_token", error_description="` + string(ev.reason) + `"`
	case errors.Is(ev.err, authz.ErrAmbiguous):
		return scheme + `, error="invalid_request"`
	}
	return scheme
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
	write(w, status, contentType, append(body, '\n'))
}

// write sends a whole answer. That the caller has gone is found out elsewhere.
func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
