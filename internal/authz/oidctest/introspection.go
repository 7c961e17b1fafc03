package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Client may ask what a token is about (RFC 7662). It authenticates with its
// secret (client_secret_basic) or with assertions that its key verifies
// (private_key_jwt); what is not set is not accepted.
type Client struct {
	ID     string
	Secret string
	Key    crypto.PublicKey
}

// Register makes this the client. Before, there is the one of the options.
func (i *Issuer) Register(c Client) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.options.Client = c
}

// Opaque returns a token for the subject that says nothing to anybody but this
// issuer. Claims and extra are as for bearers.
func (i *Issuer) Opaque(subject string, extra map[string]any) string {
	text := "opaque~" + rand.Text()
	claims := i.Claims(subject, extra)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.opaque[text] = claims
	return text
}

// Revoke makes a token inactive, opaque or not.
func (i *Issuer) Revoke(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revoked[token] = true
}

// Introspections returns how often it has been asked about a token.
func (i *Issuer) Introspections() int { return int(i.introspections.Load()) }

// BreakIntrospection makes every question about a token go to h, until it is
// called with nil.
func (i *Issuer) BreakIntrospection(h http.HandlerFunc) { setFault(&i.introspectionFault, h) }

func (i *Issuer) introspect(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	if err := i.authenticate(r); err != nil {
		w.Header().Set("WWW-Authenticate", "Basic")
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	token := r.PostForm.Get("token")
	if token == "" {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	claims, ok := i.live(token)
	if !ok {
		writeJSON(w, map[string]any{"active": false}) // and not a word more: section 2.2
		return
	}
	answer := map[string]any{"active": true, "token_type": "Bearer"}
	maps.Copy(answer, claims)
	writeJSON(w, answer)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code})
}

// live returns the claims of a token that has neither expired nor been revoked.
func (i *Issuer) live(token string) (map[string]any, bool) {
	i.mu.Lock()
	claims, known := i.opaque[token]
	revoked := i.revoked[token]
	i.mu.Unlock()
	if !known {
		claims, known = i.signed(token)
	}
	if !known || revoked {
		return nil, false
	}
	exp, limited := seconds(claims["exp"])
	return claims, !limited || i.options.Now().Unix() < exp
}

// signed returns the claims of a bearer that one of the issuer's keys signed.
func (i *Issuer) signed(text string) (map[string]any, bool) {
	jws, err := jose.ParseSignedCompact(text, assertionAlgorithms)
	if err != nil {
		return nil, false
	}
	i.mu.Lock()
	keys := slices.Clone(i.keys)
	i.mu.Unlock()
	for _, k := range keys {
		payload, err := jws.Verify(k.Private.Public())
		var claims map[string]any
		if err == nil && json.Unmarshal(payload, &claims) == nil {
			return claims, true
		}
	}
	return nil, false
}

// seconds reads a time that came from JSON or from a test.
func seconds(claim any) (int64, bool) {
	switch n := claim.(type) {
	case float64:
		return int64(n), true
	case int64:
		return n, true
	case int:
		return int64(n), true
	}
	return 0, false
}

var assertionAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// errNotAuthenticated is all that is said of a client that is not ours.
var errNotAuthenticated = errors.New("not authenticated")

// authenticate accepts exactly one way of the two.
func (i *Issuer) authenticate(r *http.Request) error {
	i.mu.Lock()
	client := i.options.Client
	i.mu.Unlock()
	id, secret, basic := r.BasicAuth()
	assertion := r.PostForm.Get("client_assertion")
	switch {
	case client.ID == "" || basic == (assertion != ""):
		return errNotAuthenticated
	case basic:
		return client.checkSecret(id, secret)
	}
	return i.checkAssertion(client, r.PostForm.Get("client_assertion_type"), assertion)
}

// checkSecret undoes the form encoding first (RFC 6749 section 2.3.1).
func (c Client) checkSecret(id, secret string) error {
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	if errID != nil || errSecret != nil || c.Secret == "" || id != c.ID ||
		subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) != 1 {
		return errNotAuthenticated
	}
	return nil
}

// checkAssertion verifies as RFC 7523 section 3 has it. No jti is accepted twice.
func (i *Issuer) checkAssertion(c Client, kind, assertion string) error {
	if c.Key == nil || kind != assertionType {
		return errNotAuthenticated
	}
	jws, err := jose.ParseSignedCompact(assertion, assertionAlgorithms)
	if err != nil {
		return errNotAuthenticated
	}
	payload, err := jws.Verify(c.Key)
	if err != nil {
		return errNotAuthenticated
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return errNotAuthenticated
	}
	now, expires := i.options.Now(), time.Unix(claims.Expires, 0)
	if claims.Issuer != c.ID || claims.Subject != c.ID || claims.Audience != i.URL() ||
		!expires.After(now) || expires.After(now.Add(5*time.Minute)) {
		return errNotAuthenticated
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if claims.ID == "" || i.assertions[claims.ID] {
		return errNotAuthenticated
	}
	i.assertions[claims.ID] = true
	return nil
}
