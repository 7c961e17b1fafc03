package e2e_test

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// none is the status of an answer that did not come.
const none = 0

// status is what somebody with these means gets, over a connection of their own.
func (s *secured) status(t *testing.T, config *tls.Config, method, address, bearer string) int {
	t.Helper()
	answer, err := from(t.Context(), s.transport(t, config), method, address, bearer)
	if err != nil {
		return none
	}
	return answer.status
}

// Whoever calls must show a certificate that counts, besides all else. So must
// operators, but not those who look after the process.
func TestClientsShowCertificates(t *testing.T) {
	clients, others := newAuthority(t), newAuthority(t)
	l := newBooks(t, ready, inFile(t))
	s := startSecured(t, l, &clients)
	s.hide(adminToken)
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	good, expired, foreign := s.showing(t, clients, later), s.showing(t, clients, before), s.showing(t, others, later)
	for _, c := range []*tls.Config{expired, foreign} { // are shown although the service says whose it wants
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.Certificates[0], nil }
	}
	alice := s.issuer.Bearer("alice", nil)
	for _, row := range []struct {
		what, method, address, bearer   string
		good, nothing, expired, foreign int
	}{
		{"a token", http.MethodPost, s.Listen + "/v1/token", alice, 200, none, none, none},
		{"a token without a bearer", http.MethodPost, s.Listen + "/v1/token", "", 401, none, none, none},
		{"the contract", http.MethodGet, s.Listen + "/openapi.yaml", "", 200, none, none, none},
		{"liveness", http.MethodGet, s.Ops + "/livez", "", 200, 200, none, none},
		{"readiness", http.MethodGet, s.Ops + "/readyz", "", 200, 200, none, none},
		{"metrics", http.MethodGet, s.Ops + "/metrics", "", 200, 403, none, none},
		{"the users", http.MethodGet, s.Ops + "/admin/v1/users", adminToken, 200, 403, none, none},
		{"the users without the admin token", http.MethodGet, s.Ops + "/admin/v1/users", "", 401, 403, none, none},
		{"a path like a probe's", http.MethodGet, s.Ops + "/livez/../metrics", "", 404, 403, none, none},
	} {
		for who, config := range map[string]*tls.Config{"a good": good, "no": s.trust(), "an expired": expired, "a foreign": foreign} {
			want := map[string]int{"a good": row.good, "no": row.nothing, "an expired": row.expired, "a foreign": row.foreign}[who]
			if got := s.status(t, config, row.method, row.address, row.bearer); got != want {
				t.Errorf("%s with %s certificate: %d, want %d", row.what, who, got, want)
			}
		}
	}
	s.env["TOKENSVC_OPS_LISTEN"] = strings.TrimPrefix(s.Ops, "https://")
	s.run(t, 0, "healthcheck")
}

// With an authority go those that it vouched for: with their next request on a
// connection that was there before, and at once on every other, resumed or not.
func TestClientsOfAnAuthorityThatIsGone(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	s := startSecured(t, newLab(t, telnyxtest.Options{}, "alice"), &before)
	config := s.showing(t, before, time.Now().Add(time.Hour))
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	alice := s.issuer.Bearer("alice", nil)
	connections := map[string]*http.Transport{"HTTP/2": s.transport(t, config), "HTTP/1.1": s.over11(t, config)}
	const kept, gone = http.StatusOK, http.StatusMisdirectedRequest
	ask := func(name string, want int) {
		t.Helper()
		answer, err := from(t.Context(), connections[name], http.MethodPost, s.Listen+"/v1/token", alice)
		if (err != nil) != (want == none) || answer.status != want {
			t.Errorf("over %s: %d, want %d (%v)", name, answer.status, want, err)
		}
	}
	for name := range connections {
		ask(name, kept)
		if got := s.status(t, config, http.MethodPost, s.Listen+"/v1/token", alice); got != kept { // which resumes
			t.Errorf("over a connection that is resumed: %d", got)
		}
	}
	s.whenChanged(t, "client authorities of listen read again", func() { replaceFile(t, s.file("clients.pem"), after.pem) })
	for name := range connections {
		ask(name, gone)
		ask(name, none)
	}
	if got := s.status(t, s.showing(t, after, time.Now().Add(time.Hour)), http.MethodPost, s.Listen+"/v1/token", alice); got != kept {
		t.Errorf("with a certificate of the new authority: %d", got)
	}
}

// The admin API is managed over TLS too.
func TestUsersOfAServiceWithTLS(t *testing.T) {
	clients := newAuthority(t)
	s := startSecured(t, newBooks(t, ready, inFile(t)), &clients)
	s.hide(adminToken)
	cert, key := clients.issue(t, "operator.internal")
	for name, text := range map[string]string{"ca.pem": s.ca.pem, "operator.pem": cert, "operator.key": key, "token": adminToken} {
		writeFile(t, s.file(name), text)
	}
	server := []string{"-server", s.Ops, "-token-file", s.file("token")}
	trust := []string{"-ca-file", s.file("ca.pem")}
	ours := []string{"-cert-file", s.file("operator.pem"), "-key-file", s.file("operator.key")}
	for _, row := range []struct {
		what   string
		args   [][]string
		status int
		says   string
	}{
		{"all there is", [][]string{server, trust, ours}, 0, "main:alice"},
		{"an unknown authority", [][]string{server, ours}, 1, "the service does not answer: tls: failed to verify certificate"},
		{"no certificate", [][]string{server, trust}, 1, "the service answers 403"},
		{"half a certificate", [][]string{server, trust, ours[:2]}, 2, "-cert-file and -key-file go together"},
		{"a key for a certificate", [][]string{server, trust, {"-cert-file", s.file("operator.key"), "-key-file", s.file("operator.key")}}, 2, "-cert-file: is not a certificate in PEM"},
		{"no authorities", [][]string{server, {"-ca-file", s.file("token")}}, 2, "-ca-file: holds no certificate in PEM"},
		{"no file", [][]string{server, {"-ca-file", s.file("none")}}, 2, "-ca-file: there is no such file"},
		{"no server", [][]string{trust}, 2, "are about the -server"},
	} {
		args := append([]string{"users", "add", "main:alice"}, slices.Concat(row.args...)...)
		got := runBinary(t, nil, args...)
		if said := got.stdout + got.stderr; got.status != row.status || !strings.Contains(said, row.says) {
			t.Errorf("%s: status %d, %q, want %d and %q", row.what, got.status, said, row.status, row.says)
		}
	}
}
