package telnyxtest

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

var jwtHeader = encode([]byte(`{"alg":"HS512","typ":"JWT"}`))

// claims are those of the sample in Telnyx's documents.
type claims struct {
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	Issuer   string `json:"iss"`
	ID       string `json:"jti"`
	From     int64  `json:"nbf"`
	Subject  string `json:"sub"`
	Opaque   string `json:"tel_token"`
	Type     string `json:"typ"`
}

// token makes a login token of about 590 characters.
func (s *Server) token(r *record, now time.Time) string {
	expires := now.Add(s.options.TokenLife)
	if r.ExpiresAt.Before(expires) {
		expires = r.ExpiresAt
	}
	payload, _ := json.Marshal(claims{
		Audience: "telnyx_telephony", Issuer: "telnyx_telephony", Type: "access",
		IssuedAt: now.Unix(), From: now.Unix() - 1, Expires: expires.Unix(),
		ID: randomUUID(), Subject: r.subject,
		Opaque: s.options.TokenMark + base64.URLEncoding.EncodeToString(randomBytes(106)),
	})
	signed := jwtHeader + "." + encode(payload)
	return signed + "." + encode(s.sign(signed))
}

// CredentialOf returns the id of the credential that a login token was made
// for by this server, also when it has been deleted since. It verifies the
// signature, not the expiry.
func (s *Server) CredentialOf(jwt string) (id string, ok bool) {
	c, ok := s.verify(jwt)
	if !ok {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok = s.subjects[c.Subject]
	return id, ok
}

// ExpiryOf returns when a login token of this server expires.
func (s *Server) ExpiryOf(jwt string) (t time.Time, ok bool) {
	c, ok := s.verify(jwt)
	return time.Unix(c.Expires, 0).UTC(), ok
}

func (s *Server) verify(jwt string) (claims, bool) {
	var c claims
	dot := strings.LastIndexByte(jwt, '.')
	if dot < 0 {
		return c, false
	}
	signed, signature := jwt[:dot], jwt[dot+1:]
	header, payload, ok := strings.Cut(signed, ".")
	if !ok || header != jwtHeader || !hmac.Equal([]byte(signature), []byte(encode(s.sign(signed)))) {
		return c, false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(payload)
	return c, err == nil && json.Unmarshal(decoded, &c) == nil
}

func (s *Server) sign(text string) []byte {
	mac := hmac.New(sha512.New, s.signingKey)
	fmt.Fprint(mac, text)
	return mac.Sum(nil)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
