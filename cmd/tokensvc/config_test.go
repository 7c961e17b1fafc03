package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/secret"
)

const testKey = "KEY0123_abc"

// enough is an environment in which nothing required is missing.
var enough = []string{
	"TELNYX_API_KEY=" + testKey,
	"TOKENSVC_OIDC_ISSUER=https://login.example.com",
	"TOKENSVC_OIDC_AUDIENCE=softphone",
	"TOKENSVC_DIRECTORY=claim:telnyx_credential",
}

// enoughYAML is a file in which nothing but the API key is missing.
const enoughYAML = `directory: claim:telnyx_credential
issuers:
  - issuer: https://login.example.com
    audience: softphone
`

// testKeySet is a set of keys, that of RFC 8037 appendix A.2.
const testKeySet = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`

var compareConfigs = []cmp.Option{
	cmpopts.EquateComparable(netip.Prefix{}, authz.Source{}),
	cmp.Comparer(func(a, b secret.Text) bool { return a.Reveal() == b.Reveal() }),
}

// withEnviron returns enough with more variables, which count if they are
// there already.
func withEnviron(more ...string) []string {
	return append(append([]string{}, enough...), more...)
}

// configFile writes a file tokensvc.yaml into a folder of its own.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokensvc.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// problemLines returns what Load complains of, without the file's folder.
func problemLines(t *testing.T, path string, environ []string) []string {
	t.Helper()
	_, problems := Load(path, environ)
	var lines []string
	for _, p := range problems {
		line := p.String()
		if path != "" {
			line = strings.ReplaceAll(line, filepath.Dir(path)+string(filepath.Separator), "")
		}
		lines = append(lines, line)
	}
	return lines
}

func mustLoad(t *testing.T, path string, environ ...string) Config {
	t.Helper()
	c, problems := Load(path, environ)
	for _, p := range problems {
		t.Error(p)
	}
	return c
}

func TestConfigVariablesAloneSuffice(t *testing.T) {
	want := Config{
		Listen:    "127.0.0.1:8080",
		OpsListen: "127.0.0.1:9090",
		Telnyx: TelnyxConfig{
			BaseURL: "https://api.telnyx.com/v2",
			APIKeys: []secret.Text{secret.New(testKey)},
			Timeout: 10 * time.Second,
		},
		Issuers: []IssuerConfig{{
			Issuer: authz.Issuer{
				Name:          "main",
				URL:           "https://login.example.com",
				Audiences:     []string{"softphone"},
				AudienceClaim: "aud",
				Keys:          "discovery",
				UserClaim:     "sub",
				ClockSkew:     30 * time.Second,
				DPoP:          authz.DPoPOff,
				Mode:          authz.ModeEnforce,
			},
			Introspect: IntrospectionConfig{Cache: 30 * time.Second},
		}},
		Directory: DirectoryConfig{Kind: "claim", Value: "telnyx_credential"},

		DirectoryConnections: 16,
		Devices:              DevicesConfig{Mode: "separate", Max: 5, AtMax: "refuse"},
		Provision:            ProvisionConfig{Users: "everyone", FirstLogin: "wait", ReadyAfter: 5 * time.Second},
		Reconcile:            ReconcileConfig{Mode: "report"},

		Cache:   CacheConfig{Kind: "memory"},
		Vending: VendingConfig{MinLife: 0.5},
		Limits: LimitsConfig{
			UserPerMinute:    30,
			UserBurst:        10,
			AddressPerMinute: 6000,
			AddressBurst:     600,
			Scope:            "replica",
			InFlight:         1024,
			Connections:      10000,
			RequestTimeout:   15 * time.Second,
			DrainTimeout:     30 * time.Second,
		},
		Tracing: TracingConfig{Sample: 1, TrustParent: "proxies"},
		Log:     LogConfig{Level: "info"},
		Audit:   AuditConfig{File: "-", OnFailure: "refuse"},
	}
	if diff := cmp.Diff(want, mustLoad(t, "", enough...), compareConfigs...); diff != "" {
		t.Error(diff)
	}
}

// everything has every key, with values that are not the defaults.
func everything(folder string) Config {
	return Config{
		Listen:         ":8081",
		OpsListen:      "[::1]:9091",
		BasePath:       "/tokens",
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		CORSOrigins:    []string{"https://phone.example.com", "http://localhost:3000"},
		Telnyx: TelnyxConfig{
			BaseURL:    "http://127.0.0.1:4010/v2",
			APIKeys:    []secret.Text{secret.New(testKey)},
			APIKeyFile: filepath.Join(folder, "key"),
			Timeout:    5 * time.Second,
		},
		Issuers: []IssuerConfig{{
			Issuer: authz.Issuer{
				Name:          "acme",
				URL:           "https://login.example.com",
				Audiences:     []string{"softphone", "desk"},
				AudienceClaim: "client_id",
				Keys:          "file:" + filepath.Join(folder, "keys.json"),
				UserClaim:     "email",
				Algorithms:    []string{"RS256", "ES256"},
				ClockSkew:     time.Minute,
				DPoP:          authz.DPoPOff,
				Require: []authz.Requirement{
					{Claim: "groups", AnyOf: []any{"agents", "leads"}},
					{Claim: "email_verified", AnyOf: []any{true}},
					{Claim: "realm_access.roles", AnyOf: []any{"phone"}},
					{Claim: "auth_time", MaxAge: 8 * time.Hour},
				},
				Mode: authz.ModeObserve,
			},
			Introspect: IntrospectionConfig{Cache: 30 * time.Second},
		}},
		Directory: DirectoryConfig{Kind: "postgres", Value: "postgres://me@db/books?sslmode=require"},

		DirectoryPasswordFile: filepath.Join(folder, "password"),
		DirectoryConnections:  4,
		Devices:               DevicesConfig{Mode: "shared", Max: 2, AtMax: "replace"},
		Provision: ProvisionConfig{
			ConnectionID: "1234", Instance: "blue", Users: "listed", FirstLogin: "retry",
			ReadyAfter: 6 * time.Second, ExpiresAfter: 720 * time.Hour,
		},
		Reconcile: ReconcileConfig{Every: 24 * time.Hour, Mode: "apply"},
		Admin: AdminConfig{
			TokenFile: filepath.Join(folder, "admin"), Issuer: "acme",
			Require: []authz.Requirement{{Claim: "groups", AnyOf: []any{"admins"}}},
		},

		Cache: CacheConfig{
			Kind: "redis", URL: "rediss://me@cache:6380/2",
			KeyFile: filepath.Join(folder, "sealing"), PasswordFile: filepath.Join(folder, "password"),
		},
		Vending: VendingConfig{MinLife: 0.25},
		Limits: LimitsConfig{
			UserPerMinute:    60,
			UserBurst:        20,
			AddressPerMinute: 0,
			AddressBurst:     9,
			Scope:            "shared",
			InFlight:         12,
			Connections:      13,
			RequestTimeout:   6 * time.Second,
			DrainTimeout:     7 * time.Second,
			DrainDelay:       8 * time.Second,
		},
		Tracing: TracingConfig{
			Endpoint: "https://collector.example.com/otlp", Sample: 0, HeadersFile: filepath.Join(folder, "headers"), TrustParent: "anybody",
		},
		Log:   LogConfig{Level: "debug", Format: "console"},
		Audit: AuditConfig{File: filepath.Join(folder, "audit.jsonl"), OnFailure: "vend"},
	}
}

func TestConfigEveryKeyInTheFile(t *testing.T) {
	path := configFile(t, `
listen: :8081
ops_listen: "[::1]:9091"
base_path: /tokens
trusted_proxies: [10.0.0.0/8, fd00::/8]
cors: {origins: [https://phone.example.com, http://localhost:3000]}
telnyx: {api_key_file: key, base_url: http://127.0.0.1:4010/v2/, timeout: 5s}
issuers:
  - name: acme
    issuer: https://login.example.com
    audience: [softphone, desk]
    audience_claim: client_id
    keys: file:keys.json
    user_claim: email
    algorithms: [RS256, ES256]
    clock_skew: 1m
    require: {groups: [agents, leads], email_verified: true, realm_access.roles: phone, auth_time: {max_age: 8h}}
    mode: observe
directory: postgres://me@db/books?sslmode=require
directory_password_file: password
directory_connections: 4
devices: shared
max_devices: 2
at_max_devices: replace
provision: {connection_id: "1234", instance: blue, users: listed, first_login: retry, ready_after: 6s, expires_after: 720h}
reconcile: {every: 24h, mode: apply}
admin: {token_file: admin, issuer: acme, require: {groups: admins}}
cache: rediss://me@cache:6380/2
cache_key_file: sealing
cache_password_file: password
vending: {min_life: 0.25}
limits: {user_per_minute: 60, user_burst: 20, address_per_minute: 0, address_burst: 9, scope: shared, in_flight: 12, connections: 13, request_timeout: 6s, drain_timeout: 7s, drain_delay: 8s}
log: {level: debug, format: console}
audit: {file: audit.jsonl, on_failure: vend}
tracing: {endpoint: https://collector.example.com/otlp, sample: 0, headers_file: headers, trust_parent: anybody}
`)
	folder := filepath.Dir(path)
	writeKey(t, filepath.Join(folder, "key"), testKey+"\n")
	writeKey(t, filepath.Join(folder, "keys.json"), testKeySet)
	writeKey(t, filepath.Join(folder, "password"), "s3cret\n")
	writeKey(t, filepath.Join(folder, "admin"), strings.Repeat("a", 32)+"\n")
	writeKey(t, filepath.Join(folder, "sealing"), testSealingKey)
	writeKey(t, filepath.Join(folder, "headers"), "X-Api-Key: s3cret\n")
	if diff := cmp.Diff(everything(folder), mustLoad(t, path), compareConfigs...); diff != "" {
		t.Error(diff)
	}
}

func TestConfigEveryVariable(t *testing.T) {
	folder := t.TempDir()
	writeKey(t, filepath.Join(folder, "key"), testKey+"\n")
	writeKey(t, filepath.Join(folder, "keys.json"), testKeySet)
	writeKey(t, filepath.Join(folder, "password"), "s3cret\n")
	writeKey(t, filepath.Join(folder, "admin"), strings.Repeat("a", 32)+"\n")
	writeKey(t, filepath.Join(folder, "sealing"), testSealingKey)
	writeKey(t, filepath.Join(folder, "headers"), "X-Api-Key: s3cret\n")
	got := mustLoad(t, "",
		"TOKENSVC_LISTEN=:8081",
		"TOKENSVC_OPS_LISTEN=[::1]:9091",
		"TOKENSVC_BASE_PATH=/tokens",
		"TOKENSVC_TRUSTED_PROXIES=10.0.0.0/8, fd00::/8",
		"TOKENSVC_CORS_ORIGINS=https://phone.example.com,http://localhost:3000",
		"TELNYX_API_KEY_FILE="+filepath.Join(folder, "key"),
		"TELNYX_BASE_URL=http://127.0.0.1:4010/v2",
		"TELNYX_TIMEOUT=5s",
		"TOKENSVC_OIDC_NAME=acme",
		"TOKENSVC_OIDC_ISSUER=https://login.example.com",
		"TOKENSVC_OIDC_AUDIENCE=softphone,desk",
		"TOKENSVC_OIDC_AUDIENCE_CLAIM=client_id",
		"TOKENSVC_OIDC_KEYS=file:"+filepath.Join(folder, "keys.json"),
		"TOKENSVC_OIDC_USER_CLAIM=email",
		"TOKENSVC_OIDC_ALGORITHMS=RS256,ES256",
		"TOKENSVC_OIDC_CLOCK_SKEW=1m",
		"TOKENSVC_OIDC_REQUIRE={groups: [agents, leads], email_verified: true, realm_access.roles: phone, auth_time: {max_age: 8h}}",
		"TOKENSVC_OIDC_MODE=observe",
		"TOKENSVC_DIRECTORY=postgres://me@db/books?sslmode=require",
		"TOKENSVC_DIRECTORY_PASSWORD_FILE="+filepath.Join(folder, "password"),
		"TOKENSVC_DIRECTORY_CONNECTIONS=4",
		"TOKENSVC_DEVICES=shared",
		"TOKENSVC_MAX_DEVICES=2",
		"TOKENSVC_AT_MAX_DEVICES=replace",
		"TOKENSVC_PROVISION_CONNECTION_ID=1234",
		"TOKENSVC_PROVISION_INSTANCE=blue",
		"TOKENSVC_PROVISION_USERS=listed",
		"TOKENSVC_PROVISION_FIRST_LOGIN=retry",
		"TOKENSVC_PROVISION_READY_AFTER=6s",
		"TOKENSVC_PROVISION_EXPIRES_AFTER=720h",
		"TOKENSVC_RECONCILE_EVERY=24h",
		"TOKENSVC_RECONCILE_MODE=apply",
		"TOKENSVC_ADMIN_TOKEN_FILE="+filepath.Join(folder, "admin"),
		"TOKENSVC_ADMIN_ISSUER=acme",
		"TOKENSVC_ADMIN_REQUIRE={groups: admins}",
		"TOKENSVC_CACHE=rediss://me@cache:6380/2",
		"TOKENSVC_CACHE_KEY_FILE="+filepath.Join(folder, "sealing"),
		"TOKENSVC_CACHE_PASSWORD_FILE="+filepath.Join(folder, "password"),
		"TOKENSVC_VENDING_MIN_LIFE=0.25",
		"TOKENSVC_LIMITS_USER_PER_MINUTE=60",
		"TOKENSVC_LIMITS_USER_BURST=20",
		"TOKENSVC_LIMITS_ADDRESS_PER_MINUTE=0",
		"TOKENSVC_LIMITS_ADDRESS_BURST=9",
		"TOKENSVC_LIMITS_SCOPE=shared",
		"TOKENSVC_LIMITS_IN_FLIGHT=12",
		"TOKENSVC_LIMITS_CONNECTIONS=13",
		"TOKENSVC_LIMITS_REQUEST_TIMEOUT=6s",
		"TOKENSVC_LIMITS_DRAIN_TIMEOUT=7s",
		"TOKENSVC_LIMITS_DRAIN_DELAY=8s",
		"TOKENSVC_LOG_LEVEL=debug",
		"TOKENSVC_LOG_FORMAT=console",
		"TOKENSVC_AUDIT_FILE="+filepath.Join(folder, "audit.jsonl"),
		"TOKENSVC_AUDIT_ON_FAILURE=vend",
		"TOKENSVC_TRACING_ENDPOINT=https://collector.example.com/otlp",
		"TOKENSVC_TRACING_SAMPLE=0",
		"TOKENSVC_TRACING_HEADERS_FILE="+filepath.Join(folder, "headers"),
		"TOKENSVC_TRACING_TRUST_PARENT=anybody",
	)
	if diff := cmp.Diff(everything(folder), got, compareConfigs...); diff != "" {
		t.Error(diff)
	}
}

func TestConfigEnvironmentBeatsFilePerKey(t *testing.T) {
	path := configFile(t, enoughYAML+"listen: :8081\nlimits: {in_flight: 12, user_burst: 5}\n")
	c := mustLoad(t, path, "TELNYX_API_KEY="+testKey, "TOKENSVC_LIMITS_IN_FLIGHT=13", "TOKENSVC_LISTEN=")
	if c.Limits.InFlight != 13 || c.Limits.UserBurst != 5 || c.Listen != ":8081" {
		t.Errorf("in_flight %d, user_burst %d, listen %s", c.Limits.InFlight, c.Limits.UserBurst, c.Listen)
	}
}

// A file's paths are relative to the file, a variable's to the process.
func TestConfigPathInAVariableIsNotRelativeToTheFile(t *testing.T) {
	c, _ := loadAlone(configFile(t, enoughYAML), []string{"TOKENSVC_DIRECTORY=file:other.yaml"})
	if c.Directory.Value != "other.yaml" {
		t.Error(c.Directory.Value)
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", 100 * time.Millisecond: "100ms", 5 * time.Minute: "5m", 90 * time.Second: "1m30s",
		20 * time.Minute: "20m", time.Hour: "1h", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", time.Hour + 5*time.Second: "1h0m5s",
	} {
		if got := brief(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// A clock skew of 0 is a wish for none, not for the default.
func TestConfigClockSkewOfZeroMeansNone(t *testing.T) {
	c := mustLoad(t, "", withEnviron("TOKENSVC_OIDC_CLOCK_SKEW=0s")...)
	if c.Issuers[0].ClockSkew >= 0 {
		t.Errorf("ClockSkew %v, want negative", c.Issuers[0].ClockSkew)
	}
}

// Every problem of a file and of the environment at once, in order.
func TestConfigAllProblemsAtOnce(t *testing.T) {
	environ := []string{"TOKENSVC_LOG_LEVEL=verbose", "TOKENSVC_LISTEM=:1", "TOKENSVC_OIDC_NAME=acme"}
	got := problemLines(t, filepath.Join("testdata", "config", "wrong.yaml"), environ)
	want, err := os.ReadFile(filepath.Join("testdata", "config", "wrong.golden"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), strings.Join(got, "\n")+"\n"); diff != "" {
		t.Errorf("%s\ngot:\n%s", diff, strings.Join(got, "\n"))
	}
}

// A users file is judged with everything else, and its lines say where.
func TestConfigProblemsOfTheUsersFile(t *testing.T) {
	const credential = "11111111-1111-4111-8111-111111111111"
	folder := t.TempDir()
	users := filepath.Join(folder, "users.yaml")
	writeKey(t, users, "users:\n  alice: "+credential+"\n  bob: "+canary+"\n  "+canary+": "+canary+"\n")
	tests := []struct {
		name, directory string
		want            []string
	}{
		{"all that is wrong with it", users, []string{
			"TOKENSVC_LISTEN: must be host:port, such as 127.0.0.1:8080 or :8080",
			"users.yaml:3: users.bob: a credential is a UUID",
			"users.yaml:4: a credential is a UUID",
		}},
		{"a secret in the place of its path", canary, []string{
			"TOKENSVC_LISTEN: must be host:port, such as 127.0.0.1:8080 or :8080",
			"TOKENSVC_DIRECTORY: there is no such file",
		}},
		{"a folder", folder, []string{
			"TOKENSVC_LISTEN: must be host:port, such as 127.0.0.1:8080 or :8080",
			"TOKENSVC_DIRECTORY: the file cannot be read",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := problemLines(t, "", withEnviron("TOKENSVC_LISTEN=8080", "TOKENSVC_DIRECTORY=file:"+test.directory))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}

	path := configFile(t, strings.Replace(enoughYAML, "claim:telnyx_credential", "file:users.yaml", 1))
	want := []string{"tokensvc.yaml:1: directory: there is no such file"}
	if diff := cmp.Diff(want, problemLines(t, path, enough[:1])); diff != "" {
		t.Error(diff)
	}
	writeKey(t, filepath.Join(filepath.Dir(path), "users.yaml"), "users: {alice: "+credential+"}")
	if c := mustLoad(t, path, enough[0]); c.Users == nil || c.Users.Users() != 1 {
		t.Errorf("the users are %v, want one", c.Users)
	}
}

func writeKey(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
