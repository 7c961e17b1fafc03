package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tokensvc/tokensvc/internal/authz"
)

var (
	guidesFolder = filepath.FromSlash("../../docs/identity")
	guideConfig  = regexp.MustCompile("(?ms)^```yaml\n(# tokensvc\\.yaml\n.*?)^```$")
)

// Every guide to an identity provider has a complete configuration, and each
// loads as it stands, once the files that it names are beside it.
func TestGuidesLoad(t *testing.T) {
	index := readGuide(t, filepath.Join(guidesFolder, "README.md"))
	guides, err := filepath.Glob(filepath.Join(guidesFolder, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, product := range []string{
		"keycloak", "entra-id", "auth0", "okta", "cognito", "firebase", "google-iap", "cloudflare-access", "oauth2-proxy", "pomerium",
	} {
		if !slices.Contains(guides, filepath.Join(guidesFolder, product+".md")) {
			t.Errorf("there is no guide to %s", product)
		}
	}
	secrets := newStandIns(t)
	for _, guide := range guides {
		name := filepath.Base(guide)
		if name == "README.md" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(index, "]("+name+")") {
				t.Error("the index does not lead here")
			}
			configs := guideConfig.FindAllStringSubmatch(readGuide(t, guide), -1)
			if len(configs) == 0 {
				t.Fatal("no configuration that begins with # tokensvc.yaml")
			}
			for _, config := range configs {
				path := configFile(t, config[1])
				secrets.writeNamed(t, path, config[1])
				if c := mustLoad(t, path); len(c.Issuers) == 0 || c.Directory.Kind == "" {
					t.Error("issuers and directory should be set")
				}
			}
		})
	}
}

// What is most often got wrong is right in the guides.
func TestGuidesAvoidTheTraps(t *testing.T) {
	secrets := newStandIns(t)
	for name, right := range map[string]func(authz.Issuer) bool{
		"cognito.md":  func(i authz.Issuer) bool { return i.AudienceClaim == "client_id" },
		"entra-id.md": func(i authz.Issuer) bool { return strings.HasSuffix(i.URL, "/v2.0") && i.UserClaim == "oid" },
		"auth0.md":    func(i authz.Issuer) bool { return strings.HasSuffix(i.URL, "/") },
		"firebase.md": func(i authz.Issuer) bool { return strings.HasSuffix(i.URL, "/"+i.Audiences[0]) },
		"okta.md":     func(i authz.Issuer) bool { return strings.Contains(i.URL, "/oauth2/") },
		"google-iap.md": func(i authz.Issuer) bool {
			return strings.HasPrefix(i.Source.String(), "header:") && strings.HasSuffix(i.Keys, "-jwk")
		},
		"cloudflare-access.md": func(i authz.Issuer) bool { return i.Source.String() == "header:Cf-Access-Jwt-Assertion" },
	} {
		config := guideConfig.FindStringSubmatch(readGuide(t, filepath.Join(guidesFolder, name)))
		if config == nil {
			t.Errorf("%s has no configuration", name)
			continue
		}
		path := configFile(t, config[1])
		secrets.writeNamed(t, path, config[1])
		if issuer := mustLoad(t, path).Issuers[0].Issuer; !right(issuer) {
			t.Errorf("%s walks into its own trap: %+v", name, issuer)
		}
	}
}

func readGuide(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// standIns are contents for the files that a configuration may name, by what
// they must be.
type standIns struct{ certificate, privateKey string }

func newStandIns(t *testing.T) standIns {
	t.Helper()
	return newStandInsUntil(t, time.Now().Add(time.Hour))
}

func newStandInsUntil(t *testing.T, end time.Time) standIns {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "stand-in"},
		DNSNames:              []string{"tokensvc.internal"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              end,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return standIns{block("CERTIFICATE", certificate), block("PRIVATE KEY", private)}
}

// content is what stands in for the file of a key. What is not PEM is a secret
// text, long enough for any.
func (s standIns) content(key string) string {
	switch key {
	case "cert_file", "client_ca_file":
		return s.certificate
	case "key_file", "private_key_file":
		return s.privateKey
	case "api_key_file":
		return testKey
	case "directory":
		return "users: {}\n"
	}
	return strings.Repeat("stand-in", 8)
}

// writeNamed writes a file beside the configuration for every key that names
// one.
func (s standIns) writeNamed(t *testing.T, path, config string) {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(config), &root); err != nil {
		t.Fatal(err)
	}
	for _, node := range mappings(&root) {
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i].Value
			file, isFile := strings.CutPrefix(node.Content[i+1].Value, "file:")
			if !strings.HasSuffix(key, "_file") && !(key == "directory" && isFile) {
				continue
			}
			if !filepath.IsLocal(file) {
				t.Fatalf("%s is not a name beside the configuration", key)
			}
			writeKey(t, filepath.Join(filepath.Dir(path), file), s.content(key))
		}
	}
}

// mappings returns every mapping in a document.
func mappings(node *yaml.Node) (all []*yaml.Node) {
	if node.Kind == yaml.MappingNode {
		all = append(all, node)
	}
	for _, inner := range node.Content {
		all = append(all, mappings(inner)...)
	}
	return all
}
