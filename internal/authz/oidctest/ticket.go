package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	codeLife    = time.Minute
	refreshLife = 24 * time.Hour
)

// A signIn is one time that somebody signed in, and what was agreed on then. It has
// a code, and then one refresh token after the other.
type signIn struct {
	name, scope, nonce  string
	redirect, challenge string
	at                  time.Time
	ended               bool
}

// A ticket is a code or a refresh token. It counts once. Whoever comes with one that
// has been used is not alone with it, so that ends the sign-in (RFC 6749 section
// 4.1.2, RFC 9700 section 4.14.2).
type ticket struct {
	of    *signIn
	until time.Time
	used  bool
}

// newCode makes the code that a page is given.
func (i *Issuer) newCode(name string, e errand) string {
	now := i.options.Now()
	of := &signIn{
		name: name, scope: e.form.Get("scope"), nonce: e.form.Get("nonce"),
		redirect: e.form.Get("redirect_uri"), challenge: e.form.Get("code_challenge"), at: now,
	}
	return i.issue(&i.codes, &ticket{of: of, until: now.Add(codeLife)})
}

func (i *Issuer) issue(on *shelf[*ticket], t *ticket) string {
	text := rand.Text() + rand.Text()
	i.mu.Lock()
	defer i.mu.Unlock()
	on.put(text, t)
	return text
}

// punch returns whose ticket it is, if it still counts. It does not from then on.
func (i *Issuer) punch(on *shelf[*ticket], text string) (*signIn, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t, known := on.get(text)
	if !known {
		return nil, false
	}
	t.of.ended = t.of.ended || t.used
	counts := !t.of.ended && i.options.Now().Before(t.until)
	t.used = true
	return t.of, counts
}

// token gives a page what its code or its refresh token is worth.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil || len(r.URL.RawQuery) > 0 || twice(r.PostForm) {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	form := r.PostForm
	var of *signIn
	var ok bool
	switch {
	case !i.signsIn() || form.Get("client_id") != i.options.ClientID:
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	case form.Get("grant_type") == grantCode:
		of, ok = i.punch(&i.codes, form.Get("code"))
		ok = ok && form.Get("redirect_uri") == of.redirect && of.opens(form.Get("code_verifier"))
	case form.Get("grant_type") == grantRefresh:
		of, ok = i.punch(&i.refreshes, form.Get("refresh_token"))
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	writeJSON(w, i.worth(of))
}

func twice(form url.Values) bool {
	for _, values := range form {
		if len(values) > 1 {
			return true
		}
	}
	return false
}

// opens reports whether the verifier is the one that the challenge was made of, so
// that who has only seen the code gets nothing (RFC 7636).
func (s *signIn) opens(verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	return isVerifier.MatchString(verifier) && subtle.ConstantTimeCompare([]byte(challenge), []byte(s.challenge)) == 1
}

// worth is what a ticket is exchanged for: a bearer, and the next ticket.
func (i *Issuer) worth(of *signIn) map[string]any {
	extra := map[string]any{"client_id": i.options.ClientID}
	if of.scope != "" {
		extra["scope"] = of.scope
	}
	answer := map[string]any{
		"access_token": i.Bearer(of.name, extra), "token_type": "Bearer", "expires_in": int(i.options.Life.Seconds()), "scope": of.scope,
		"refresh_token": i.issue(&i.refreshes, &ticket{of: of, until: i.options.Now().Add(refreshLife)}),
	}
	if slices.Contains(strings.Fields(of.scope), "openid") {
		answer["id_token"] = i.idToken(of)
	}
	return answer
}

// idToken tells the page who signed in. It is for the page, so it is no bearer.
func (i *Issuer) idToken(of *signIn) string {
	now := i.options.Now()
	claims := map[string]any{
		"iss": i.URL(), "sub": of.name, "aud": i.options.ClientID,
		"iat": now.Unix(), "exp": now.Add(i.options.Life).Unix(), "auth_time": of.at.Unix(),
	}
	if of.nonce != "" {
		claims["nonce"] = of.nonce
	}
	return i.Key().Sign(map[string]any{"typ": "JWT"}, claims)
}
