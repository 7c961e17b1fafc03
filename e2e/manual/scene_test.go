package manual_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// What the pages call the reader's own.
const (
	issuerSaid   = "https://login.example.com"
	serviceSaid  = "https://tokens.example.com"
	listenSaid   = "127.0.0.1:8080"
	opsSaid      = "127.0.0.1:9090"
	audience     = "softphone"
	apiKey       = "KEYofthemanual"
	aliceHas     = "5c7ac7d0-db65-4f11-98e1-eec0d1d5c6ae"
	bobHas       = "1f0a6a4e-6f0e-4b3c-9d6e-0a4f3f2b7c11"
	notTheKey    = "KEYofnobody"
	databaseSaid = "postgres://tokensvc@db.example.com/tokensvc?sslmode=verify-full"
)

// scenes are what stands around a reader, by name.
var scenes = map[string]func(*testing.T, *session){
	"dev":       atADesk,
	"container": besideAContainer,
	"file":      besideAConfiguredContainer,
	"service":   besideAService,
	"operator":  asAnOperator,
	"redis":     besideARedis,
	"postgres":  besideAPostgreSQL,
	"audit":     withAuditRecords,
	"compose":   withCompose,
	"cluster":   withACluster,
}

// atADesk is `make dev` and what one does with it. Its ports are free ones.
func atADesk(t *testing.T, s *session) {
	t.Helper()
	s.env["DEV_FLAGS"] = strings.Join([]string{
		"-listen", s.address(t, listenSaid), "-issuer-listen", s.address(t, "127.0.0.1:8081"), "-telnyx-listen", s.address(t, "127.0.0.1:8082"),
		"-page-listen", s.address(t, "127.0.0.1:8083"), "-ops-listen", s.address(t, opsSaid),
	}, " ")
	s.address(t, "127.0.0.1:8088") // of another service beside it
	s.address(t, "127.0.0.1:9098")
	s.is("tokensvc dev >", "tokensvc dev $DEV_FLAGS >")
}

// A world is what a service needs, for real or nearly so.
type world struct {
	issuer *oidctest.Issuer
	telnyx *telnyxtest.Server
}

// newWorld starts an identity provider and a Telnyx in which alice and bob have a
// credential. TOKEN is a bearer of alice's.
func newWorld(t *testing.T, s *session) *world {
	t.Helper()
	w := &world{
		issuer: oidctest.StartT(t, oidctest.Options{Audience: audience}),
		telnyx: telnyxtest.StartT(t, telnyxtest.Options{APIKey: apiKey, NewCredentialDelay: -1}),
	}
	for _, id := range []string{aliceHas, bobHas} {
		w.telnyx.AddCredential(telnyxtest.Credential{ID: id})
	}
	s.is(issuerSaid, w.issuer.URL())
	s.env["TOKEN"] = w.issuer.Bearer("alice", map[string]any{"groups": []string{"agents"}})
	return w
}

// variables are a service's that is reached where the pages say.
func (w *world) variables(t *testing.T, s *session) map[string]string {
	t.Helper()
	listen := s.address(t, listenSaid)
	s.is(serviceSaid, "http://"+listen)
	return map[string]string{
		"TELNYX_BASE_URL":     w.telnyx.URL(),
		"TOKENSVC_LISTEN":     listen,
		"TOKENSVC_OPS_LISTEN": s.address(t, opsSaid),
		"TOKENSVC_DIRECTORY":  "sqlite:" + s.temp + "/people.db", // in the image, of its volume
		"TOKENSVC_LOG_FORMAT": "json",
	}
}

// besideAContainer is the README's folder with the key in it, and a docker that
// runs the binary.
func besideAContainer(t *testing.T, s *session) {
	t.Helper()
	vars := newWorld(t, s).variables(t, s)
	vars["TOKENSVC_PROVISION_READY_AFTER"] = "0s"
	s.write(t, "tokensvc/telnyx.key", apiKey+"\n")
	s.inContainer(t, vars)
}

// besideAConfiguredContainer has the configuration file there too.
func besideAConfiguredContainer(t *testing.T, s *session) {
	t.Helper()
	w := newWorld(t, s)
	s.write(t, "tokensvc/telnyx.key", apiKey+"\n")
	s.write(t, "tokensvc/users.yaml", fmt.Sprintf("users:\n  alice: %s\n", aliceHas))
	s.write(t, "tokensvc/tokensvc.yaml", fmt.Sprintf("telnyx: {api_key_file: telnyx.key}\nissuers:\n- issuer: %q\n  audience: %s\n", w.issuer.URL(), audience))
	s.inContainer(t, w.variables(t, s))
}

// inContainer has the docker of testdata give a container these variables beside
// its own.
func (s *session) inContainer(t *testing.T, vars map[string]string) {
	t.Helper()
	var b strings.Builder
	for name, value := range vars {
		fmt.Fprintf(&b, "%s=%s\n", name, value)
	}
	s.write(t, ".container", b.String())
	s.env["CONTAINER_ENV"] = s.folder + "/.container"
	s.is("/etc/tokensvc", s.folder+"/tokensvc")
	s.is("$(git describe --tags --always)", "v0.0.0") // the folder is no checkout
}

// besideAService is one that runs somewhere.
func besideAService(t *testing.T, s *session) {
	t.Helper()
	w := newWorld(t, s)
	vars := w.variables(t, s)
	s.write(t, "users.yaml", fmt.Sprintf("users:\n  alice: %s\n", aliceHas))
	vars["TELNYX_API_KEY"], vars["TOKENSVC_DIRECTORY"] = apiKey, "file:"+s.folder+"/users.yaml"
	vars["TOKENSVC_OIDC_ISSUER"], vars["TOKENSVC_OIDC_AUDIENCE"] = w.issuer.URL(), audience
	vars["TOKENSVC_CORS_ORIGINS"] = "https://phone.example.com"
	process.Start(t, binary, vars)
}

// withAuditRecords is the folder in which a service's audit records are, of one
// run, in three files, of which the older ones have been compressed too.
func withAuditRecords(t *testing.T, s *session) {
	t.Helper()
	w := newWorld(t, s)
	service := process.Start(t, binary, map[string]string{
		"TELNYX_API_KEY": apiKey, "TELNYX_BASE_URL": w.telnyx.URL(), "TOKENSVC_OIDC_ISSUER": w.issuer.URL(), "TOKENSVC_OIDC_AUDIENCE": audience,
		"TOKENSVC_DIRECTORY": "claim:telnyx_credential", "TOKENSVC_AUDIT_FILE": filepath.Join(s.folder, "audit.jsonl"),
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, service.Listen+"/v1/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) // which is refused, for want of a bearer
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	service.Stop(t)
	written, err := os.ReadFile(filepath.Join(s.folder, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	records := lines(string(written))
	if len(records) != 3 {
		t.Fatalf("there are %d records, want that of the start, of a refusal, and of the end", len(records))
	}
	for i, name := range []string{"audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"} {
		s.write(t, name, records[i]+"\n")
		if name != "audit.jsonl" {
			var zipped bytes.Buffer
			z := gzip.NewWriter(&zipped)
			_, err := io.WriteString(z, records[i]+"\n")
			if err := errors.Join(err, z.Close()); err != nil {
				t.Fatal(err)
			}
			s.write(t, name+".gz", zipped.String())
		}
	}
}

// configured writes a tokensvc.yaml that says these lines besides what every one
// must.
func (w *world) configured(t *testing.T, s *session, more string) {
	t.Helper()
	s.write(t, "telnyx.key", apiKey+"\n")
	s.write(t, "tokensvc.yaml", fmt.Sprintf("listen: %s\nops_listen: %s\nissuers:\n- issuer: %q\n  audience: %s\n%s",
		s.address(t, listenSaid), s.address(t, opsSaid), w.issuer.URL(), audience, more))
}

// telnyxIs are the lines about Telnyx, with the key files there.
func (w *world) telnyxIs(keys string) string {
	return fmt.Sprintf("telnyx: {base_url: %q, %s}\n", w.telnyx.URL(), keys)
}

// asAnOperator is somebody who looks for what is wrong: an API key is not active
// any more, and carol is no agent.
func asAnOperator(t *testing.T, s *session) {
	t.Helper()
	w := newWorld(t, s)
	s.write(t, "old.key", notTheKey+"\n")
	s.write(t, "sealing.key", sealingKey+"\n")
	s.write(t, "users.yaml", fmt.Sprintf("users:\n  carol: %s\n  bob: %s\n", aliceHas, bobHas))
	s.write(t, "bearer.txt", w.issuer.Bearer("carol", map[string]any{"groups": []string{"visitors"}})+"\n")
	w.configured(t, s, "  require: {groups: [agents]}\n"+w.telnyxIs("api_keys: [old.key, telnyx.key]")+
		fmt.Sprintf("directory: file:users.yaml\ncache: %s\ncache_key_file: sealing.key\n", redistest.StartT(t).URL()))
}

var sealingKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))

// besideARedis is the folder of a service that is to have a Redis.
func besideARedis(t *testing.T, s *session) {
	t.Helper()
	w, redis := newWorld(t, s), redistest.StartT(t)
	s.write(t, "users.yaml", "users: {}\n")
	w.configured(t, s, w.telnyxIs("api_key_file: telnyx.key")+"directory: file:users.yaml\n")
	s.is("/etc/tokensvc", s.folder)
	s.is("rediss://tokensvc@redis.example:6379", strings.Replace(redis.URL(), "redis://", "redis://tokensvc@", 1))
	s.env["REDIS_ADDRESS"] = redis.Addr()
}

// besideAPostgreSQL is the folder of a service that is to have one.
func besideAPostgreSQL(t *testing.T, s *session) {
	t.Helper()
	const password = "aPasswordOfTheManual"
	w := newWorld(t, s)
	w.configured(t, s, w.telnyxIs("api_key_file: telnyx.key")+"provision: {connection_id: \"1\", instance: manual}\n")
	s.write(t, "database", password+"\n")
	s.is("/run/secrets/database", s.folder+"/database")
	s.is(databaseSaid, pgtest.StartWithT(t, pgtest.Options{Password: password}).NewDatabase(t))
}
