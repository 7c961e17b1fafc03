package telnyx

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func jwt(header, payload string) string { return b64(header) + "." + b64(payload) + ".c2ln" }

const hs512 = `{"alg":"HS512","typ":"JWT"}`

// loginTokens is what is and is not a login token.
var loginTokens = []struct {
	text string
	exp  int64 // 0: refused
}{
	{jwt(hs512, `{"exp":1590010143}`), 1590010143},
	{"\r\n\t " + jwt(hs512, `{"exp":1590010143}`) + "\n", 1590010143},
	{jwt(hs512, `{"exp":1590010143.9}`), 1590010143},
	{jwt(hs512, `{"exp":1.590010143e9}`), 1590010143},
	{jwt(hs512, `{"exp":1590010143,"EXP":1}`), 1590010143},
	{jwt(hs512, `{"EXP":1590010143}`), 0},
	{jwt(hs512, `{"exp":"1590010143"}`), 0},
	{jwt(hs512, `{"exp":1590010143000}`), 0}, // milliseconds
	{jwt(hs512, `{"exp":0}`), 0},
	{jwt(hs512, `{"exp":-1590010143}`), 0},
	{jwt(hs512, `{"exp":1e999}`), 0},
	{jwt(hs512, `{"exp":null}`), 0},
	{jwt(hs512, `{"exp":true}`), 0},
	{jwt(hs512, `{}`), 0},
	{jwt(hs512, `null`), 0},
	{jwt(hs512, `[1590010143]`), 0},
	{jwt(hs512, `{"exp":1590010143} {}`), 0},
	{jwt(`{}`, `{"exp":1590010143}`), 0},
	{jwt(`{"ALG":"HS512"}`, `{"exp":1590010143}`), 0},
	{jwt(`{"alg":""}`, `{"exp":1590010143}`), 0},
	{jwt(`{"alg":5}`, `{"exp":1590010143}`), 0},
	{jwt(`null`, `{"exp":1590010143}`), 0},
	{jwt(`"HS512"`, `{"exp":1590010143}`), 0},
	{b64(hs512) + "." + b64(`{"exp":1590010143}`), 0},
	{b64(hs512) + "." + b64(`{"exp":1590010143}`) + ".", 0},
	{jwt(hs512, `{"exp":1590010143}`) + ".c2ln", 0},
	{jwt(hs512, `{"exp":1590010143}`) + "=", 0},
	{jwt(hs512, `{"exp":1590010143}`) + "\nc2ln", 0},
	{b64(hs512) + ".\n" + b64(`{"exp":1590010143}`) + ".c2ln", 0},
	{strings.ReplaceAll(jwt(hs512, `{"exp":1590010143}`), "c2ln", "c2+n"), 0},
	{strings.ReplaceAll(jwt(hs512, `{"exp":1590010143}`), "c2ln", strings.Repeat("A", MaxTokenBytes)), 0},
	{"", 0},
	{" \n", 0},
	{"..", 0},
	{"<html>", 0},
	{`{"data":{"token":"` + jwt(hs512, `{"exp":1590010143}`) + `"}}`, 0},
}

func TestParseLoginToken(t *testing.T) {
	for _, row := range loginTokens {
		got, err := ParseLoginToken(row.text)
		switch {
		case row.exp == 0 && err == nil:
			t.Errorf("%q is accepted", row.text)
		case row.exp != 0 && err != nil:
			t.Errorf("%q: %v", row.text, err)
		case row.exp != 0 && (got.ExpiresAt != time.Unix(row.exp, 0).UTC() || got.JWT.Reveal() != strings.TrimSpace(row.text)):
			t.Errorf("%q: %q until %v", row.text, got.JWT.Reveal(), got.ExpiresAt)
		}
	}
}

func FuzzParseLoginToken(f *testing.F) {
	for _, row := range loginTokens {
		f.Add(row.text)
	}
	constants := []error{errTokenSize, errTokenParts, errTokenHeader, errTokenPayload, errTokenExpiry}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseLoginToken(text)
		if err != nil {
			if !oneOf(err, constants) {
				t.Errorf("%v is not a constant", err)
			}
			return
		}
		token := got.JWT.Reveal()
		if !regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+$`).MatchString(token) || !strings.Contains(text, token) {
			t.Errorf("%q is accepted as %q", text, token)
		}
		if y := got.ExpiresAt.Year(); y < 2015 || y > 2100 || got.ExpiresAt.Location() != time.UTC {
			t.Errorf("%q expires at %v", text, got.ExpiresAt)
		}
	})
}

// credentialIDs is what is and is not a credential's id.
var credentialIDs = map[string]bool{
	"c215ade3-0d39-418e-94be-c5f780760199":    true,
	"C215ADE3-0D39-418E-94BE-C5F780760199":    true,
	"00000000-0000-0000-0000-000000000000":    true,
	"":                                        false,
	"../balance":                              false,
	"c215ade3-0d39-418e-94be-c5f78076019":     false,
	"c215ade3-0d39-418e-94be-c5f7807601990":   false,
	"c215ade30-d39-418e-94be-c5f780760199":    false,
	"c215ade3-0d39-418e-94be-c5f78076019g":    false,
	"c215ade3-0d39-418e-94be_c5f780760199":    false,
	"c215ade3-0d39-418e-94be-c5f780760199\n":  false,
	" 215ade3-0d39-418e-94be-c5f780760199":    false,
	"------------------------------------":    false,
	"{c215ade3-0d39-418e-94be-c5f780760199}":  false,
	"c215ade3-0d39-418e-94be-c5f780760199/..": false,
	"../../../0d39-418e-94be-c5f780760199":    false,
	"c215ade3%2d0d39-418e-94be-c5f7807601":    false,
	"ｃ15ade3-0d39-418e-94be-c5f78076019":      false,
}

func TestParseCredentialID(t *testing.T) {
	for text, want := range credentialIDs {
		id, err := ParseCredentialID(text)
		if (err == nil) != want || want && id.String() != strings.ToLower(text) || id.IsZero() == want {
			t.Errorf("%q: %q, %v", text, id, err)
		}
	}
}

func FuzzParseCredentialID(f *testing.F) {
	for text := range credentialIDs {
		f.Add(text)
	}
	valid := regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseCredentialID(text)
		if (err == nil) != valid.MatchString(text) || err != nil && err != errNotUUID {
			t.Fatalf("%q: %v", text, err)
		}
		again, _ := ParseCredentialID(id.String())
		if again != id {
			t.Errorf("%q becomes %q becomes %q", text, id, again)
		}
	})
}

// errorBodies is where a code can be found.
var errorBodies = map[string]string{
	`{"errors":[{"code":"10009","title":"t","detail":"d"}]}`: "10009",
	`{"errors":[{"code":10009}]}`:                            "10009",
	`{"errors":[{"code":"1"},{"code":"2"}]}`:                 "1",
	`{"errors":{"code":"10015"}}`:                            "10015",
	`{"errors":{"name":["is taken"]}}`:                       "",
	`{"errors":[]}`:                                          "",
	`{"errors":[[]]}`:                                        "",
	`{"errors":null}`:                                        "",
	`{"errors":"10009"}`:                                     "",
	`{"errors":[{"code":"secret"}]}`:                         "",
	`{"errors":[{"code":"123456789"}]}`:                      "",
	`{"errors":[{"code":"-1"}]}`:                             "",
	`{"errors":[{"code":1.5}]}`:                              "",
	`{"errors":[{"code":["1"]}]}`:                            "",
	`{"errors":[{"code":"１"}]}`:                              "",
	`{}`:                                                     "",
	`[]`:                                                     "",
	`null`:                                                   "",
	``:                                                       "",
	`<html>10009</html>`:                                     "",
	strings.Repeat(`{"errors":[`, 10_000):                    "",
}

func TestErrorCode(t *testing.T) {
	for body, want := range errorBodies {
		if got := errorCode([]byte(body)); got != want {
			t.Errorf("%.60s: %q, want %q", body, got, want)
		}
	}
}

func FuzzErrorCode(f *testing.F) {
	for body := range errorBodies {
		f.Add([]byte(body))
	}
	valid := regexp.MustCompile(`^[0-9]{0,8}$`)
	f.Fuzz(func(t *testing.T, body []byte) {
		if code := errorCode(body); !valid.MatchString(code) {
			t.Errorf("%q gives the code %q", body, code)
		}
	})
}

const sample = `{"id":"c215ade3-0d39-418e-94be-c5f780760199","record_type":"credential","name":"n","expired":%,` +
	`"resource_id":"connection:1","sip_username":"gencredX","sip_password":"p","created_at":"2020-06-18T21:32:38",` +
	`"updated_at":"2020-06-18T21:32:38.000Z","expires_at":"2042-06-18T23:32:38+02:00"}`

func credentialBody(expired string) string {
	return `{"data":` + strings.ReplaceAll(sample, "%", expired) + `}`
}

func TestDecodeCredential(t *testing.T) {
	created := time.Date(2020, 6, 18, 21, 32, 38, 0, time.UTC)
	want := Credential{
		ID: CredentialID{"c215ade3-0d39-418e-94be-c5f780760199"}, Name: "n", ResourceID: "connection:1", SIPUsername: "gencredX",
		CreatedAt: created, UpdatedAt: created, ExpiresAt: created.AddDate(22, 0, 0),
	}
	for expired, is := range map[string]bool{`false`: false, `"false"`: false, `null`: false, `true`: true, `"true"`: true} {
		want.Expired = is
		if got, err := decodeCredential([]byte(credentialBody(expired))); err != nil || got != want {
			t.Errorf("expired %s: %+v, %v, want %+v", expired, got, err, want)
		}
	}
	for _, body := range badCredentials {
		if got, err := decodeCredential([]byte(body)); err != errNotCredential {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}

var badCredentials = []string{
	``, `null`, `{}`, `[]`, `{"data":null}`, `{"data":[]}`, `{"data":{"id":"../balance"}}`, `{"data":{"id":5}}`,
	credentialBody(`"yes"`), credentialBody(`1`), credentialBody(`{}`), credentialBody(`false`) + `x`,
	strings.ReplaceAll(credentialBody(`false`), "2020-06-18T", "soon"),
	strings.ReplaceAll(credentialBody(`false`), `"2020-06-18T21:32:38"`, "1592515958"),
}

func FuzzDecodeCredential(f *testing.F) {
	f.Add([]byte(credentialBody(`false`)))
	f.Add([]byte(credentialBody(`"true"`)))
	for _, body := range badCredentials {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeCredential(body)
		if err == nil {
			checkCredential(t, got)
		} else if err != errNotCredential {
			t.Errorf("%v is not a constant", err)
		}
		if id, err := decodeID(body); err == nil && id.IsZero() {
			t.Errorf("%q has no id and no error", body)
		}
	})
}

func FuzzDecodePage(f *testing.F) {
	one := strings.ReplaceAll(sample, "%", "false")
	f.Add([]byte(`{"data":[` + one + `,` + one + `],"meta":{"total_pages":1,"total_results":2,"page_number":1,"page_size":20}}`))
	f.Add([]byte(`{"data":[]}`))
	f.Add([]byte(`{"data":null}`))
	f.Add([]byte(`{"data":[{}],"meta":{"total_pages":-1}}`))
	f.Add([]byte(`{"data":[],"meta":{"total_pages":1e99}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := decodePage(body)
		if err != nil && err != errNotPage {
			t.Errorf("%v is not a constant", err)
		}
		if min(page.Number, page.Size, page.TotalPages, page.TotalResults) < 0 {
			t.Errorf("%q: %+v", body, page)
		}
		for _, c := range page.Credentials {
			checkCredential(t, c)
		}
	})
}

func checkCredential(t *testing.T, c Credential) {
	t.Helper()
	if _, err := ParseCredentialID(c.ID.String()); err != nil {
		t.Errorf("%+v has no id", c)
	}
	for _, at := range []time.Time{c.CreatedAt, c.UpdatedAt, c.ExpiresAt} {
		if at.Location() != time.UTC {
			t.Errorf("%+v has times in another zone", c)
		}
	}
}

var fuzzNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// waits is how long a header asks to wait.
var waits = map[string]time.Duration{
	"0": 0, "1": time.Second, " 30 ": 30 * time.Second, "86400": MaxRetryAfter, "99999999999999999999": 0,
	"-1": 0, "1.5": 0, "+5": 0, "0x10": 0, "": 0, "soon": 0, "9223372036854775807": MaxRetryAfter,
	"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
	"Fri, 02 Jan 2026 03:04:00 GMT": 0,
	"Sat, 02 Jan 2027 03:04:15 GMT": MaxRetryAfter,
	"Fri Jan  2 03:04:15 2026":      10 * time.Second,
	"Fri, 31 Dec 9999 23:59:59 GMT": MaxRetryAfter,
}

func TestParseWait(t *testing.T) {
	for text, want := range waits {
		if got := parseWait(text, fuzzNow); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzParseWait(f *testing.F) {
	for text := range waits {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d := parseWait(text, fuzzNow); d < 0 || d > MaxRetryAfter {
			t.Errorf("%q asks for %v", text, d)
		}
	})
}

func oneOf(err error, all []error) bool {
	for _, one := range all {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}
