package authz_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

// findings is what an inspection found, a line for each part.
func findings(i authz.Issuer) string {
	var lines []string
	for _, f := range authz.Inspect(context.Background(), i) {
		line := string(f.Part) + ": " + f.Detail
		if f.Err != nil {
			line = string(f.Part) + " " + f.Err.Error()
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

func TestAnInspectionOfAnIssuer(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: client})
	document := func(text string) func() {
		return func() {
			issuer.Break(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
		}
	}
	answering := func(text string) func() {
		return func() {
			issuer.BreakIntrospection(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
		}
	}
	plain, asked := issuerOf(issuer), askedOf(issuer)
	at := func(keys string) authz.Issuer { i := plain; i.Keys = keys; return i }
	good, bad := filepath.Join(t.TempDir(), "keys.json"), filepath.Join(t.TempDir(), "bad.json")
	writeFile(t, good, keySetOf(t, issuer.Key(), oidctest.NewKey("second")))
	writeFile(t, bad, `{"keys":[]}`)
	narrow := plain
	narrow.Algorithms = []string{"RS256"}
	endpoint := askedOf(issuer)
	endpoint.Introspection.Endpoint = issuer.URL() + "/introspect"
	stranger := askedOf(issuer)
	stranger.Introspection.ClientSecret = always("another secret")
	found := "discovery: of " + issuer.URL() + "; "

	for name, row := range map[string]struct {
		issuer authz.Issuer
		breaks func()
		want   string
	}{
		"all is well":              {plain, nil, found + "keys: 1 usable, for ES256"},
		"keys at an address":       {at(issuer.URL() + "/keys"), nil, "keys: 1 usable, for ES256"},
		"keys in a file":           {at("file:" + good), nil, "keys: 2 usable, for ES256"},
		"no key in a file":         {at("file:" + bad), nil, "keys key set: has no usable signing key"},
		"no file":                  {at("file:" + good + "x"), nil, "keys open " + good + "x: no such file or directory"},
		"no key that is accepted":  {narrow, nil, found + "keys key set: has no key for an accepted algorithm"},
		"discovery of another":     {plain, document(`{"issuer":"https://other.example.com"}`), "discovery discovery document: names another issuer than the configured one (they are compared exactly, a slash at the end included)"},
		"discovery of nothing":     {plain, document(`{"issuer":"` + issuer.URL() + `"}`), "discovery discovery document: has no usable jwks_uri"},
		"a page for discovery":     {plain, document("<html>"), "discovery discovery document: is not JSON of the expected shape"},
		"it is asked":              {asked, nil, found + "introspection: accepts our client credentials"},
		"it is asked elsewhere":    {endpoint, nil, "introspection: accepts our client credentials"},
		"another client's secret":  {stranger, nil, found + `introspection the issuer is unavailable: asking issuer "main" about a token: it does not accept our client credentials (status 401)`},
		"whatever is asked is so":  {asked, answering(`{"active":true}`), found + "introspection it says that a token is active which nobody has issued"},
		"so, and somebody else's":  {asked, answering(`{"active":true,"iss":"x"}`), found + "introspection it says that a token is active which nobody has issued"},
		"an answer that is none":   {asked, answering("<html>"), found + `introspection the issuer is unavailable: asking issuer "main" about a token: its answer is not a JSON object`},
		"nowhere to ask":           {asked, document(`{"issuer":"` + issuer.URL() + `"}`), "discovery discovery document: has no usable introspection_endpoint"},
		"a proxy, which is no one": {authz.Issuer{Name: "sso", Proxy: &authz.Proxy{}}, nil, ""},
	} {
		issuer.Break(nil)
		issuer.BreakIntrospection(nil)
		if row.breaks != nil {
			row.breaks()
		}
		if got := findings(row.issuer); got != row.want {
			t.Errorf("%s: %s\nwant %s", name, got, row.want)
		}
	}
	issuer.BreakIntrospection(nil)
	issuer.Break(nil)
	all := authz.Inspect(t.Context(), stranger)
	if len(all) != 2 || !errors.Is(all[1].Err, authz.ErrClientRejected) {
		t.Errorf("whose fault it is: %v", all)
	}
}
