// Package attacks_test attacks the built service over the wire, below what a client's
// library would ever send, while somebody else logs in.
package attacks_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

var binary string

func TestMain(m *testing.M) {
	process.Main(64, func(dir string) (code int, err error) {
		if binary, err = process.Build(dir); err != nil {
			return 0, err
		}
		return m.Run(), nil
	})
}

const (
	audience = "softphone"
	claim    = "telnyx"

	alice   = "alice"   // logs in
	mallory = "mallory" // attacks, and has an account too
)

// world is a service, and the two people it has.
type world struct {
	*process.Process
	t           *testing.T
	telnyx      *telnyxtest.Server
	credentials map[string]string // by user
	bearers     map[string]string
	trust       *tls.Config // nil if the service has no certificate
}

// start starts a service with these variables too, behind a command if there is one.
func start(t *testing.T, env map[string]string, behind ...string) *world {
	t.Helper()
	w := &world{t: t, credentials: map[string]string{}, bearers: map[string]string{}}
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	w.telnyx = telnyxtest.StartT(t, telnyxtest.Options{})
	for _, user := range []string{alice, mallory} {
		w.credentials[user] = w.telnyx.AddCredential(telnyxtest.Credential{})
		w.bearers[user] = issuer.Bearer(user, map[string]any{claim: w.credentials[user]})
	}
	all := map[string]string{
		"TELNYX_API_KEY": telnyxtest.DefaultAPIKey, "TELNYX_BASE_URL": w.telnyx.URL(),
		"TOKENSVC_OIDC_ISSUER": issuer.URL(), "TOKENSVC_OIDC_AUDIENCE": audience, "TOKENSVC_DIRECTORY": "claim:" + claim,
		"TOKENSVC_LIMITS_USER_PER_MINUTE": "60000", "TOKENSVC_LIMITS_USER_BURST": "10000",
	}
	maps.Copy(all, env)
	w.Process = process.Command{Binary: binary, Env: all, Behind: behind}.Launch(t)
	w.AwaitReady(t)
	return w
}

// startSecured is start with TLS on the public listener.
func startSecured(t *testing.T) *world {
	t.Helper()
	cert, key, trust := certificate(t)
	w := start(t, map[string]string{"TOKENSVC_TLS_CERT_FILE": cert, "TOKENSVC_TLS_KEY_FILE": key})
	w.trust = trust
	return w
}

// certificate makes files of a certificate for the loopback, and what trusts it.
func certificate(t *testing.T) (certFile, keyFile string, trust *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokensvc.internal"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder, pool := t.TempDir(), x509.NewCertPool()
	write := func(name, kind string, der []byte) string {
		text, path := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), filepath.Join(folder, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		pool.AppendCertsFromPEM(text)
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", private), &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
}

// address is the public listener's.
func (w *world) address() string { return strings.TrimPrefix(w.Listen, "http://") }

// dial connects to the public listener, speaking this protocol if there is TLS.
func (w *world) dial(protocol string) (net.Conn, error) {
	ctx := context.WithoutCancel(w.t.Context())
	if w.trust == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", w.address())
	}
	config := w.trust.Clone()
	config.NextProtos = []string{protocol}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", w.address())
}

// login asks for a token as somebody, on a connection of its own, and reports what is
// wrong with the answer.
func (w *world) login(user string, limit time.Duration) error {
	status, body, err := w.ask(user, limit)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return fmt.Errorf("%d %s", status, body)
	}
	return w.isFor(user, body)
}

// isFor wants the token in an answer to be somebody's.
func (w *world) isFor(user, body string) error {
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return err
	}
	if of, _ := w.telnyx.CredentialOf(answer.Token); of != w.credentials[user] {
		return fmt.Errorf("a token of %q, want %s's", of, user)
	}
	return nil
}

// ask is login whatever the answer.
func (w *world) ask(user string, limit time.Duration) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), limit)
	defer cancel()
	address := "http://" + w.address()
	if w.trust != nil {
		address = "https://" + w.address()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/v1/token", http.NoBody)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+w.bearers[user])
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: w.trust.Clone(), DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, string(text), err
}

// onOps is what the ops listener answers at a path.
func (w *world) onOps(path string) string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.Ops+path, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// number is what stands behind a name at the beginning of a line.
func (w *world) number(text, name string) float64 {
	w.t.Helper()
	for line := range strings.Lines(text) {
		var n float64
		if rest, ok := strings.CutPrefix(line, name); ok {
			if _, err := fmt.Sscan(rest, &n); err == nil {
				return n
			}
		}
	}
	w.t.Fatalf("there is no %s", name)
	return 0
}

// goroutines is how many the service has.
func (w *world) goroutines() int { return int(w.number(w.onOps("/metrics"), "go_goroutines ")) }

// memory is how many bytes the service has resident now, or had at most.
func (w *world) memory(which string) int {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.Pid()))
	if err != nil {
		process.Skip(w.t, "there is no /proc")
	}
	return int(w.number(string(status), which+":")) << 10
}

// newPeak has the kernel forget the most that the service had resident.
func (w *world) newPeak() {
	w.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", w.Pid()), []byte("5"), 0); err != nil {
		process.Skip(w.t, "the kernel keeps no peak of a process")
	}
}

// otherLines is how many lines the log has that are not of a login of alice's.
func (w *world) otherLines() int {
	log := []byte(w.Log())
	return bytes.Count(log, []byte{'\n'}) - bytes.Count(log, []byte(`"user":"main:alice"`))
}
