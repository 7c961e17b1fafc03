package authz

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeyLife(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                                  defaultKeyLife,
		"no-cache":                          defaultKeyLife,
		"max-age=3600":                      time.Hour,
		"public, Max-Age=3600, immutable":   time.Hour,
		`max-age="3600"`:                    time.Hour,
		"max-age=0":                         minKeyLife,
		"max-age=1":                         minKeyLife,
		"max-age=99999999":                  maxKeyLife,
		"max-age=99999999999999999999":      minKeyLife,
		"max-age=-5":                        minKeyLife,
		"max-age=soon":                      minKeyLife,
		"s-maxage=10, stale-if-error=86400": defaultKeyLife,
	} {
		if got := keyLife(header); got != want {
			t.Errorf("Cache-Control %q: %v, want %v", header, got, want)
		}
	}
}

// counting answers every request with 500 and counts them.
type counting struct{ n int }

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n++
	return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody, Request: r}, nil
}

func TestASilentIssuerIsAskedEverMoreSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &counting{}
		issuer := Issuer{Name: "main", URL: "https://login.example.com"}.withDefaults()
		s, err := newKeySource(issuer, Config{Transport: asked, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		go s.run(t.Context())
		<-time.After(time.Hour)
		synctest.Wait()
		if asked.n < 60 || asked.n > 80 {
			t.Errorf("asked %d times in an hour, want about one a minute", asked.n)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.AA")
	f.Add("eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJ4IiwiZXhwIjoxZTMwMCwiYXVkIjpbMV19.AA")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parse(text)
		if err != nil {
			if invalid := (*InvalidError)(nil); !errors.As(err, &invalid) {
				t.Fatalf("parse gives %T", err)
			}
			return
		}
		if b.expiresAt.IsZero() || b.expiresAt.Year() > 9999 || strings.Count(text, ".") != 2 || b.algorithm == "" {
			t.Fatalf("parse accepts %q", text)
		}
	})
}

// FuzzClaims goes past the base64, where random bytes seldom get.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(`{"iss":"x","sub":"alice","aud":["a","b"],"exp":1900000000,"nbf":1.5,"iat":0}`))
	f.Add([]byte(`{"groups":{"x":["agents",true,{}]},"exp":1}`))
	f.Add([]byte(`{"exp":-1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := &token{}
		if err := b.readClaims(payload); err != nil {
			return
		}
		if b.expiresAt.IsZero() || b.expiresAt.Year() > 9999 {
			t.Fatalf("claims without a usable exp are accepted: %q", payload)
		}
		if who, err := (&trusted{Issuer: Issuer{Name: "main", UserClaim: "sub"}}).principal(b); err == nil {
			if strings.ContainsAny(who.User, "\r\n\x00") || len(who.User) > len("main:")+MaxUserValue {
				t.Fatalf("user key %q", who.User)
			}
		}
	})
}

// FuzzWhoIsAsked cuts and adds to another issuer's bearer, of which the one that is
// asked must not be shown a part that is still somebody's.
func FuzzWhoIsAsked(f *testing.F) {
	part := base64.RawURLEncoding.EncodeToString
	bearer := part([]byte(`{"alg":"ES256","kid":"a"}`)) + "." + part([]byte(`{"iss":"https://other.example.com","sub":"alice"}`)) + ".AAAA"
	f.Add("", "", 0, 0)
	f.Add("token=", ",", 0, 0)
	f.Add("", "", 3, 2)
	f.Add("a.", ".b", 1, 1)
	asked := &trusted{Issuer: Issuer{URL: "https://login.example.com"}}
	f.Fuzz(func(t *testing.T, before, after string, head, tail int) {
		if head < 0 || tail < 0 || head > 8 || tail > 4 { // what is easily completed again
			return
		}
		text := before + bearer[head:len(bearer)-tail] + after
		if asked.mayKnow(text) && opaqueForm(text) {
			t.Fatalf("another issuer's bearer is shown as %q", text)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},7,null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := parseKeySet(body)
		if err != nil {
			return
		}
		for _, k := range set.all {
			if len(algorithmsOf(k.key)) == 0 || len(k.algorithms) == 0 {
				t.Fatalf("a key of kind %T is accepted", k.key)
			}
		}
	})
}

func FuzzDiscovery(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://login.example.com","jwks_uri":"https://keys.example.com/k"}`))
	f.Add([]byte(`{"issuer":"https://login.example.com","jwks_uri":"http://127.0.0.1/k"}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		address, err := keysAddress("https://login.example.com", document)
		if err == nil && !strings.HasPrefix(strings.ToLower(address), "https://") {
			t.Fatalf("keys would be read from %q", address)
		}
	})
}

func TestATokenHasOneText(t *testing.T) {
	part := func(n int) string { return base64.RawURLEncoding.EncodeToString(make([]byte, n)) }
	for n := range 7 {
		good := "AAAA." + part(n) + ".AAAA"
		if _, _, ok := compactForm(good); ok != (n > 0) {
			t.Errorf("%q: %v", good, ok)
		}
		for _, other := range []string{"B", "D", "P", "_"} {
			p := part(n)
			if n%3 == 0 || p == "" {
				continue // all bits are used
			}
			for _, bad := range []string{p[:len(p)-1] + other, p + "A"} {
				_, _, ok := compactForm("AAAA." + bad + ".AAAA")
				decoded, err := base64.RawURLEncoding.Strict().DecodeString(bad)
				if ok != (err == nil && len(decoded) > 0) {
					t.Errorf("%q is accepted: %v, and decodes strictly: %v", bad, ok, err)
				}
			}
		}
	}
}

func TestWhatIsLikeAJWTButNone(t *testing.T) {
	for text, want := range map[string]bool{
		"eyJhbGciOiJSUzI1NiJ9.e30.AA":            true,
		"eyJhbGciOiJSUzI1NiJ9.e30.AA,":           true,
		`"eyJhbGciOiJSUzI1NiJ9.e30.AA"`:          true,
		"yJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.AA": true, // cut off at the beginning
		"hbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0":      true,
		"IHsiYWxnIjoiUlMyNTYifQ.e30.AA":          true, // a space before the header's JSON
		"eyJhbGciOiJSUzI1NiJ9=.e30.AA":           true,
		"eyJhbGciOiJSUzI1NiJ9.e30.AA.BB.CC":      true, // encrypted, or so it looks
		"eyJhbGciOiJSUzI1NiJ9.":                  true,
		"eyJhbGciOiJSUzI1NiJ9":                   false,
		"abc.def.ghi":                            false,
		"eyJ4IjoxfQ.e30.AA":                      false, // {"x":1}
		"eyJ4IjoxfQ.eyJpc3MiOiJ4In0.AA":          true,  // and {"iss":"x"}
		"6f0a4f52-3b1c-4a49-9a43-0c1c9c0a7d":     false,
		"":                                       false,
		".":                                      false,
	} {
		if got := resemblesJOSE(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestWhatMayBeAnOpaqueToken(t *testing.T) {
	for text, want := range map[string]bool{
		"6f0a4f52-3b1c-4a49": true, "abc.def/ghi+jkl_~": true, "YWJj==": true,
		"": false, "=": false, "a=b": false, "a b": false, `{"access_token":"x"}`: false, "<x>": false, "a:b": false, "%22x%22": false, "x,": false, `"x"`: false,
	} {
		if got := opaqueForm(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestWhatIsTooMuchToDecode(t *testing.T) {
	part := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	nested := func(open, inner, end string, depth int) string {
		return strings.Repeat(open, depth) + inner + strings.Repeat(end, depth)
	}
	groups := `{"groups":["` + strings.Repeat(`0e2b7c1a-5d0f-4a39-9a3e-5f0d3a2b1c00","`, 1000) + `"]}`
	for name, row := range map[string]struct {
		bounds jsonBounds
		json   string
		want   bool
	}{
		"a usual header":                      {headerBounds, `{"alg":"ES256","kid":"a","jwk":{"kty":"EC"},"x5c":["a","b"]}`, true},
		"a thousand groups":                   {payloadBounds, groups, true},
		"brackets in a string":                {payloadBounds, `{"sub":"` + strings.Repeat(`[{,\"`, 5000) + `"}`, true},
		"a string that ends in a backslash":   {payloadBounds, `{"a":"\\","b":` + nested("[", "1", "]", 20) + `}`, false},
		"objects in objects":                  {payloadBounds, nested(`{"":`, "1", "}", 9000), false},
		"lists in lists":                      {payloadBounds, nested("[", "", "]", 9000), false},
		"lists that are never closed":         {payloadBounds, strings.Repeat("[", 9000), false},
		"as deep as may be":                   {payloadBounds, nested("[", "", "]", 16), true},
		"one deeper":                          {payloadBounds, nested("[", "", "]", 17), false},
		"too many values":                     {payloadBounds, "[" + strings.Repeat("1,", 5000) + "1]", false},
		"too many empty objects":              {payloadBounds, "[" + strings.Repeat("{}", 5000) + "]", false},
		"too many members":                    {payloadBounds, "{" + strings.Repeat(`"a":1,`, 600) + `"b":1}`, false},
		"too many members that are texts":     {payloadBounds, "{" + strings.Repeat(`"a":"x",`, 600) + `"b":"x"}`, false},
		"long numbers":                        {payloadBounds, "[" + strings.Repeat(`1234567890,`, 400) + `1]`, true},
		"too many header members":             {headerBounds, "{" + strings.Repeat(`"a":1,`, 200) + `"b":1}`, false},
		"a long header":                       {headerBounds, `{"alg":"` + strings.Repeat("a", 8<<10) + `"}`, false},
		"what is no JSON, but short and flat": {payloadBounds, `}}}]]]"`, true},
	} {
		if got := row.bounds.hold(part(row.json)); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

func FuzzKeyLife(f *testing.F) {
	f.Add("public, max-age=3600")
	f.Add(`max-age="-1", MAX-AGE=99999999999999999999`)
	f.Add("max-age=2147483647")
	f.Fuzz(func(t *testing.T, cacheControl string) {
		if life := keyLife(cacheControl); life < minKeyLife || life > maxKeyLife {
			t.Fatalf("Cache-Control %q: keys are kept for %v", cacheControl, life)
		}
	})
}
