package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// forgeries are bearers that look like a good one and must be refused. What a
// service does that checks no signatures, or takes any key, shows in them.
var forgeries = []struct {
	check string
	forge func(good secret.Text) (secret.Text, error)
}{
	{"altered_bearer", alter},
	{"foreign_signature", signAnew},
	{"unsigned_bearer", unsign},
}

var errNoJWT = errors.New("the bearer is no signed JWT")

// alter changes one character: of the signature, where there is one.
func alter(good secret.Text) (secret.Text, error) {
	text := []byte(good.Reveal())
	at := len(text) / 2
	if parts, err := partsOf(good); err == nil {
		at = len(text) - len(parts[2]) // the first: the last may stand for bits that do not count
	}
	if text[at] == 'A' {
		text[at] = 'B'
	} else {
		text[at] = 'A'
	}
	return secret.New(string(text)), nil
}

// signAnew signs the same claims under the same header, key id and all, with a
// key that was made a moment ago.
func signAnew(good secret.Text) (secret.Text, error) {
	parts, err := partsOf(good)
	if err != nil {
		return secret.Text{}, err
	}
	var header map[jose.HeaderKey]any
	head, payload := decoded(parts[0]), decoded(parts[1])
	if json.Unmarshal(head, &header) != nil || payload == nil {
		return secret.Text{}, errNoJWT
	}
	name, _ := header["alg"].(string)
	algorithm := jose.SignatureAlgorithm(name)
	key, err := newKeyFor(algorithm)
	if err != nil {
		return secret.Text{}, err
	}
	delete(header, "alg") // the signer's own
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		return secret.Text{}, errors.New("the bearer's like cannot be signed")
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return secret.Text{}, errors.New("the bearer's like cannot be signed")
	}
	text, err := signed.CompactSerialize()
	return secret.New(text), err
}

// unsign claims the same with no signature at all, and says so.
func unsign(good secret.Text) (secret.Text, error) {
	parts, err := partsOf(good)
	if err != nil {
		return secret.Text{}, err
	}
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	return secret.New(head + "." + parts[1] + "."), nil
}

// partsOf cuts a signed JWT into its three.
func partsOf(bearer secret.Text) ([]string, error) {
	parts := strings.Split(bearer.Reveal(), ".")
	if len(parts) != 3 || parts[2] == "" || decoded(parts[0]) == nil {
		return nil, errNoJWT
	}
	return parts, nil
}

// decoded is nil for what is no base64.
func decoded(part string) []byte {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil
	}
	return text
}

// newKeyFor makes a key that can sign so.
func newKeyFor(algorithm jose.SignatureAlgorithm) (key crypto.PrivateKey, err error) {
	switch algorithm {
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		return rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, errors.New("the bearer is signed in a way that cannot be imitated here")
}
