package charttest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestTheServiceAcceptsItsConfiguration has the real program read what each values
// file is rendered to, with the mounted files where a pod would have them, the
// migrating job's variables included. Nobody it would ask is there; that is not asked here.
func TestTheServiceAcceptsItsConfiguration(t *testing.T) {
	program := build(t)
	t.Run("another is refused", func(t *testing.T) {
		r := rendered(t, "ci/minimal-values.yaml", "config: {telnyx: {timeout: 1h}}")
		if problems := check(t, program, r, pods(r)[service]); !strings.Contains(problems, "telnyx.timeout") {
			t.Errorf("the program does not speak of telnyx.timeout: %q", problems)
		}
	})
	for _, file := range valuesFiles(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			r := rendered(t, file)
			for name, pod := range pods(r) {
				if problems := check(t, program, r, pod); problems != "" {
					t.Errorf("%s: %s", name, problems)
				}
			}
		})
	}
}

// pods are what runs, by name: the service, and the job that migrates, if there is one.
func pods(r release) map[string]corev1.PodSpec {
	all := map[string]corev1.PodSpec{}
	for _, d := range every[*appsv1.Deployment](r) {
		all[d.Name] = d.Spec.Template.Spec
	}
	for _, j := range every[*batchv1.Job](r) {
		all[j.Name] = j.Spec.Template.Spec
	}
	return all
}

// build makes the program as the image has it.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokensvc")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version=chart", "-o", path, "./cmd/tokensvc")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// check is `tokensvc check` in the pod, and what it has against the configuration.
func check(t *testing.T, program string, r release, pod corev1.PodSpec) string {
	t.Helper()
	root := t.TempDir()
	mount(t, root, r, pod)
	main := pod.Containers[0]
	cmd := exec.CommandContext(t.Context(), program, "check", "-json", "-timeout", "1s", "-config", filepath.Join(root, main.Args[2]))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for _, v := range main.Env {
		cmd.Env = append(cmd.Env, v.Name+"="+strings.ReplaceAll(v.Value, "/run/secrets/", root+"/run/secrets/"))
	}
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, _ := cmd.Output() // its status tells of the network too
	var report struct {
		Parts []struct {
			Part, Detail string
			OK           bool
		}
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Parts) == 0 {
		t.Fatalf("check says nothing: %v\n%s%s", err, out, errOut.Bytes())
	}
	var problems []string
	for _, p := range report.Parts {
		if p.Part == "configuration" && !p.OK {
			problems = append(problems, p.Detail)
		}
	}
	return strings.Join(problems, "\n")
}

var secretPath = regexp.MustCompile(`/run/secrets/[-\w/.]+`)

// mount lays below root what the pod would find: the files of its ConfigMap, and in
// its secrets' folders the files that the configuration and its variables name.
func mount(t *testing.T, root string, r release, pod corev1.PodSpec) {
	t.Helper()
	named := ""
	for _, v := range pod.Containers[0].Env {
		named += v.Value + "\n"
	}
	for name, text := range only[*corev1.ConfigMap](t, r, volume(t, pod, "config").ConfigMap.Name).Data {
		named += text
		put(t, filepath.Join(root, "/etc/tokensvc", name), strings.ReplaceAll(text, "/run/secrets/", root+"/run/secrets/"))
	}
	for _, path := range secretPath.FindAllString(named, -1) {
		if !mounted(pod, filepath.Dir(path)) {
			t.Errorf("%s is in no folder that is mounted", path)
		}
		inSecret(t, r, pod, path)
		put(t, filepath.Join(root, path), secretFor(t, path))
	}
}

// secretFor is something that the service takes for the secret of that name.
func secretFor(t *testing.T, path string) string {
	t.Helper()
	switch filepath.Base(path) {
	case "cache-key":
		return "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"
	case "tls.crt", "ca.crt":
		return pair(t).certificate
	case "tls.key":
		return pair(t).key
	}
	return "0123456789abcdef0123456789abcdef0123456789\n"
}

// pemPair is a certificate and its key.
type pemPair struct{ certificate, key string }

// pairOnce makes it once, since its halves are asked for one by one.
var pairOnce = sync.OnceValues(func() (pemPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pemPair{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pemPair{}, err
	}
	now := time.Now()
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "phones"}, DNSNames: []string{"phone.example.com"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	return pemPair{
		certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
	}, err
})

func pair(t *testing.T) pemPair {
	t.Helper()
	p, err := pairOnce()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// inSecret complains of a file that no key of the external Secret becomes.
func inSecret(t *testing.T, r release, pod corev1.PodSpec, path string) {
	t.Helper()
	for _, e := range every[*externalSecret](r) {
		if e.Spec.Target.Name != volume(t, pod, "secrets").Secret.SecretName {
			continue
		}
		for _, d := range e.Spec.Data {
			if d.SecretKey == filepath.Base(path) {
				return
			}
		}
		t.Errorf("%s is none of the Secret's files", path)
	}
}

func mounted(pod corev1.PodSpec, folder string) bool {
	for _, m := range pod.Containers[0].VolumeMounts {
		if m.MountPath == folder && m.ReadOnly && m.SubPath == "" {
			return true
		}
	}
	return false
}

func volume(t *testing.T, pod corev1.PodSpec, name string) corev1.Volume {
	t.Helper()
	for _, v := range pod.Volumes {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("there is no volume %s", name)
	return corev1.Volume{}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
