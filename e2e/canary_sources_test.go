package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Wherever a credential is, good or bad, neither it nor what it is checked with
// comes out: not in the log, the metrics or an answer.
func TestNoSourceShowsASecret(t *testing.T) {
	const (
		markClient = "canary-of-the-client-secret"
		markProxy  = "canary-of-the-proxy-secret"
		markNonces = "canary-of-the-key-of-the-nonces-x"
		page       = "https://phone.example.com"
	)
	l := newLab(t, telnyxtest.Options{APIKey: markKey, SIPPassword: markPassword, TokenMark: markToken})
	web := oidctest.StartT(t, oidctest.Options{Audience: audience})
	opaque := oidctest.StartT(t, oidctest.Options{Audience: audience, Client: oidctest.Client{ID: "tokensvc", Secret: markClient}})
	mine := map[string]any{"telnyx": l.telnyx.AddCredential(telnyxtest.Credential{})}
	folder := t.TempDir()
	for name, content := range map[string]string{"client": markClient, "proxy": markProxy, "nonces": markNonces, "tokensvc.yaml": `
directory: claim:telnyx
public_url: ` + page + `
dpop_nonce_key_file: nonces
cors: {origins: ["` + page + `"]}
log: {level: debug}
issuers:
  - {name: phones, issuer: "` + l.issuer.URL() + `", audience: ` + audience + `, dpop: optional}
  - {name: web, issuer: "` + web.URL() + `", audience: ` + audience + `, source: cookie:session}
  - name: opaque
    issuer: "` + opaque.URL() + `"
    audience: ` + audience + `
    source: header:X-Opaque
    introspection: {client_id: tokensvc, client_secret_file: client, endpoint: "` + opaque.URL() + `/introspect"}
  - name: sso
    proxy:
      networks: [127.0.0.0/8]
      secret_file: proxy
      headers: {sub: X-Forwarded-User, telnyx: X-Forwarded-Phone}
`} {
		writeFile(t, filepath.Join(folder, name), content)
	}
	s := startService(t, map[string]string{
		"TELNYX_API_KEY": markKey, "TELNYX_BASE_URL": l.telnyx.URL(), "TOKENSVC_LIMITS_USER_BURST": "100",
	}, "-config", filepath.Join(folder, "tokensvc.yaml"))
	c := call(t, s)

	hidden := newCanaries()
	hidden.hide("the client's secret", markClient)
	hidden.hide("the proxy's secret", markProxy)
	hidden.hide("the key of nonces", markNonces)
	jwt := func(i *oidctest.Issuer, what string, extra map[string]any) string {
		claims := map[string]any{"telnyx": mine["telnyx"], "nickname": markClaim, "jti": markClaim + what}
		for name, value := range extra {
			claims[name] = value
		}
		token := i.Bearer("alice", claims)
		hidden.hideJWT(what, token)
		return token
	}
	opaqueToken := opaque.Opaque("alice", mine)
	hidden.hide("the opaque token", opaqueToken)
	cookie := jwt(web, "the token in the cookie", nil)
	bound := jwt(l.issuer, "the bound token", map[string]any{"cnf": map[string]any{"jkt": "canary-of-no-key-at-all-0000000000000000000"}})
	from := header("Origin", page)

	for name, row := range map[string]struct {
		changes []change
		code    string // "" for a token
	}{
		"a cookie":                    {[]change{header("Cookie", "session="+cookie), from}, ""},
		"a cookie from nowhere":       {[]change{header("Cookie", "session="+cookie)}, "invalid_token"},
		"a cookie, cut":               {[]change{header("Cookie", "session="+cookie[:len(cookie)-9]), from}, "invalid_token"},
		"two cookies":                 {[]change{header("Cookie", "session="+cookie+"; session="+cookie), from}, "unauthenticated"},
		"an opaque token":             {[]change{header("X-Opaque", opaqueToken)}, ""},
		"an opaque token, cut":        {[]change{header("X-Opaque", opaqueToken[:len(opaqueToken)-3])}, "invalid_token"},
		"an opaque token elsewhere":   {[]change{bearing(opaqueToken)}, "invalid_token"},
		"a token and a cookie":        {[]change{header("X-Opaque", opaqueToken), header("Cookie", "session="+cookie), from}, "unauthenticated"},
		"the proxy":                   {[]change{header("X-Forwarded-User", "alice"), header("X-Forwarded-Phone", mine["telnyx"].(string)), header("X-Proxy-Secret", markProxy)}, ""},
		"the proxy, its secret twice": {[]change{header("X-Forwarded-User", "alice"), header("X-Proxy-Secret", markProxy, markProxy)}, "invalid_token"},
		"the proxy, its secret cut":   {[]change{header("X-Forwarded-User", "alice"), header("X-Proxy-Secret", markProxy[:20])}, "invalid_token"},
		"a bound token":               {[]change{bearing(bound)}, "invalid_token"},
		"a bound token, badly proved": {[]change{authorization("DPoP " + bound), header("DPoP", bound)}, "invalid_token"},
	} {
		got := c.send(row.changes...)
		if got.problem().Code != row.code {
			t.Errorf("%s: %v, want %q", name, got, row.code)
		}
		said := fmt.Sprint(got.status, got.header, got.body)
		if row.code == "" {
			hidden.hideJWT("the login token", got.token())
		}
		hidden.wantNone(t, "the answer to "+name, said, got.token())
		if name == "a cookie" || name == "an opaque token" || name == "the proxy" {
			whoami := c.send(append(row.changes, asking(http.MethodGet, "/v1/whoami"))...)
			hidden.wantNone(t, "whoami for "+name, fmt.Sprint(whoami.status, whoami.header, whoami.body))
		}
	}
	opaque.BreakIntrospection(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		http.Error(w, r.Form.Get("token")+r.Header.Get("Authorization"), http.StatusInternalServerError)
	})
	unseen := opaque.Opaque("bob", mine)
	hidden.hide("another opaque token", unseen)
	got := c.send(header("X-Opaque", unseen))
	if got.problem().Code != "issuer_unavailable" {
		t.Errorf("the issuer fails: %v", got)
	}
	hidden.wantNone(t, "the answer when the issuer fails", fmt.Sprint(got.header, got.body))
	hidden.wantNone(t, "the metrics", metrics(t, s))
	s.Stop(t)
	hidden.wantNone(t, "the log", s.Output())
}
