package rolling_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	audience = "softphone"
	firstKey = "KEYthatisinuse"
	nextKey  = "KEYthatcomesnext"
)

// A world is replicas of the service behind a balancer, and what they need.
type world struct {
	issuer   *oidctest.Issuer
	telnyx   *telnyxtest.Server
	balancer *balancer
	folder   string
	env      map[string]string
	secured  bool   // they speak TLS
	config   string // path of a configuration file, or none
	replicas []*replica
}

// A replica is a running service, and how the balancer knows it.
type replica struct {
	*process.Process
	*backend
}

// newWorld makes a world without replicas. Its tokens are shared in a Redis.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		issuer:   oidctest.StartT(t, oidctest.Options{Audience: audience}),
		telnyx:   telnyxtest.StartT(t, telnyxtest.Options{APIKey: firstKey, NewCredentialDelay: -1, Latency: 20 * time.Millisecond}),
		balancer: startBalancer(t, &http.Transport{MaxIdleConnsPerHost: connections}),
		folder:   t.TempDir(),
	}
	w.write(t, "api.key", firstKey+"\n")
	w.write(t, "cache.keys", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))+"\n")
	w.env = map[string]string{
		"TELNYX_API_KEY_FILE":                w.path("api.key"),
		"TELNYX_BASE_URL":                    w.telnyx.URL(),
		"TOKENSVC_OIDC_ISSUER":               w.issuer.URL(),
		"TOKENSVC_OIDC_AUDIENCE":             audience,
		"TOKENSVC_CACHE":                     redistest.StartT(t).URL(),
		"TOKENSVC_CACHE_KEY_FILE":            w.path("cache.keys"),
		"TOKENSVC_LIMITS_DRAIN_DELAY":        "2s",
		"TOKENSVC_LIMITS_USER_PER_MINUTE":    "60000",
		"TOKENSVC_LIMITS_USER_BURST":         "10000",
		"TOKENSVC_LIMITS_ADDRESS_PER_MINUTE": "0",
	}
	return w
}

// secure has the replicas started from now on speak TLS to the balancer, which
// then prefers HTTP/2.
func (w *world) secure(t *testing.T) {
	t.Helper()
	// The standard library's own certificate for 127.0.0.1.
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	w.write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	w.env["TOKENSVC_TLS_CERT_FILE"], w.env["TOKENSVC_TLS_KEY_FILE"] = w.path("cert.pem"), w.path("key.pem")

	trust := x509.NewCertPool()
	trust.AddCert(server.Certificate())
	w.secured, w.balancer = true, startBalancer(t, &http.Transport{
		MaxIdleConnsPerHost: connections, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12},
	})
}

func (w *world) path(name string) string { return filepath.Join(w.folder, name) }

// write replaces a file as a careful program does, whole.
func (w *world) write(t *testing.T, name, content string) {
	t.Helper()
	next := w.path(name) + ".next"
	err := os.WriteFile(next, []byte(content), 0o600)
	if err := errors.Join(err, os.Rename(next, w.path(name))); err != nil {
		t.Fatal(err)
	}
}

// register gives everybody of a crowd, and these others, a credential in a users
// file.
func (w *world) register(t *testing.T, others ...string) (usersFile string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("users:\n")
	seen := map[string]bool{}
	for _, name := range append(names(), others...) {
		if !seen[name] {
			seen[name] = true
			fmt.Fprintf(&b, "  %s: {%s: %s}\n", name, name, w.telnyx.AddCredential(telnyxtest.Credential{}))
		}
	}
	w.write(t, "users.yaml", b.String())
	w.env["TOKENSVC_DIRECTORY"] = "file:" + w.path("users.yaml")
	return b.String()
}

// start starts a replica of that version, and returns when requests go to it.
func (w *world) start(t *testing.T, version string) *replica {
	t.Helper()
	var args []string
	if w.config != "" {
		args = []string{"-config", w.config}
	}
	p := process.Start(t, binaries[version], w.env, args...)
	if w.secured {
		p.Listen = strings.Replace(p.Listen, "http:", "https:", 1)
	}
	r := &replica{p, w.balancer.add(p.Listen, p.Ops)}
	process.Eventually(t, patience, "requests going to a new replica", func() error {
		if !w.balancer.sendsTo(r.backend) {
			return errors.New("it is not ready")
		}
		return nil
	})
	w.replicas = append(w.replicas, r)
	return r
}

// whenAllSay makes a change and waits until every replica says that it has seen
// it, in these words.
func (w *world) whenAllSay(t *testing.T, message string, change func()) {
	t.Helper()
	before := make([]int, len(w.replicas))
	for i, r := range w.replicas {
		before[i] = len(r.Logged(message))
	}
	change()
	for i, r := range w.replicas {
		process.Eventually(t, patience, "the log line "+message, func() error {
			if len(r.Logged(message)) <= before[i] {
				return errors.New("there is none")
			}
			return nil
		})
	}
}

// issued is how many tokens a replica says it has handed over.
func (r *replica) issued() int {
	n := 0
	for _, l := range r.Logged("request") {
		if l["outcome"] == "issued" {
			n++
		}
	}
	return n
}

// ask sends one request of somebody's, and returns the outcome.
func (w *world) ask(t *testing.T, r *replica, name string, claims map[string]any) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Listen+"/v1/token", strings.NewReader(fmt.Sprintf(`{"device":%q}`, name)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.issuer.Bearer(name, claims))
	req.Header.Set("Content-Type", "application/json")
	res, err := w.balancer.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var said struct{ Token, Code string }
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if said.Token != "" {
		return "issued"
	}
	return said.Code
}
