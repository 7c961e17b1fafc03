package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// A verdict is what one of the probe's checks came to.
type verdict string

// The verdicts.
const (
	passed  verdict = "passed"
	failed  verdict = "failed"  // no login, or not found out
	exposed verdict = "EXPOSED" // not refused, or refused so that it tells something
	skipped verdict = "skipped" // proves nothing
)

// finding is a check's verdict, and why.
type finding struct {
	check   string
	verdict verdict
	says    string
	took    time.Duration
}

// The checks that others depend on.
const (
	checkLogin     = "login"
	checkUnknownID = "unknown_id"
	checkForeignID = "foreign_id"
)

// mintPath is where a token is asked for.
const mintPath = "/v1/token"

// probe makes all checks, one after the other, so that one bearer's share is
// enough for them.
func (p *prober) probe(ctx context.Context) []finding {
	defer p.client.CloseIdleConnections()
	var login probed
	found := []finding{
		timed(checkLogin, func() (verdict, string) {
			var err error
			login, err = p.ask(ctx, mintPath, p.bearer, probeID())
			return judgeLogin(login, err)
		}),
		timed("no_bearer", func() (verdict, string) {
			got, err := p.ask(ctx, mintPath, secret.Text{}, probeID())
			return judgeRefusal(got, err, http.StatusUnauthorized, handler.Unauthenticated)
		}),
	}
	for _, f := range forgeries {
		found = append(found, timed(f.check, func() (verdict, string) {
			forged, err := f.forge(p.bearer)
			if err != nil {
				return skipped, err.Error()
			}
			got, err := p.ask(ctx, mintPath, forged, probeID())
			v, why := judgeRefusal(got, err, http.StatusUnauthorized, handler.InvalidToken)
			if v == passed && login.outcome == string(handler.InvalidToken) {
				return skipped, "refused, but so is the bearer itself: it proves nothing"
			}
			return v, why
		}))
	}
	return append(found, p.probeIDs(ctx)...)
}

// probeIDs asks in Telnyx's way for a credential that nobody has, and for one that
// somebody else has, which must look the same.
func (p *prober) probeIDs(ctx context.Context) []finding {
	id := probeID() // both answers carry it, and so are comparable to the byte
	var unknown probed
	found := []finding{timed(checkUnknownID, func() (verdict, string) {
		var err error
		unknown, err = p.ask(ctx, credentialPath(randomID()), p.bearer, id)
		return judgeRefusal(unknown, err, http.StatusNotFound, handler.NotFound)
	})}
	return append(found, timed(checkForeignID, func() (verdict, string) {
		if p.foreignID == "" {
			return skipped, "-foreign-id names none"
		}
		foreign, err := p.ask(ctx, credentialPath(p.foreignID), p.bearer, id)
		return judgeForeign(foreign, err, unknown)
	}))
}

// judgeLogin wants a token that has life left.
func judgeLogin(got probed, err error) (verdict, string) {
	if err != nil {
		return failed, err.Error()
	}
	var token struct {
		Token     string `json:"token"`
		ExpiresIn int64  `json:"expires_in"` // seconds
	}
	switch {
	case got.status != http.StatusOK:
		return failed, got.String()
	case json.Unmarshal(got.body, &token) != nil || token.Token == "":
		return failed, "answered 200 without a token"
	case token.ExpiresIn <= 0:
		return failed, "the token that was handed out has expired"
	}
	return passed, fmt.Sprintf("got a token for %v", time.Duration(min(token.ExpiresIn, maxTold))*time.Second)
}

// maxTold is the longest life of a token that is told as it is, in seconds.
const maxTold = 10 * 365 * 24 * 3600

// judgeRefusal wants one refusal and no other: by another, the service says that
// it has not come to judge what was asked.
func judgeRefusal(got probed, err error, status int, want handler.Outcome) (verdict, string) {
	switch {
	case err != nil:
		return failed, err.Error()
	case got.status/100 == 2:
		return exposed, fmt.Sprintf("answered %d, want %d %s", got.status, status, want)
	case got.status != status || got.outcome != string(want):
		return failed, fmt.Sprintf("%v, want %d %s", got, status, want)
	}
	return passed, fmt.Sprintf("refused: %d %s", got.status, got.outcome)
}

// undecided are the outcomes that anybody may get for anything, and so tell
// nothing about what was asked for.
var undecided = []handler.Outcome{
	handler.Unauthenticated, handler.InvalidToken, handler.RateLimited, handler.Overloaded,
	handler.IssuerUnavailable, handler.DirectoryUnavailable, handler.Internal,
}

// judgeForeign wants somebody else's credential to be refused, and in the very
// words for one that does not exist: otherwise ids can be tried out.
func judgeForeign(foreign probed, err error, unknown probed) (verdict, string) {
	v, why := judgeRefusal(foreign, err, http.StatusNotFound, handler.NotFound)
	switch {
	case err != nil || v == exposed:
		return v, why
	case unknown.outcome != string(handler.NotFound):
		return failed, "there is no answer about an unknown id to compare with"
	case foreign.outcome == "" || slices.Contains(undecided, handler.Outcome(foreign.outcome)):
		return failed, why
	case foreign.status != unknown.status || !bytes.Equal(foreign.body, unknown.body):
		return exposed, fmt.Sprintf("%v, and not as for an id that nobody has", foreign)
	}
	return v, why
}

// timed makes one check.
func timed(check string, run func() (verdict, string)) finding {
	begun := time.Now()
	v, why := run()
	return finding{check, v, why, time.Since(begun)}
}

// ask posts with that bearer, or with none if it is empty.
func (p *prober) ask(ctx context.Context, path string, bearer secret.Text, id string) (probed, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, nil)
	if err != nil {
		return probed{}, errors.New("it cannot be asked for")
	}
	if !bearer.Empty() {
		req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "tokensvc/"+version)
	req.Header.Set("X-Request-Id", id)
	res, err := p.client.Do(req)
	if err != nil {
		return probed{}, errors.New("no answer: " + reachOf(ctx, err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, probeBytes+1))
	if err != nil || len(body) > probeBytes {
		return probed{}, errors.New("the answer did not arrive whole")
	}
	return probed{res.StatusCode, outcomeIn(body), body}, nil
}

// reachOf says why there is no answer, without the address, which may be secret in
// part, and without what the other side says.
func reachOf(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "not in time"
	}
	return oneLine(withoutAddress(err).Error())
}

// outcomeIn is the outcome that a refusal names, in this service's shape or in
// Telnyx's, if it is one that there is.
func outcomeIn(body []byte) string {
	var refusal struct {
		Code   string `json:"code"`
		Errors []struct {
			Meta struct {
				Outcome string `json:"outcome"`
			} `json:"meta"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &refusal) != nil {
		return ""
	}
	said := refusal.Code
	if len(refusal.Errors) == 1 {
		said = cmp.Or(said, refusal.Errors[0].Meta.Outcome)
	}
	if !slices.Contains(handler.Outcomes(), handler.Outcome(said)) {
		return ""
	}
	return said
}

func credentialPath(id string) string {
	return "/v2/telephony_credentials/" + url.PathEscape(id) + "/token"
}

// probeID marks a request in the service's log as a probe's.
func probeID() string { return "probe-" + hex.EncodeToString(randomBytes()[:8]) }

// randomID is an id that no credential has.
func randomID() string {
	b := randomBytes()
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, as Telnyx's are
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func randomBytes() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return b
}
