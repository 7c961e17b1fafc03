package authz

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A holder has the key that a bearer is bound to, and makes proofs with it. Its
// signatures are not made by the library that checks them.
type holder struct {
	alg    string
	key    crypto.Signer
	serial int
}

// fields go into a header or a payload over what is there. A nil value takes a
// field away.
type fields = map[string]any

const (
	proofURL    = "https://phone.example.com/v1/token"
	proofBearer = "the-access-token"
)

// newHolder has the key of RFC 8037 appendix A.1.
func newHolder() *holder {
	seed, _ := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	return &holder{alg: "EdDSA", key: ed25519.NewKeyFromSeed(seed)}
}

func (h *holder) want() proofWant {
	sum, err := (&jose.JSONWebKey{Key: h.key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return proofWant{"POST", proofURL, proofBearer, "main:alice", base64.RawURLEncoding.EncodeToString(sum)}
}

func (h *holder) jwk() (jwk fields) {
	text, err := jose.JSONWebKey{Key: h.key.Public()}.MarshalJSON()
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(text, &jwk); err != nil {
		panic(err)
	}
	return jwk
}

// proof is a new and good one but for what is said.
func (h *holder) proof(header, claims fields) string {
	h.serial++
	sum := sha256.Sum256([]byte(proofBearer))
	return h.sign(over(fields{"typ": "dpop+jwt", "alg": h.alg, "jwk": h.jwk()}, header), over(fields{
		"jti": fmt.Sprint("proof-", h.serial),
		"htm": "POST",
		"htu": proofURL,
		"iat": proofNow.Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}, claims))
}

func (h *holder) good() string { return h.proof(nil, nil) }

func over(base, changes fields) string {
	maps.Copy(base, changes)
	maps.DeleteFunc(base, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(base)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (h *holder) sign(header, payload string) string {
	input := toBase64(header) + "." + toBase64(payload)
	hash := map[string]crypto.Hash{"ES384": crypto.SHA384, "EdDSA": 0}
	how, known := hash[h.alg]
	if !known {
		how = crypto.SHA256
	}
	message, options := []byte(input), crypto.SignerOpts(how)
	if how != 0 {
		digest := how.New()
		digest.Write(message)
		message = digest.Sum(nil)
	}
	if h.alg == "PS256" {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: how}
	}
	if key, ok := h.key.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, key, message)
		if err != nil {
			panic(err)
		}
		size := (key.Params().BitSize + 7) / 8
		both := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		return input + "." + toBase64(string(both))
	}
	signature, err := h.key.Sign(rand.Reader, message, options)
	if err != nil {
		panic(err)
	}
	return input + "." + toBase64(string(signature))
}

func toBase64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestWhichProofsAreAccepted(t *testing.T) {
	me := newHolder()
	p := newProofs((&fixed{proofNow}).now, nil)
	check := func(name, want string, headers ...string) {
		t.Helper()
		if got := verdict(p.check(headers, me.want())); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	allow := func(name, proof string) { t.Helper(); check(name, "accepted", proof) }
	deny := func(name string, why Reason, headers ...string) { t.Helper(); check(name, string(why), headers...) }
	header := func(f fields) string { return me.proof(f, nil) }
	claims := func(f fields) string { return me.proof(nil, f) }
	jwk := func(f fields) string {
		changed := me.jwk()
		maps.Copy(changed, f)
		return header(fields{"jwk": changed})
	}
	in := func(d time.Duration) int64 { return proofNow.Add(d).Unix() }

	allow("a good proof", me.good())

	deny("no proof", ReasonProof)
	deny("an empty proof", ReasonProof, "")
	deny("two proofs", ReasonProof, me.good(), me.good())
	deny("two proofs in one header", ReasonProof, me.good()+", "+me.good())
	deny("garbage", ReasonProof, "garbage")
	deny("garbage in three parts", ReasonProof, "a.b.c")
	deny("a line break in it", ReasonProof, strings.Replace(me.good(), ".", ".\n", 1))
	deny("no signature", ReasonProof, unsigned(me.good()))
	deny("longer than looked at", ReasonProof, claims(fields{"x": strings.Repeat("x", maxProofBytes)}))
	allow("nearly as long", claims(fields{"x": strings.Repeat("x", maxProofBytes/2)}))
	head, body := decoded(me.good())
	deny("claims that are null", ReasonProof, me.sign(head, "null"))
	deny("claims that are a list", ReasonProof, me.sign(head, "["+body+"]"))
	deny("something after the claims", ReasonProof, me.sign(head, body+" {}"))
	allow("the claims alone", me.sign(head, body))

	allow("typ in full", header(fields{"typ": "application/dpop+jwt"}))
	allow("typ in another case", header(fields{"typ": "DPoP+JWT"}))
	deny("no typ", ReasonProof, header(fields{"typ": nil}))
	deny("typ JWT", ReasonProof, header(fields{"typ": "JWT"}))
	deny("typ at+jwt", ReasonProof, header(fields{"typ": "at+jwt"}))
	deny("a typ that only ends so", ReasonProof, header(fields{"typ": "text/dpop+jwt"}))
	deny("a typ that is a number", ReasonProof, header(fields{"typ": 7}))
	deny("crit", ReasonProof, header(fields{"crit": []string{"exp"}, "exp": 1}))
	deny("an empty crit", ReasonProof, header(fields{"crit": []string{}}))
	deny("crit of what the library knows", ReasonProof, header(fields{"crit": []string{"b64"}, "b64": true}))
	deny("b64 without crit", ReasonProof, header(fields{"b64": true}))
	deny("b64 without crit, signed as it says", ReasonProof, me.unencoded())

	deny("alg none", ReasonProof, unsigned(header(fields{"alg": "none"})))
	deny("alg none with a signature", ReasonProof, header(fields{"alg": "none"}))
	deny("no alg", ReasonProof, header(fields{"alg": nil}))
	deny("HS256 with the jwk as secret", ReasonProof, me.hs256(fields{"jwk": me.jwk()}))
	deny("HS256 with the secret in the header", ReasonProof, me.hs256(fields{"jwk": fields{"kty": "oct", "k": toBase64(proofURL)}}))
	deny("a symmetric jwk", ReasonProof, header(fields{"jwk": fields{"kty": "oct", "k": toBase64(proofURL)}}))
	deny("a jwk with a secret beside", ReasonProof, jwk(fields{"k": toBase64(proofURL)}))
	deny("the private key in the jwk", ReasonProof, jwk(fields{"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}))
	deny("an empty private key in the jwk", ReasonProof, jwk(fields{"d": ""}))
	for _, private := range []string{"p", "q", "dp", "dq", "qi"} {
		deny("a private part in the jwk: "+private, ReasonProof, jwk(fields{private: "AQ"}))
	}
	deny("no jwk", ReasonProof, header(fields{"jwk": nil}))
	deny("no jwk but a kid", ReasonProof, header(fields{"jwk": nil, "kid": me.want().key}))
	deny("a jwk that is text", ReasonProof, header(fields{"jwk": "key"}))
	deny("an empty jwk", ReasonProof, header(fields{"jwk": fields{}}))
	deny("a curve that is not supported", ReasonProof, jwk(fields{"crv": "X25519"}))
	allow("a jwk that says more", jwk(fields{"kid": "mine", "use": "sig", "ext": true, "key_ops": []string{"verify"}}))

	stranger := &holder{alg: "ES256", key: ecKey(t, elliptic.P256())}
	deny("a proof by another key", ReasonBinding, stranger.good())
	deny("a bound key's name, another's signature", ReasonProof, (&holder{alg: "EdDSA", key: edKey(t)}).proof(fields{"jwk": me.jwk()}, nil))
	deny("an alg of another kind of key", ReasonProof, stranger.proof(fields{"jwk": me.jwk()}, nil))
	deny("a changed signature", ReasonProof, unsigned(me.good())+toBase64(strings.Repeat("x", ed25519.SignatureSize)))
	old, changed := me.good(), strings.Split(claims(fields{"jti": "changed"}), ".")
	deny("other claims, an old signature", ReasonProof, changed[0]+"."+changed[1]+old[strings.LastIndex(old, "."):])

	deny("another method", ReasonProofTarget, claims(fields{"htm": "GET"}))
	deny("the method in lower case", ReasonProofTarget, claims(fields{"htm": "post"}))
	deny("no method", ReasonProofTarget, claims(fields{"htm": nil}))
	deny("a method that is a number", ReasonProof, claims(fields{"htm": 7}))
	deny("another host", ReasonProofTarget, claims(fields{"htu": "https://evil.example/v1/token"}))
	deny("another scheme", ReasonProofTarget, claims(fields{"htu": "http://phone.example.com/v1/token"}))
	deny("another port", ReasonProofTarget, claims(fields{"htu": "https://phone.example.com:8443/v1/token"}))
	deny("another path", ReasonProofTarget, claims(fields{"htu": "https://phone.example.com/v1/whoami"}))
	deny("a path in another case", ReasonProofTarget, claims(fields{"htu": "https://phone.example.com/v1/Token"}))
	deny("a slash more", ReasonProofTarget, claims(fields{"htu": proofURL + "/"}))
	deny("only the path", ReasonProofTarget, claims(fields{"htu": "/v1/token"}))
	deny("user information", ReasonProofTarget, claims(fields{"htu": "https://alice@phone.example.com/v1/token"}))
	deny("no address", ReasonProofTarget, claims(fields{"htu": nil}))
	allow("a query and a fragment", claims(fields{"htu": proofURL + "?a=b#c"}))
	allow("the default port", claims(fields{"htu": "https://phone.example.com:443/v1/token"}))
	allow("a host and scheme in upper case", claims(fields{"htu": "HTTPS://PHONE.example.com/v1/token"}))

	allow("a minute old", claims(fields{"iat": in(-maxProofAge)}))
	deny("older", ReasonProofTime, claims(fields{"iat": in(-maxProofAge - time.Second)}))
	allow("a little ahead", claims(fields{"iat": in(maxProofAhead)}))
	deny("further ahead", ReasonProofTime, claims(fields{"iat": in(maxProofAhead + time.Second)}))
	allow("fractions of a second", claims(fields{"iat": float64(proofNow.Unix()) + 0.5}))
	deny("no iat", ReasonProofTime, claims(fields{"iat": nil}))
	deny("iat zero", ReasonProofTime, claims(fields{"iat": 0}))
	deny("iat that is text", ReasonProof, claims(fields{"iat": fmt.Sprint(proofNow.Unix())}))
	deny("iat beyond any calendar", ReasonProof, claims(fields{"iat": 1e300}))

	deny("no jti", ReasonProof, claims(fields{"jti": nil}))
	deny("an empty jti", ReasonProof, claims(fields{"jti": ""}))
	deny("a jti that is a number", ReasonProof, claims(fields{"jti": 7}))
	deny("a jti of 300 bytes", ReasonProof, claims(fields{"jti": strings.Repeat("j", 300)}))
	allow("a jti of 256 bytes", claims(fields{"jti": strings.Repeat("j", maxProofID)}))

	deny("no ath", ReasonProofTarget, claims(fields{"ath": nil}))
	deny("ath of another bearer", ReasonProofTarget, claims(fields{"ath": toBase64(strings.Repeat("x", sha256.Size))}))
	deny("the bearer itself for ath", ReasonProofTarget, claims(fields{"ath": proofBearer}))

	allow("a nonce that nobody asked for", claims(fields{"nonce": "n"}))

	used := me.good()
	allow("a proof", used)
	deny("the same again", ReasonProofReplayed, used)
	allow("a jti", claims(fields{"jti": "once"}))
	deny("the same jti in another proof", ReasonProofReplayed, claims(fields{"jti": "once", "iat": in(-time.Second)}))
	deny("a jti that was used, in another spelling", ReasonProofReplayed, me.raw(`"jti":"\u006fnce"`))

	if err := p.check([]string{stranger.proof(nil, fields{"jti": "once"})}, stranger.want()); err != nil {
		t.Errorf("a jti that another key used: %v", err)
	}

	allow("a jti of its own", me.raw(`"jti":"a"`))
	deny("a jti twice", ReasonProof, me.raw(`"jti":"b","jti":"c"`))
	deny("a jti twice, in another spelling", ReasonProof, me.raw(`"jti":"b","\u006ati":"c"`))
	deny("a jti only in another case", ReasonProof, me.raw(`"JTI":"b"`))
	allow("a jti in another case besides", me.raw(`"jti":"d","Jti":"b"`))
	deny("typ twice", ReasonProof, me.edited(`{`, `{"typ":"dpop+jwt",`))
	deny("jwk twice", ReasonProof, me.edited(`{`, `{"jwk":{},`))
	deny("a part of the key twice", ReasonProof, me.edited(`"jwk":{`, `"jwk":{"x":"AA",`))
	allow("a part of the key in another case besides", me.edited(`"jwk":{`, `"jwk":{"X":"AA","D":"AA",`))
}

// raw is a good proof whose payload begins with the text.
func (h *holder) raw(start string) string {
	header, payload := decoded(h.proof(nil, fields{"jti": nil}))
	return h.sign(header, "{"+start+","+payload[1:])
}

// edited is a good proof with another text in its header.
func (h *holder) edited(old, text string) string {
	header, payload := decoded(h.good())
	return h.sign(strings.Replace(header, old, text, 1), payload)
}

func decoded(jws string) (header, payload string) {
	parts := strings.Split(jws, ".")
	first, _ := base64.RawURLEncoding.DecodeString(parts[0])
	second, _ := base64.RawURLEncoding.DecodeString(parts[1])
	return string(first), string(second)
}

// hs256 is a proof whose jwk is taken for a shared secret.
func (h *holder) hs256(header fields) string {
	header["alg"] = "HS256"
	input := strings.TrimSuffix(unsigned(h.proof(header, nil)), ".")
	key, err := json.Marshal(header["jwk"])
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(input))
	return input + "." + toBase64(string(mac.Sum(nil)))
}

// unencoded is a proof that is signed as RFC 7797 says.
func (h *holder) unencoded() string {
	proof := h.proof(fields{"b64": false}, nil)
	header, payload := decoded(proof)
	signature, err := h.key.Sign(nil, []byte(toBase64(header)+"."+payload), crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return unsigned(proof) + toBase64(string(signature))
}

func unsigned(jws string) string { return jws[:strings.LastIndex(jws, ".")+1] }

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestWhichKeysMakeProofs(t *testing.T) {
	strong, p256 := rsaKey(t, minRSABits), ecKey(t, elliptic.P256())
	for _, row := range []struct {
		name, alg string
		key       crypto.Signer
		want      string
	}{
		{"RS256", "RS256", strong, "accepted"},
		{"PS256", "PS256", strong, "accepted"},
		{"ES256", "ES256", p256, "accepted"},
		{"ES384", "ES384", ecKey(t, elliptic.P384()), "accepted"},
		{"EdDSA", "EdDSA", edKey(t), "accepted"},
		{"RS256 with a weak key", "RS256", rsaKey(t, 1024), "proof"},
		{"ES256 over P-384", "ES256", ecKey(t, elliptic.P384()), "proof"},
		{"ES384 over P-256", "ES384", p256, "proof"},
	} {
		h, p := &holder{alg: row.alg, key: row.key}, newProofs((&fixed{proofNow}).now, nil)
		if got := verdict(p.check([]string{h.good()}, h.want())); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// The proof, the bearer and the thumbprint that RFC 9449 prints in sections 6.1
// and 7.1.
func TestTheProofThatTheRFCPrints(t *testing.T) {
	const printed = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFV" +
		"ZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19." +
		"eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIs" +
		"ImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9." +
		"2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	p := newProofs((&fixed{time.Unix(1562262618, 0)}).now, nil)
	if err := p.check([]string{printed}, proofWant{
		method: "GET",
		url:    "https://resource.example.org/protectedresource",
		bearer: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
		key:    "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
	}); err != nil {
		t.Error(err)
	}
}

func TestNothingIsWantedOfNobody(t *testing.T) {
	me := newHolder()
	for name, change := range map[string]func(*proofWant, fields){
		"no key":     func(w *proofWant, _ fields) { w.key = "" },
		"no method":  func(w *proofWant, c fields) { w.method, c["htm"] = "", nil },
		"no address": func(w *proofWant, c fields) { w.url, c["htu"] = "", nil },
	} {
		want, claims := me.want(), fields{}
		change(&want, claims)
		if err := newProofs((&fixed{proofNow}).now, nil).check([]string{me.proof(nil, claims)}, want); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAProofThatWasUsedNeverPassesAgain(t *testing.T) {
	me, clock := newHolder(), &fixed{proofNow}
	p := newProofs(clock.now, nil)
	used := me.proof(nil, fields{"iat": proofNow.Add(maxProofAhead).Unix()}) // as long-lived as can be
	for _, step := range []struct {
		at   time.Duration
		want string
	}{
		{0, "accepted"},
		{0, "proof_replayed"},
		{proofLife / 2, "proof_replayed"},
		{proofLife - time.Millisecond, "proof_replayed"},
		{proofLife, "proof_replayed"},
		{proofLife + time.Millisecond, "proof_time"},
		{time.Hour, "proof_time"},
		{0, "proof_replayed"}, // should the clock be set back
	} {
		clock.time = proofNow.Add(step.at)
		if got := verdict(p.check([]string{used}, me.want())); got != step.want {
			t.Errorf("after %v: %s, want %s", step.at, got, step.want)
		}
	}
}

func TestOfOneProofSentManyTimesAtOnceOnePasses(t *testing.T) {
	me := newHolder()
	p := newProofs((&fixed{proofNow}).now, nil)
	want := me.want()
	const proofs, senders = 20, 8
	for range proofs {
		proof := me.good()
		verdicts := make(chan string, senders)
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() { verdicts <- verdict(p.check([]string{proof}, want)) })
		}
		wg.Wait()
		close(verdicts)
		counts := make(map[string]int)
		for v := range verdicts {
			counts[v]++
		}
		if counts["accepted"] != 1 || counts["proof_replayed"] != senders-1 {
			t.Fatalf("%v, want one accepted and the others replayed", counts)
		}
	}
}

func TestAProofCarriesANonceIfOneIsAskedFor(t *testing.T) {
	me, clock := newHolder(), &fixed{proofNow}
	p := newProofs(clock.now, newNonces(keyOf("shared by the replicas"), clock.now))
	other := newNonces(keyOf("somebody else's"), clock.now)
	deny := func(name string, nonce any) {
		t.Helper()
		if got := verdict(p.check([]string{me.proof(nil, fields{"nonce": nonce, "iat": clock.time.Unix()})}, me.want())); got != "proof_nonce" {
			t.Errorf("%s: %s, want proof_nonce", name, got)
		}
	}
	current := p.nonces.current()
	deny("none", nil)
	deny("an empty one", "")
	deny("a wrong one", "wrong")
	deny("the beginning of one", current[:10])
	deny("one by another key", other.current())
	if err := p.check([]string{me.proof(nil, fields{"nonce": current})}, me.want()); err != nil {
		t.Errorf("the current one: %v", err)
	}
	clock.time = clock.time.Add(nonceLife)
	if err := p.check([]string{me.proof(nil, fields{"nonce": current, "iat": clock.time.Unix()})}, me.want()); err != nil {
		t.Errorf("the previous one: %v", err)
	}
	clock.time = clock.time.Add(nonceLife)
	deny("an older one", current)
}

func TestAFullMemoryRefusesWhatItCannotRemember(t *testing.T) {
	me, clock := newHolder(), &fixed{proofNow}
	p := newProofs(clock.now, nil)
	p.seen.limit = 3
	first := me.good()
	for _, step := range []struct{ proof, want string }{
		{first, "accepted"},
		{me.good(), "accepted"},
		{me.proof(nil, fields{"htm": "GET"}), "proof_target"}, // takes no room
		{me.good(), "accepted"},
		{me.good(), "busy"},
		{first, "proof_replayed"},
	} {
		if got := verdict(p.check([]string{step.proof}, me.want())); got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
	clock.time = clock.time.Add(proofLife)
	if err := p.check([]string{me.proof(nil, fields{"iat": clock.time.Unix()})}, me.want()); err != nil {
		t.Errorf("after a while: %v", err)
	}
}

func TestAddressesThatAreTheSame(t *testing.T) {
	for _, row := range []struct {
		a, b string
		same bool
	}{
		{"https://h.example", "https://h.example/", true},
		{"https://h.example:/", "https://h.example/", true},
		{"http://h.example:80/x", "http://H.EXAMPLE/x", true},
		{"https://[2001:DB8::1]:443/x", "https://[2001:db8::1]/x", true},
		{"https://h.example/%7ex/%3a", "https://h.example/~x/%3A", true},
		{"https://h.example/%61%7A%41%5A%30%39%2D%2E%5F%7E", "https://h.example/azAZ09-._~", true},
		{"https://h.example/%40", "https://h.example/@", false},
		{"https://h.example/%C3%A9", "https://h.example/é", true},
		{"https://h.example:80/", "https://h.example/", false},
		{"http://h.example:443/", "http://h.example/", false},
		{"https://h.example/a%2Fb", "https://h.example/a/b", false},
		{"https://h.example/a:b", "https://h.example/a%3Ab", false},
		{"https://h.example/a//b", "https://h.example/a/b", false},
		{"https://h.example/a/../b", "https://h.example/b", false},
		{"https://h.example.evil/", "https://h.example/", false},
		{"https://h.example@evil/", "https://evil/", false},
		{"https://@h.example/", "https://h.example/", false},
		{"https:h.example", "https:h.example", false},
		{"https://:443/", "https://:443/", false},
		{"//h.example/", "https://h.example/", false},
		{"https://h.example/%zz", "https://h.example/%zz", false},
		{"", "", false},
	} {
		if got := sameAddress(row.a, row.b); got != row.same {
			t.Errorf("%s and %s: same is %v", row.a, row.b, got)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("https://phone.example.com:443/v1/%74oken?q#f")
	f.Add("http://[::1%25eth0]:80/%c3%a9%2f")
	f.Add("https://a@b")
	f.Fuzz(func(t *testing.T, s string) {
		normal, ok := normalAddress(s)
		if !ok {
			return
		}
		if strings.Contains(s, "@") && !strings.ContainsAny(s, "/?#") || strings.ContainsAny(normal, "?#") {
			t.Fatalf("%q is taken for %q", s, normal)
		}
	})
}

// FuzzProof sends the text as it stands, and the header and the payload signed,
// because random bytes are seldom signed.
func FuzzProof(f *testing.F) {
	me := newHolder()
	want := me.want()
	nonces := newNonces(keyOf("shared by the replicas"), (&fixed{proofNow}).now)
	for _, seed := range []string{
		me.proof(nil, fields{"nonce": nonces.current()}),
		me.proof(fields{"typ": "application/DPoP+jwt", "kid": "k"}, fields{"nonce": nonces.current(), "htu": "HTTPS://phone.example.com:443/v1/%74oken?q"}),
		me.proof(fields{"b64": false}, nil),
		me.proof(fields{"crit": []string{"b64"}}, fields{"iat": 1.5}),
		me.proof(fields{"jwk": fields{"kty": "oct", "k": "AA"}}, nil),
	} {
		header, payload := decoded(seed)
		f.Add(seed, header, payload)
	}
	f.Fuzz(func(t *testing.T, text, header, payload string) {
		p := newProofs((&fixed{proofNow}).now, nonces)
		for _, proof := range []string{text, me.sign(header, payload)} {
			err := p.check([]string{proof}, want)
			if verdict(err) == "accepted" {
				mustHold(t, proof, nonces)
				if got := verdict(p.check([]string{proof}, want)); got != "proof_replayed" {
					t.Fatalf("accepted once, and then %s: %q", got, proof)
				}
			} else if invalid := (*InvalidError)(nil); !errors.As(err, &invalid) {
				t.Fatalf("check gives %v", err)
			}
		}
	})
}

// mustHold reads an accepted proof with another JSON library than check does.
func mustHold(t *testing.T, proof string, nonces *nonces) {
	t.Helper()
	var header, claims map[string]any
	head, body := decoded(proof)
	if json.Unmarshal([]byte(head), &header) != nil || json.Unmarshal([]byte(body), &claims) != nil {
		t.Fatalf("accepted, and not JSON: %q", proof)
	}
	typ, _ := header["typ"].(string)
	jwk, _ := header["jwk"].(map[string]any)
	x, _ := jwk["x"].(string)
	key, _ := base64.RawURLEncoding.DecodeString(x)
	id, _ := claims["jti"].(string)
	address, _ := claims["htu"].(string)
	iat, _ := claims["iat"].(float64)
	age := float64(proofNow.Unix()) - iat
	sum := sha256.Sum256([]byte(proofBearer))
	switch {
	case strings.Count(proof, ".") != 2 || len(proof) > maxProofBytes,
		!strings.HasSuffix(strings.ToLower(typ), "dpop+jwt"),
		header["alg"] != "EdDSA" || header["crit"] != nil,
		!newHolder().key.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(key)) || jwk["d"] != nil || jwk["k"] != nil,
		id == "" || len(id) > maxProofID,
		claims["htm"] != "POST",
		!strings.Contains(strings.ToLower(address), "//phone.example.com"),
		claims["ath"] != base64.RawURLEncoding.EncodeToString(sum[:]),
		age > maxProofAge.Seconds() || age < -maxProofAhead.Seconds(),
		claims["nonce"] != nonces.current():
		t.Fatalf("accepted: %q", proof)
	}
}

func BenchmarkProof(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		key := map[string]crypto.Signer{"ES256": ecKey(b, elliptic.P256()), "EdDSA": edKey(b), "RS256": rsaKey(b, minRSABits)}[alg]
		h := &holder{alg: alg, key: key}
		p := newProofs((&fixed{proofNow}).now, newNonces(keyOf("shared by the replicas"), (&fixed{proofNow}).now))
		good, want := []string{h.proof(nil, fields{"nonce": p.nonces.current()})}, h.want()
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.check(good, want); err != nil {
					b.Fatal(err)
				}
				p.seen.recent = newGeneration()
			}
		})
	}
	b.Run("by another key", func(b *testing.B) {
		p := newProofs((&fixed{proofNow}).now, nil)
		other, want := []string{(&holder{alg: "EdDSA", key: edKey(b)}).good()}, newHolder().want()
		b.ReportAllocs()
		for b.Loop() {
			if err := p.check(other, want); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
