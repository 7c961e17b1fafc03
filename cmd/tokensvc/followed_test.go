package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// proxied is a service with a file of each kind that belongs to a trusted proxy.
type proxied struct {
	*service
	folder string
	log    notes
	pair   standIns // what the files cert, key and ca hold at first
}

// notes are a log that is read while it is written.
type notes struct {
	mu   sync.Mutex
	text []byte
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, p...)
	return len(p), nil
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return string(n.text)
}

const (
	proxySecret = "only-the-proxy-knows-this"
	proxiedYAML = `directory: claim:telnyx
listen: 127.0.0.1:0
ops_listen: 127.0.0.1:0
proxy_listen: 127.0.0.1:0
proxy_tls: {cert_file: cert, key_file: key, client_ca_file: ca}
issuers:
- name: sso
  user_claim: email
  proxy: {networks: [127.0.0.0/8], secret_file: secret, headers: {email: X-Email}}
`
)

func openProxied(t *testing.T) *proxied {
	t.Helper()
	path := configFile(t, proxiedYAML)
	p := &proxied{folder: filepath.Dir(path), pair: newStandIns(t)}
	p.put(t, "secret", proxySecret)
	p.put(t, "cert", p.pair.certificate)
	p.put(t, "key", p.pair.privateKey)
	p.put(t, "ca", p.pair.certificate)
	var err error
	if p.service, err = newService(mustLoad(t, path, enough[0]), zerolog.New(&p.log), io.Discard); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *proxied) put(t *testing.T, name, content string) {
	t.Helper()
	writeKey(t, filepath.Join(p.folder, name), content)
}

// readAgain reads all files again and returns what is logged of it, a word for
// each line: which file, and + if it is new or ! if it is refused.
func (p *proxied) readAgain() string {
	before := len(p.log.String())
	p.readAllAgain(false)
	var said []string
	for line := range strings.Lines(p.log.String()[before:]) {
		for name, what := range map[string]string{
			"secret": "secret of issuer sso", "cert": "certificate of proxy_listen", "key": "private key of proxy_listen", "ca": "client authorities of proxy_listen",
		} {
			switch {
			case strings.Contains(line, `"`+what+` read again"`):
				said = append(said, name+"+")
			case strings.Contains(line, `"`+what+` not taken up`):
				said = append(said, name+"!")
			}
		}
	}
	return strings.Join(said, " ")
}

// current returns what the metric says of a file, "0" or "1".
func (p *proxied) current(t *testing.T, what string) string {
	t.Helper()
	w := httptest.NewRecorder()
	p.ops.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	_, value, _ := strings.Cut(w.Body.String(), `tokensvc_file_current{file="`+what+`"} `)
	value, _, _ = strings.Cut(value, "\n")
	return value
}

func TestTheProxysSecretIsFollowed(t *testing.T) {
	p := openProxied(t)
	is := func(what, said, current string, accepted ...string) {
		t.Helper()
		if got := p.readAgain(); got != said {
			t.Errorf("%s: the log says %q, want %q", what, got, said)
		}
		if got := p.current(t, "secret of issuer sso"); got != current {
			t.Errorf("%s: tokensvc_file_current is %q, want %s", what, got, current)
		}
		for _, secret := range []string{proxySecret, "the-proxy-s-new-secret", "short"} {
			_, err := p.verifier.Verify(t.Context(), authz.Evidence{
				Header: http.Header{"X-Email": {"alice@example.com"}, "X-Proxy-Secret": {secret}}, RemoteAddr: "127.0.0.1:4000", ProxyListener: true,
			})
			if want := strings.Contains(strings.Join(accepted, " "), secret); err == nil != want {
				t.Errorf("%s: with %s: %v, want it accepted: %v", what, secret, err, want)
			}
			if strings.Contains(p.log.String(), secret) {
				t.Errorf("%s: the secret is in the log: %s", what, &p.log)
			}
		}
	}
	is("at first", "", "1", proxySecret)
	p.put(t, "secret", "short")
	is("one that is too short", "secret!", "0", proxySecret)
	is("the same, looked at again", "", "0", proxySecret)
	p.put(t, "secret", "the-proxy-s-new-secret\n")
	is("a new one", "secret+", "1", "the-proxy-s-new-secret")
	p.put(t, "secret", "")
	is("an empty one", "secret!", "0", "the-proxy-s-new-secret")
	p.put(t, "secret", "the-proxy-s-new-secret")
	is("as it was", "secret+", "1", "the-proxy-s-new-secret")
}

// Of files that do not fit together, those are refused that are not in force.
func TestTheCertificateIsFollowed(t *testing.T) {
	p := openProxied(t)
	if err := p.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, l := range append(p.callers[:1:1], p.operators) {
		defer l.open.Close()
	}
	listener := p.callers[1]
	served := make(chan error, 1)
	go func() { served <- listener.serve() }()
	defer func() { _ = listener.server.Close(); <-served }()

	other := newStandIns(t)
	name := map[string]string{der(p.pair.certificate): "first", der(other.certificate): "second"}
	// server returns which certificate a client is shown that has one of them, or
	// none, and "" if it is turned away.
	server := func(client *standIns) string {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		cfg := &tls.Config{InsecureSkipVerify: true} // it is looked at, not relied on
		if client != nil {
			pair, err := tls.X509KeyPair([]byte(client.certificate), []byte(client.privateKey))
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", listener.addr())
		if err != nil {
			return ""
		}
		defer conn.Close()
		secured, ok := conn.(*tls.Conn)
		if !ok {
			t.Fatalf("it is a %T", conn)
		}
		if err := secured.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := secured.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
			return ""
		}
		if _, err := secured.Read(make([]byte, 1)); err != nil { // TLS 1.3 turns a client away after its handshake
			return ""
		}
		return name[string(secured.ConnectionState().PeerCertificates[0].Raw)]
	}
	const cert, key, authorities = "certificate of proxy_listen", "private key of proxy_listen", "client authorities of proxy_listen"
	for _, step := range []struct {
		what, file, content string
		said                string
		refused             string // the files of which tokensvc_file_current is 0
		first, second       string // the certificate that a client with the one or the other is shown
	}{
		{"as it was", "cert", p.pair.certificate, "", "", "first", ""},
		{"half a certificate", "cert", other.certificate[:100], "cert!", cert, "first", ""},
		{"the same, looked at again", "cert", other.certificate[:100], "", cert, "first", ""},
		{"a certificate without its key", "cert", other.certificate, "", cert, "first", ""}, // for the same reason
		{"and its key", "key", other.privateKey, "cert+ key+", "", "second", ""},
		{"no authorities", "ca", "", "ca!", authorities, "second", ""},
		{"new authorities", "ca", other.certificate, "ca+", "", "", "second"},
		{"a key of another certificate", "key", p.pair.privateKey, "key!", key, "", "second"},
		{"and authorities that are new", "ca", p.pair.certificate, "ca!", key + authorities, "", "second"},
		{"its own key", "key", other.privateKey, "key+ ca+", "", "second", ""},
	} {
		p.put(t, step.file, step.content)
		if got := p.readAgain(); got != step.said {
			t.Errorf("%s: the log says %q, want %q", step.what, got, step.said)
		}
		for _, what := range []string{cert, key, authorities} {
			want := "1"
			if strings.Contains(step.refused, what) {
				want = "0"
			}
			if got := p.current(t, what); got != want {
				t.Errorf("%s: tokensvc_file_current of the %s is %q, want %s", step.what, what, got, want)
			}
		}
		if first, second, none := server(&p.pair), server(&other), server(nil); first != step.first || second != step.second || none != "" {
			t.Errorf("%s: clients are shown %q and %q, and %q without a certificate; want %q, %q and nothing", step.what, first, second, none, step.first, step.second)
		}
	}
}

func der(certificate string) string {
	block, _ := pem.Decode([]byte(certificate))
	return string(block.Bytes)
}

// The full look at a configuration is one into its files, and names them all.
func TestConfigOpensEveryFile(t *testing.T) {
	path := configFile(t, "telnyx: {api_key_file: telnyx}\ntls: {cert_file: tc, key_file: tk, client_ca_file: ta}\nops_tls: {cert_file: oc, key_file: ok, client_ca_file: oa}\ndpop_nonce_key_file: nonces\n"+strings.Replace(proxiedYAML, "claim:telnyx", "file:users.yaml", 1)+
		"- {name: a, issuer: https://a.example.com, audience: x, introspection: {client_id: x, client_secret_file: a}}\n"+
		"- {name: b, issuer: https://b.example.com, audience: x, source: 'header:X-B', introspection: {client_id: x, private_key_file: b}}\n")
	if _, problems := loadAlone(path, nil); len(problems) > 0 {
		t.Errorf("without a look: %v", problems)
	}
	want := []string{
		"telnyx.api_key_file", "tls.cert_file", "tls.key_file", "tls.client_ca_file", "ops_tls.cert_file", "ops_tls.key_file", "ops_tls.client_ca_file",
		"dpop_nonce_key_file", "directory", "proxy_tls.cert_file", "proxy_tls.key_file", "proxy_tls.client_ca_file",
		"issuers[0].proxy.secret_file", "issuers[1].introspection.client_secret_file", "issuers[2].introspection.private_key_file",
	}
	got := problemLines(t, path, nil)
	for i, line := range got {
		if i >= len(want) || !strings.HasSuffix(line, want[i]+": there is no such file") {
			t.Errorf("problem %d is %s", i+1, line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d", len(got), len(want))
	}
}

// A mapping has no variable of its own to be named by.
func TestConfigAProxyThatIsToBeAskedToo(t *testing.T) {
	want := "TOKENSVC_OIDC_INTROSPECTION_ENDPOINT: does not go with proxy, which sends no token"
	got := problemLines(t, "", []string{
		enough[0], "TOKENSVC_DIRECTORY=claim:telnyx", "TOKENSVC_OIDC_PROXY_NETWORKS=10.0.0.0/8", "TOKENSVC_OIDC_PROXY_CLIENT_NAMES=sso",
		"TOKENSVC_OIDC_INTROSPECTION_ENDPOINT=https://login.example.com/introspect",
	})
	if !slices.Contains(got, want) {
		t.Errorf("%q, want %s among them", got, want)
	}
}

// A bug in whatever reads a file leaves in force what was read before.
func TestABugWhileReadingAFileIsARefusal(t *testing.T) {
	f := &followed{read: func() outcome { panic("marked") }}
	if o := f.readGuarded(); o.refused == nil || o.refused.Error() != "panic of type string" {
		t.Errorf("got %+v", o)
	}
	f.read = func() outcome { return outcome{changed: true} }
	if o := f.readGuarded(); !o.changed || o.refused != nil {
		t.Errorf("without a bug: %+v", o)
	}
}
