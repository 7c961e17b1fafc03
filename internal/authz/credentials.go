package authz

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLife = time.Minute
)

// credentials prove to an issuer who asks it. Secret and key are read anew each
// time, so that a rotated one is used at once.
type credentials struct {
	*Introspection
	issuer string // its URL, the audience of what is signed
	now    func() time.Time
}

// add puts the proof into a request's header or form.
func (c credentials) add(header http.Header, form url.Values) error {
	if c.ClientSecret != nil {
		header.Set("Authorization", basic(c.ClientID, c.ClientSecret()))
		return nil
	}
	assertion, err := c.assertion()
	if err != nil {
		return err
	}
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

// basic encodes both parts as forms are before it joins them (RFC 6749 section
// 2.3.1), or a colon in the id would move the border between them.
func basic(id string, password secret.Text) string {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(password.Reveal())
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}

// assertion is a JWT by which the client vouches for itself (RFC 7523 section 3,
// OpenID Connect Core section 9).
func (c credentials) assertion() (string, error) {
	key, err := parsePrivateKey(c.PrivateKey())
	if err != nil {
		return "", err
	}
	options := new(jose.SignerOptions).WithType("JWT")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.Algorithm), Key: key}, options)
	if err != nil {
		return "", errPrivateKey
	}
	now := c.now()
	claims, err := json.Marshal(map[string]any{
		"iss": c.ClientID,
		"sub": c.ClientID,
		"aud": c.issuer,
		"jti": rand.Text(),
		"iat": now.Unix(),
		"exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(claims)
	if err != nil {
		return "", errPrivateKey
	}
	return jws.CompactSerialize()
}

// errPrivateKey is all that is said of a key: its parsers may quote it.
var errPrivateKey = errors.New("must hold a private key, PKCS #8 in PEM or a JWK: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519")

// CheckPrivateKey says whether the text is a key that Introspection can use. The
// error does not repeat it.
func CheckPrivateKey(text secret.Text) error {
	_, err := parsePrivateKey(text)
	return err
}

// parsePrivateKey returns a key whose Algorithm is set, to one that fits it.
func parsePrivateKey(text secret.Text) (jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	if clear := strings.TrimSpace(text.Reveal()); strings.HasPrefix(clear, "{") {
		if err := key.UnmarshalJSON([]byte(clear)); err != nil {
			return key, errPrivateKey
		}
	} else {
		block, _ := pem.Decode([]byte(clear))
		if block == nil {
			return key, errPrivateKey
		}
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return key, errPrivateKey
		}
		key.Key = private
	}
	private, ok := key.Key.(crypto.Signer)
	if !ok {
		return key, errPrivateKey
	}
	fit := usableFor(jose.JSONWebKey{Key: private.Public(), Use: key.Use, Algorithm: key.Algorithm})
	if len(fit) == 0 {
		return key, errPrivateKey
	}
	key.Algorithm = fit[0]
	return key, nil
}
