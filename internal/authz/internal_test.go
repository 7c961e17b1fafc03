package authz

import (
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
	f.Add([]byte(`{"iss":"x","sub":"alice","aud":["a","b"],"exp":1900000000,"nbf":1.5,"iat":0}`), "groups.x")
	f.Add([]byte(`{"groups":{"x":["agents",true,{}]},"exp":1}`), "groups.x")
	f.Add([]byte(`{"exp":-1}`), ".")
	f.Fuzz(func(t *testing.T, payload []byte, path string) {
		b := &token{}
		if err := b.readClaims(payload); err != nil {
			return
		}
		if b.expiresAt.IsZero() || b.expiresAt.Year() > 9999 {
			t.Fatalf("claims without a usable exp are accepted: %q", payload)
		}
		Requirement{Claim: path, AnyOf: []any{"agents", true}}.holds(b.claims)
		if who, err := (&trusted{Issuer: Issuer{Name: "main", UserClaim: "sub"}}).principal(b); err == nil {
			if strings.ContainsAny(who.User, "\r\n\x00") || len(who.User) > len("main:")+MaxUserValue {
				t.Fatalf("user key %q", who.User)
			}
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
