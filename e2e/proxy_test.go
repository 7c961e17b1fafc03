package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const proxySecret = "only-the-proxy-knows-this"

// proxied is a service behind a proxy that is trusted with who people are, and
// beside it an issuer of bearers.
type proxied struct {
	*lab
	*service
	listener string // the proxy's address
	folder   string // with the configuration and its files
}

// startProxied takes the lines of the configuration that are about the proxy, and
// files that stand beside it.
func startProxied(t *testing.T, lines string, files map[string]string) *proxied {
	t.Helper()
	l := newLab(t, telnyxtest.Options{})
	folder := t.TempDir()
	for name, content := range files {
		writeFile(t, filepath.Join(folder, name), content)
	}
	alice, bob := l.telnyx.AddCredential(telnyxtest.Credential{}), l.telnyx.AddCredential(telnyxtest.Credential{})
	l.credentials["alice"], l.credentials["bob"] = alice, bob
	writeFile(t, filepath.Join(folder, "users.yaml"), `users: {"sso:alice@example.com": `+alice+`, "main:bob": `+bob+"}\n")
	writeFile(t, filepath.Join(folder, "tokensvc.yaml"), `
directory: file:users.yaml
issuers:
  - {name: main, issuer: "`+l.issuer.URL()+`", audience: `+audience+`}
  - name: sso
    user_claim: email
    require: {groups: [agents]}
    proxy:
      networks: [127.0.0.0/8]
      headers: {email: X-Forwarded-Email, groups: X-Forwarded-Groups}
`+lines)
	env := l.with()
	for _, name := range []string{"TOKENSVC_OIDC_ISSUER", "TOKENSVC_OIDC_AUDIENCE", "TOKENSVC_DIRECTORY"} {
		delete(env, name)
	}
	s := startService(t, env, "-config", filepath.Join(folder, "tokensvc.yaml"))
	s.hide(proxySecret)
	listener, _ := s.Logged("serving")[0]["proxy_listen"].(string)
	return &proxied{l, s, listener, folder}
}

// fromSSO are the headers of the proxy's for alice, an agent.
func fromSSO(secret string) []change {
	return []change{
		header("X-Forwarded-Email", "alice@example.com"), header("X-Forwarded-Groups", "staff,agents"), header("X-Proxy-Secret", secret),
	}
}

func with(changes []change, more ...change) []change {
	return append(changes[:len(changes):len(changes)], more...)
}

func TestATrustedProxysWordIsTaken(t *testing.T) {
	p := startProxied(t, "      secret_file: secret\n", map[string]string{"secret": proxySecret + "\n"})
	c := call(t, p.service)

	p.wantToken(t, "alice", c.send(fromSSO(proxySecret)...))
	p.wantToken(t, "bob", c.send(bearing(p.issuer.Bearer("bob", nil))))

	for name, row := range map[string]struct {
		changes []change
		want    refusal
	}{
		"without the secret":        {fromSSO(proxySecret)[:2], invalid("proxy")},
		"with another":              {fromSSO("anybody-may-try-this-one"), invalid("proxy")},
		"two people":                {with(fromSSO(proxySecret), header("X-Forwarded-Email", "alice@example.com", "bob@example.com")), invalid("proxy")},
		"a look-alike besides":      {with(fromSSO(proxySecret), look("X_Forwarded_Email", "bob@example.com")), invalid("proxy")},
		"a look-alike alone":        {[]change{look("X_Forwarded_Email", "alice@example.com")}, invalid("proxy")},
		"nobody":                    {fromSSO(proxySecret)[2:], invalid("user_claim")},
		"a bearer besides":          {with(fromSSO(proxySecret), bearing(p.issuer.Bearer("bob", nil))), manyBearers},
		"a forged name at a bearer": {[]change{header("X-Forwarded-Email", "alice@example.com"), bearing(p.issuer.Bearer("bob", nil))}, manyBearers},
		"somebody in no group":      {with(fromSSO(proxySecret), header("X-Forwarded-Groups", "staff")), refusal{status: 403, code: "denied"}},
		"somebody unknown":          {with(fromSSO(proxySecret), header("X-Forwarded-Email", "eve@example.com")), noCredential},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, c.send(row.changes...), row.want)
		})
	}
}

// look is a header whose name Go would not write.
func look(name, value string) change {
	return func(r *http.Request) { r.Header[name] = []string{value} }
}

func TestAProxyWithItsOwnListenerShowsItsCertificate(t *testing.T) {
	ca, otherCA := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ca.issue(t, "tokensvc.internal")
	p := startProxied(t, `      client_names: [proxy.internal]
proxy_listen: 127.0.0.1:0
proxy_tls: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}
`, map[string]string{"server.pem": serverCert, "server.key": serverKey, "ca.pem": ca.pem})
	public := call(t, p.service)
	there := func(cert, key string) *caller {
		config := &tls.Config{RootCAs: ca.pool(), ServerName: "tokensvc.internal", MinVersion: tls.VersionTLS12}
		if cert != "" {
			pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return &caller{t, checked(t, transport), "https://" + p.listener}
	}
	claims := fromSSO("")[:2]

	proxy := there(ca.issue(t, "proxy.internal"))
	p.wantToken(t, "alice", proxy.send(claims...))
	if got := proxy.send(with(claims, operating("me"))...); got.status != http.StatusCreated {
		t.Errorf("in Telnyx's way: %v", got)
	}
	p.wantToken(t, "bob", public.send(bearing(p.issuer.Bearer("bob", nil))))
	wantRefusal(t, public.send(claims...), invalid("proxy"))
	wantRefusal(t, there(ca.issue(t, "other.internal")).send(claims...), invalid("proxy"))
	if got := proxy.send(bearing(p.issuer.Bearer("bob", nil))); got.problem().Code != "unauthenticated" {
		t.Errorf("a bearer where only the proxy is listened to: %v", got)
	}
	for name, c := range map[string]*caller{
		"no certificate":           there("", ""),
		"one of another authority": there(otherCA.issue(t, "proxy.internal")),
	} {
		if got, err := c.try(t.Context(), claims...); err == nil {
			t.Errorf("%s: %v, want no connection", name, got)
		}
	}
	p.whenChanged(t, "client authorities of proxy_listen read again", func() {
		replaceFile(t, filepath.Join(p.folder, "ca.pem"), otherCA.pem)
	})
	got, err := proxy.try(t.Context(), claims...)
	if err != nil {
		t.Fatalf("over the connection of before: %v", err)
	}
	wantRefusal(t, got, invalid("proxy"))
	if got, err := proxy.try(t.Context(), claims...); err == nil {
		t.Errorf("and over a new one: %v, want no connection", got)
	}
}

// authority issues certificates.
type authority struct {
	pem  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := newECKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), cert, key}
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue returns a certificate for a name, and its key, in PEM.
func (a authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	return a.issueUntil(t, name, time.Now().Add(time.Hour))
}

func (a authority) issueUntil(t *testing.T, name string, end time.Time) (cert, key string) {
	t.Helper()
	private := newECKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}
