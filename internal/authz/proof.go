package authz

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, and refuses duplicate names
)

// Bounds of a DPoP proof.
const (
	// maxProofBytes is the longest proof looked at. One with an RSA key of 4096
	// bits is 2 KiB.
	maxProofBytes = 8 << 10
	// maxProofID is the longest jti in bytes. A UUID has 36.
	maxProofID = 256
	// maxProofAge is for slow mobile networks and clocks that are behind ours. A
	// proof is made for one request: there is no other reason to be old.
	maxProofAge = 60 * time.Second
	// maxProofAhead is for clocks that are ahead of ours. A stolen proof that was
	// made in stock has that much longer to be used.
	maxProofAhead = 10 * time.Second
	// proofLife is the time between the first and the last moment at which a
	// proof can be accepted.
	proofLife = maxProofAhead + maxProofAge
)

// proofWant is what a proof must be about.
type proofWant struct {
	method string // of the request, compared exactly with htm
	url    string // the request's address without query and fragment, for htu
	bearer string // the access token, for ath
	user   string // whose token it is, whose share of the memory is used
	key    string // base64url SHA-256 JWK thumbprint (RFC 7638) that the token is bound to (cnf.jkt)
}

// proofs checks DPoP proofs (RFC 9449): that whoever sends a bearer also has the
// private key that the bearer is bound to, and made this request with it now.
type proofs struct {
	now    func() time.Time
	nonces *nonces
	seen   *replays
}

// newProofs takes the nonces that proofs must carry. If nil, none are asked for.
func newProofs(now func() time.Time, nonces *nonces) *proofs {
	return &proofs{now, nonces, newReplays(proofLife, maxProofs)}
}

// check returns nil if the values of the request's DPoP header are one proof of
// what is wanted that was not used before (RFC 9449 section 4.3). Otherwise the
// error is an *InvalidError, or ErrBusy if that cannot be told now.
//
// Cheap checks come before expensive ones: a signature is verified only of a
// proof that is right in everything else, and only one that holds is remembered.
func (p *proofs) check(headers []string, want proofWant) error {
	if len(headers) != 1 {
		return invalid(ReasonProof)
	}
	proof, err := parseProof(headers[0])
	if err != nil {
		return err
	}
	if proof.thumbprint != want.key {
		return invalid(ReasonBinding)
	}
	bearer, now := digestOf(want.bearer), p.now()
	if err := proof.judge(want, bearer, now); err != nil {
		return err
	}
	if p.nonces != nil && !p.nonces.valid(proof.claims.Nonce) {
		return &InvalidError{Reason: ReasonProofNonce, Nonce: p.nonces.current()} // RFC 9449 section 8
	}
	if _, err := proof.jws.Verify(proof.key); err != nil {
		return invalid(ReasonProof)
	}
	return p.seen.admit(proof.identity(), want.user, proof.issuedAt, now)
}

// proof is a parsed DPoP proof whose signature has not been verified.
type proof struct {
	jws        *jose.JSONWebSignature
	key        any
	thumbprint string // of the key
	claims     proofClaims
	issuedAt   time.Time // zero if the claim is absent
}

type proofClaims struct {
	ID       string `json:"jti"`
	Method   string `json:"htm"`
	URL      string `json:"htu"`
	IssuedAt any    `json:"iat"`
	Bearer   string `json:"ath"`
	Nonce    string `json:"nonce"`
}

func parseProof(text string) (*proof, error) {
	if _, _, ok := compactForm(text); !ok || len(text) > maxProofBytes {
		return nil, invalid(ReasonProof)
	}
	jws, err := jose.ParseSignedCompact(text, allAlgorithms)
	if err != nil { // also when there is anything private in the jwk
		return nil, invalid(ReasonProof)
	}
	header := jws.Signatures[0].Protected
	p := &proof{jws: jws}
	if !isProofHeader(header) || !p.readKey(header) || !p.readClaims(jws.UnsafePayloadWithoutVerification()) {
		return nil, invalid(ReasonProof)
	}
	return p, nil
}

// isProofHeader refuses b64 too, which changes what is signed, and which the JWS
// library obeys even where crit does not name it (RFC 7797 section 6).
func isProofHeader(header jose.Header) bool {
	_, critical := header.ExtraHeaders["crit"]
	_, b64 := header.ExtraHeaders["b64"]
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	return !critical && !b64 && strings.TrimPrefix(strings.ToLower(typ), "application/") == "dpop+jwt"
}

// readKey reports whether the header has a public key that fits its algorithm.
// That key is worth nothing until it turns out to be the bearer's.
func (p *proof) readKey(header jose.Header) bool {
	jwk := header.JSONWebKey
	if jwk == nil || !slices.Contains(algorithmsOf(jwk.Key), header.Algorithm) {
		return false
	}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	p.key, p.thumbprint = jwk.Key, base64.RawURLEncoding.EncodeToString(sum)
	return err == nil
}

func (p *proof) readClaims(payload []byte) (ok bool) {
	if err := json.Unmarshal(payload, &p.claims); err != nil {
		return false
	}
	p.issuedAt, ok = numericDate(p.claims.IssuedAt)
	return ok && p.claims.ID != "" && len(p.claims.ID) <= maxProofID
}

// judge makes the checks of the claims.
func (p *proof) judge(want proofWant, bearer digest, now time.Time) error {
	age := now.Sub(p.issuedAt)
	switch {
	case p.claims.Method == "" || p.claims.Method != want.method,
		!sameAddress(p.claims.URL, want.url),
		p.claims.Bearer != base64.RawURLEncoding.EncodeToString(bearer[:]):
		return invalid(ReasonProofTarget)
	case p.issuedAt.IsZero(), age > maxProofAge, age < -maxProofAhead:
		return invalid(ReasonProofTime)
	}
	return nil
}

// identity is what a proof is remembered by. The signature is no part of it: by
// one key and one jti, any number can be made.
func (p *proof) identity() digest {
	return sha256.Sum256([]byte(p.thumbprint + "\x00" + p.claims.ID))
}

func sameAddress(a, b string) bool {
	normal, ok := normalAddress(a)
	other, usable := normalAddress(b)
	return ok && usable && normal == other
}

// normalAddress returns the one form of all addresses that are the same by their
// syntax and scheme (RFC 3986 sections 6.2.2 and 6.2.3), without query and
// fragment, or false for what is no absolute address or has user information.
// Dot segments are not resolved: no route of ours has any, so what has is not
// the same.
func normalAddress(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && port != defaultPorts[u.Scheme] {
		host += ":" + port
	}
	path := normalEscapes(u.EscapedPath())
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host + path, true
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// normalEscapes writes escapes in upper case, and unreserved characters without
// (RFC 3986 section 6.2.2.2). The path is one that the url package escaped.
func normalEscapes(path string) string {
	first, rest, escaped := strings.Cut(path, "%")
	if !escaped {
		return path
	}
	var b strings.Builder
	b.WriteString(first)
	for part := range strings.SplitSeq(rest, "%") {
		code := part[:2]
		if c, err := url.PathUnescape("%" + code); err == nil && isUnreserved(c[0]) {
			b.WriteString(c)
		} else {
			b.WriteString("%" + strings.ToUpper(code))
		}
		b.WriteString(part[2:])
	}
	return b.String()
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
