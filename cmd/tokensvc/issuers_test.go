package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

// bearing is the evidence of a request with that bearer.
func bearing(bearer string) authz.Evidence {
	return authz.Evidence{Header: http.Header{"Authorization": {"Bearer " + bearer}}}
}

const clientID, clientSecret = "tokensvc", "a secret"

func newPrivateKey(t *testing.T) (key *ecdsa.PrivateKey, text string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Every key of introspection, in the file and in variables.
func TestConfigIntrospection(t *testing.T) {
	path := configFile(t, strings.Replace(enoughYAML, "issuers:\n  - ", `issuers:
  - introspection:
      client_id: tokensvc
      client_secret_file: secret
      endpoint: https://login.example.com/introspect
      cache: 1m
    `, 1))
	folder := filepath.Dir(path)
	writeKey(t, filepath.Join(folder, "secret"), clientSecret+"\n")
	_, key := newPrivateKey(t)
	writeKey(t, filepath.Join(folder, "private.pem"), key)
	want := IntrospectionConfig{
		ClientID: clientID, ClientSecretFile: filepath.Join(folder, "secret"),
		Endpoint: "https://login.example.com/introspect", Cache: time.Minute,
	}
	if diff := cmp.Diff(want, mustLoad(t, path, "TELNYX_API_KEY="+testKey).Issuers[0].Introspect); diff != "" {
		t.Errorf("the file: %s", diff)
	}
	want = IntrospectionConfig{ClientID: clientID, PrivateKeyFile: filepath.Join(folder, "private.pem"), Endpoint: "http://127.0.0.1:9/", Cache: -1}
	got := mustLoad(t, "", withEnviron(
		"TOKENSVC_OIDC_INTROSPECTION_CLIENT_ID=tokensvc",
		"TOKENSVC_OIDC_INTROSPECTION_PRIVATE_KEY_FILE="+want.PrivateKeyFile,
		"TOKENSVC_OIDC_INTROSPECTION_ENDPOINT=http://127.0.0.1:9/",
		"TOKENSVC_OIDC_INTROSPECTION_CACHE=0s",
	)...)
	if diff := cmp.Diff(want, got.Issuers[0].Introspect); diff != "" {
		t.Errorf("variables: %s", diff)
	}
}

func TestConfigIntrospectionThatIsRefused(t *testing.T) {
	folder := t.TempDir()
	_, key := newPrivateKey(t)
	for name, text := range map[string]string{
		"secret": clientSecret, "key": key, "half": key[:60], "empty": "\n", "lines": canary + "\n" + canary, "large": strings.Repeat("x", 20<<10),
	} {
		writeKey(t, filepath.Join(folder, name), text)
	}
	const prefix = "TOKENSVC_OIDC_INTROSPECTION_"
	const neither = "or introspection.private_key_file is required, and not both"
	for name, row := range map[string]struct {
		environ string // without the prefix; @ is the folder
		want    []string
	}{
		"a secret":              {"CLIENT_ID=a CLIENT_SECRET_FILE=@secret", nil},
		"a key":                 {"CLIENT_ID=a PRIVATE_KEY_FILE=@key", nil},
		"both":                  {"CLIENT_ID=a CLIENT_SECRET_FILE=@secret PRIVATE_KEY_FILE=@key", []string{"CLIENT_SECRET_FILE: " + neither}},
		"neither":               {"CLIENT_ID=a", []string{"CLIENT_SECRET_FILE: " + neither + "; set issuers[].introspection.client_secret_file in the file, or " + prefix + "CLIENT_SECRET_FILE"}},
		"no name":               {"CLIENT_SECRET_FILE=@secret", []string{"CLIENT_ID: is required for introspection; set issuers[].introspection.client_id in the file, or " + prefix + "CLIENT_ID"}},
		"a secret of no file":   {"CLIENT_ID=a CLIENT_SECRET_FILE=@none", []string{"CLIENT_SECRET_FILE: there is no such file"}},
		"an empty secret":       {"CLIENT_ID=a CLIENT_SECRET_FILE=@empty", []string{"CLIENT_SECRET_FILE: the client's secret is empty"}},
		"a secret of two lines": {"CLIENT_ID=a CLIENT_SECRET_FILE=@lines", []string{"CLIENT_SECRET_FILE: the client's secret must be printable ASCII on one line"}},
		"a large secret":        {"CLIENT_ID=a CLIENT_SECRET_FILE=@large", []string{"CLIENT_SECRET_FILE: the file is too large for the client's secret"}},
		"a key of no file":      {"CLIENT_ID=a PRIVATE_KEY_FILE=@none", []string{"PRIVATE_KEY_FILE: there is no such file"}},
		"half a key": {"CLIENT_ID=a PRIVATE_KEY_FILE=@half", []string{
			"PRIVATE_KEY_FILE: must hold a private key, PKCS #8 in PEM or a JWK: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519",
		}},
		"a large key":         {"CLIENT_ID=a PRIVATE_KEY_FILE=@large", []string{"PRIVATE_KEY_FILE: the file is too large for a private key"}},
		"a path that is none": {"CLIENT_ID=a PRIVATE_KEY_FILE=\t", []string{"PRIVATE_KEY_FILE: must be the path of a file"}},
		"plain http": {"CLIENT_ID=a CLIENT_SECRET_FILE=@secret ENDPOINT=http://login.example.com", []string{
			"ENDPOINT: must be https: plain http is accepted on loopback addresses only",
		}},
		"an hour of cache": {"CLIENT_ID=a CLIENT_SECRET_FILE=@secret CACHE=1h", []string{"CACHE: must be a duration with its unit, from 0s to 5m"}},
	} {
		var environ, want []string
		for _, entry := range strings.Split(row.environ, " ") {
			environ = append(environ, prefix+strings.ReplaceAll(entry, "@", folder+string(filepath.Separator)))
		}
		for _, line := range row.want {
			want = append(want, prefix+line)
		}
		if diff := cmp.Diff(want, problemLines(t, "", withEnviron(environ...))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	got := problemLines(t, "", withEnviron(prefix+"CLIENT_ID=a", prefix+"CLIENT_SECRET_FILE="+filepath.Join(folder, "secret"),
		"TOKENSVC_OIDC_KEYS=file:x", "TOKENSVC_OIDC_ALGORITHMS=ES256"))
	if len(got) != 2 || !strings.HasPrefix(got[0], "TOKENSVC_OIDC_KEYS: has no meaning") || !strings.HasPrefix(got[1], "TOKENSVC_OIDC_ALGORITHMS: has no meaning") {
		t.Errorf("keys and algorithms beside introspection: %q", got)
	}
}

// A relative path of a file's setting begins at the file's folder, once, however
// that folder is given.
func TestConfigEveryPathIsRelativeToTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("conf", 0o700); err != nil {
		t.Fatal(err)
	}
	writeKey(t, filepath.Join("conf", "telnyx"), testKey)
	writeKey(t, filepath.Join("conf", "secret"), clientSecret)
	writeKey(t, filepath.Join("conf", "keys.json"), testKeySet)
	absolute := filepath.Join(t.TempDir(), "keys.json")
	writeKey(t, absolute, testKeySet)
	writeKey(t, filepath.Join("conf", "users.yaml"), "users: {}\n")
	writeKey(t, filepath.Join("conf", "tokensvc.yaml"), `
telnyx: {api_key_file: telnyx}
directory: file:users.yaml
issuers:
  - {name: a, issuer: https://a.example.com, audience: x, keys: file:keys.json}
  - {name: b, issuer: https://b.example.com, audience: x, introspection: {client_id: b, client_secret_file: secret}}
  - {name: c, issuer: https://c.example.com, audience: x, keys: "file:`+absolute+`"}
`)
	c := mustLoad(t, filepath.Join("conf", "tokensvc.yaml"))
	in := func(name string) string { return filepath.Join("conf", name) }
	want := []string{in("telnyx"), in("users.yaml"), "file:" + in("keys.json"), "discovery", in("secret"), "file:" + absolute}
	got := []string{c.Telnyx.APIKeyFile, c.Directory.Value, c.Issuers[0].Keys, c.Issuers[1].Keys, c.Issuers[1].Introspect.ClientSecretFile, c.Issuers[2].Keys}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// openService returns a service that has been started as far as the network.
func openService(t *testing.T, log *bytes.Buffer, environ ...string) *service {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users.yaml")
	writeKey(t, users, "users: {}\n")
	s, err := newService(mustLoad(t, "", withEnviron(append(environ, "TOKENSVC_DIRECTORY=file:"+users)...)...), zerolog.New(log), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheClientsSecretIsFollowed(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone", Client: oidctest.Client{ID: clientID, Secret: clientSecret}})
	path := filepath.Join(t.TempDir(), "secret")
	writeKey(t, path, clientSecret)
	var log bytes.Buffer
	s := openService(t, &log,
		"TOKENSVC_OIDC_ISSUER="+issuer.URL(),
		"TOKENSVC_OIDC_INTROSPECTION_CLIENT_ID="+clientID,
		"TOKENSVC_OIDC_INTROSPECTION_CLIENT_SECRET_FILE="+path,
		"TOKENSVC_OIDC_INTROSPECTION_ENDPOINT="+issuer.URL()+"/introspect",
	)
	verifies := func() bool {
		_, err := s.verifier.Verify(t.Context(), bearing(issuer.Opaque("alice", nil)))
		return err == nil
	}
	if !verifies() {
		t.Error("with the secret: not verified")
	}
	const next = "canary-of-a-secret"
	issuer.Register(oidctest.Client{ID: clientID, Secret: next})
	writeKey(t, path, "") // half written
	s.readAllAgain(false)
	if !strings.Contains(log.String(), "secret of issuer main not taken up") {
		t.Errorf("an empty file: the log says %s", &log)
	}
	writeKey(t, path, next)
	s.readAllAgain(false)
	if !verifies() {
		t.Error("with the new secret: not verified")
	}
	if strings.Contains(log.String(), next) {
		t.Errorf("the secret is in the log: %s", &log)
	}
}

func TestThePrivateKeyIsFollowed(t *testing.T) {
	key, text := newPrivateKey(t)
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone", Client: oidctest.Client{ID: clientID, Key: key.Public()}})
	path := filepath.Join(t.TempDir(), "key")
	writeKey(t, path, text)
	s := openService(t, new(bytes.Buffer),
		"TOKENSVC_OIDC_ISSUER="+issuer.URL(),
		"TOKENSVC_OIDC_INTROSPECTION_CLIENT_ID="+clientID,
		"TOKENSVC_OIDC_INTROSPECTION_PRIVATE_KEY_FILE="+path,
		"TOKENSVC_OIDC_INTROSPECTION_ENDPOINT="+issuer.URL()+"/introspect",
	)
	verifies := func() bool {
		_, err := s.verifier.Verify(t.Context(), bearing(issuer.Opaque("alice", nil)))
		return err == nil
	}
	if !verifies() {
		t.Error("with the key: not verified")
	}
	key, text = newPrivateKey(t)
	writeKey(t, path, text[:50])
	s.readAllAgain(false)
	if !verifies() {
		t.Error("with half a key in the file: not verified with the old one")
	}
	issuer.Register(oidctest.Client{ID: clientID, Key: key.Public()})
	if verifies() {
		t.Error("with a key that is not registered: verified")
	}
	writeKey(t, path, text)
	s.readAllAgain(false)
	if !verifies() {
		t.Error("with the new key: not verified")
	}
}

func TestTheFileOfKeysIsFollowed(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone"})
	path := filepath.Join(t.TempDir(), "keys.json")
	publish := func() {
		t.Helper()
		status, body, err := get(t.Context(), issuer.URL()+"/keys", nil)
		if err != nil || status != http.StatusOK || !json.Valid([]byte(body)) {
			t.Fatalf("status %d, %v", status, err)
		}
		writeKey(t, path, body)
	}
	publish()
	var log bytes.Buffer
	s := openService(t, &log, "TOKENSVC_OIDC_ISSUER="+issuer.URL(), "TOKENSVC_OIDC_KEYS=file:"+path)
	verifies := func() bool {
		_, err := s.verifier.Verify(t.Context(), bearing(issuer.Bearer("alice", nil)))
		return err == nil
	}
	if !s.readiness().Ready || !verifies() {
		t.Errorf("at once: %+v", s.readiness())
	}
	issuer.Rotate()
	if verifies() {
		t.Error("with a key that is not in the file: verified")
	}
	publish()
	s.readAllAgain(false)
	if !verifies() {
		t.Error("with a key that is in the file: not verified")
	}
	if !strings.Contains(log.String(), "keys of issuer main read again") {
		t.Errorf("the log says %s", &log)
	}
}

func TestAFileOfKeysIsReadWithTheConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	for content, want := range map[string]string{
		"":              "there is no such file",
		"{":             "is not a JWK set",
		`{"keys":[]}`:   "has no usable signing key",
		testKeySet[:40]: "is not a JWK set",
	} {
		if content != "" {
			writeKey(t, path, content)
		}
		got := problemLines(t, "", withEnviron("TOKENSVC_OIDC_KEYS=file:"+path, "TOKENSVC_LOG_LEVEL=loud"))
		if len(got) != 2 || got[0] != "TOKENSVC_OIDC_KEYS: "+want {
			t.Errorf("%q: %q, want %q and the level", content, got, want)
		}
		_ = os.Remove(path) // the map's order is anybody's guess
	}
}
