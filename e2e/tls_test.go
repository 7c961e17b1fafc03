package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// secured is a service that speaks TLS to callers and operators.
type secured struct {
	*lab
	*service
	ca     authority
	folder string // with cert.pem, key.pem and, if clients must show certificates, clients.pem
}

// startSecured takes the authority of clients' certificates, if they must show one.
func startSecured(t *testing.T, l *lab, clients *authority, settings ...setting) *secured {
	t.Helper()
	s := &secured{lab: l, ca: newAuthority(t), folder: t.TempDir()}
	cert, key := s.ca.issue(t, "tokensvc.internal")
	writeFile(t, s.file("cert.pem"), cert)
	writeFile(t, s.file("key.pem"), key)
	for _, listener := range []string{"TOKENSVC_TLS_", "TOKENSVC_OPS_TLS_"} {
		settings = append(settings, setting{listener + "CERT_FILE", s.file("cert.pem")}, setting{listener + "KEY_FILE", s.file("key.pem")})
		if clients != nil {
			writeFile(t, s.file("clients.pem"), clients.pem)
			settings = append(settings, setting{listener + "CLIENT_CA_FILE", s.file("clients.pem")})
		}
	}
	l.env = l.with(settings...)
	s.service = launchService(t, l.env)
	s.Listen, s.Ops = overTLS(s.Listen), overTLS(s.Ops)
	s.client = checked(t, s.transport(t, s.trust()))
	process.Eventually(t, process.StartLimit, "tokensvc serve ready", func() error {
		answer, err := from(t.Context(), s.transport(t, s.trust()), http.MethodGet, s.Ops+"/readyz", "")
		if err == nil && answer.status != http.StatusOK {
			err = fmt.Errorf("/readyz answers %d", answer.status)
		}
		return err
	})
	return s
}

func overTLS(address string) string { return strings.Replace(address, "http:", "https:", 1) }

func (s *secured) file(name string) string { return filepath.Join(s.folder, name) }

// trust is what a client needs to know of the service.
func (s *secured) trust() *tls.Config {
	return &tls.Config{RootCAs: s.ca.pool(), MinVersion: tls.VersionTLS12}
}

// showing is trust of a client with a certificate of an authority, until then.
func (s *secured) showing(t *testing.T, clients authority, end time.Time) *tls.Config {
	t.Helper()
	cert, key := clients.issueUntil(t, "caller.internal", end)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	config := s.trust()
	config.Certificates = []tls.Certificate{pair}
	return config
}

// transport speaks HTTP/2 if it may.
func (s *secured) transport(t *testing.T, config *tls.Config) *http.Transport {
	t.Helper()
	transport := newTransport(t)
	transport.TLSClientConfig, transport.ForceAttemptHTTP2 = config.Clone(), true // which adds to the names of protocols
	return transport
}

// over11 is transport that does not.
func (s *secured) over11(t *testing.T, config *tls.Config) *http.Transport {
	t.Helper()
	transport := s.transport(t, config)
	transport.ForceAttemptHTTP2 = false
	return transport
}

// got is the answer to a request, and how it came.
type got struct {
	status, protocol int
	body             string
	server           *x509.Certificate
}

// from sends a request over a transport, with a bearer if there is one.
func from(ctx context.Context, transport http.RoundTripper, method, address, bearer string) (got, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return got{}, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return got{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, responseLimit))
	if err != nil {
		return got{}, err
	}
	return got{res.StatusCode, res.ProtoMajor, string(body), res.TLS.PeerCertificates[0]}, nil
}

func TestTLSOnBothListeners(t *testing.T) {
	s := startSecured(t, newLab(t, telnyxtest.Options{}, "alice"), nil)
	bearer := s.issuer.Bearer("alice", nil)
	for protocol, transport := range map[int]*http.Transport{2: s.transport(t, s.trust()), 1: s.over11(t, s.trust())} {
		for _, row := range []struct{ method, address, bearer, says string }{
			{http.MethodPost, s.Listen + "/v1/token", bearer, `"token"`},
			{http.MethodGet, s.Ops + "/readyz", "", `"ready":true`},
			{http.MethodGet, s.Ops + "/metrics", "", "tokensvc_build_info"},
		} {
			answer, err := from(t.Context(), transport, row.method, row.address, row.bearer)
			if err != nil || answer.status != http.StatusOK || answer.protocol != protocol || !strings.Contains(answer.body, row.says) {
				t.Errorf("%s over HTTP/%d: %d over HTTP/%d, %v", row.address, protocol, answer.status, answer.protocol, err)
			}
		}
	}
	for _, address := range []string{s.Listen + "/v1/token", s.Ops + "/readyz"} {
		if res := do(t, httpClient, newRequest(t, http.MethodGet, strings.Replace(address, "https:", "http:", 1), nil)); res.status != http.StatusBadRequest {
			t.Errorf("without TLS: %d, want 400 and nothing else", res.status)
		}
	}

	end := fmt.Sprintf("%g\n", float64(s.shown(t).NotAfter.Unix()))
	for _, listener := range []string{"listen", "ops_listen"} {
		if want := `tokensvc_certificate_expiry_timestamp_seconds{listener="` + listener + `"} ` + end; !strings.Contains(s.metrics(t, s.trust()), want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
	s.env["TOKENSVC_OPS_LISTEN"] = strings.TrimPrefix(s.Ops, "https://")
	s.env["TOKENSVC_LISTEN"] = strings.TrimPrefix(s.Listen, "https://")
	s.run(t, 0, "healthcheck")
	if said := s.run(t, 0, "check").stdout; strings.Count(said, "is taken by a tokensvc that runs") != 2 {
		t.Errorf("check does not know the service that runs:\n%s", said)
	}
}

// shown is the certificate that the public listener shows to a new connection.
func (s *secured) shown(t *testing.T) *x509.Certificate {
	t.Helper()
	answer, err := from(t.Context(), s.transport(t, s.trust()), http.MethodGet, s.Listen+"/openapi.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	return answer.server
}

func (s *secured) metrics(t *testing.T, config *tls.Config) string {
	t.Helper()
	answer, err := from(t.Context(), s.transport(t, config), http.MethodGet, s.Ops+"/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	return answer.body
}

func TestTLSIsModern(t *testing.T) {
	s := startSecured(t, newLab(t, telnyxtest.Options{}, "alice"), nil)
	of12 := func(suites ...uint16) *tls.Config {
		return &tls.Config{RootCAs: s.ca.pool(), MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: suites}
	}
	for _, address := range []string{s.Listen, s.Ops} {
		for name, row := range map[string]struct {
			config *tls.Config
			agreed bool
		}{
			"TLS 1.3":             {&tls.Config{RootCAs: s.ca.pool(), MinVersion: tls.VersionTLS13}, true},
			"TLS 1.2, AES-GCM":    {of12(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), true},
			"TLS 1.2, ChaCha20":   {of12(tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), true},
			"TLS 1.2, CBC":        {of12(tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA), false},
			"TLS 1.2, RSA alone":  {of12(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), false},
			"TLS 1.1":             {&tls.Config{RootCAs: s.ca.pool(), MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
			"HTTP/3's name alone": {&tls.Config{RootCAs: s.ca.pool(), MinVersion: tls.VersionTLS13, NextProtos: []string{"h3"}}, false},
		} {
			conn, err := (&tls.Dialer{Config: row.config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "https://"))
			if err == nil {
				_ = conn.Close()
			}
			if agreed := err == nil; agreed != row.agreed {
				t.Errorf("%s at %s: agreed is %t (%v)", name, address, agreed, err)
			}
		}
	}
	failed := `tokensvc_tls_handshakes_failed_total{listener="listen"} 4`
	process.Eventually(t, 5*time.Second, failed, func() error {
		if !strings.Contains(s.metrics(t, s.trust()), failed) {
			return errors.New("it is not in the metrics")
		}
		return nil
	})
	if said := s.Logged("http server"); len(said) > 0 { // or whoever likes fills the log
		t.Errorf("the log tells of handshakes: %v", said)
	}
}
