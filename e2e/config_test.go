package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// marked is what must not be shown, wherever it was put by mistake.
const marked = "KEY0marked0by0the0test"

// refusesToStart runs serve with a configuration that is not in order: status 2,
// these lines and no others on standard error, and nobody asked anything.
func refusesToStart(t *testing.T, l *lab, issuer *trap, env []string, want []string, args ...string) {
	t.Helper()
	got := runBinary(t, env, append([]string{"serve"}, args...)...)
	if got.status != 2 || got.stdout != "" {
		t.Errorf("status %d, want 2, and on standard output %q, want nothing", got.status, got.stdout)
	}
	if strings.Contains(got.stderr, marked) {
		t.Errorf("the secret is shown:\n%s", got.stderr)
	}
	lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
	for i := range max(len(lines), len(want)) {
		line, begin := "", "no more lines"
		if i < len(lines) {
			line = lines[i]
		}
		if i < len(want) {
			begin = want[i]
		}
		if !strings.HasPrefix(line, begin) {
			t.Errorf("line %d is %q, want %q", i+1, line, begin)
		}
	}
	if n := l.telnyx.Connections(); n != 0 {
		t.Errorf("%d connections to Telnyx, want none", n)
	}
	issuer.wantNobody(t)
}

func TestAFileFullOfMistakes(t *testing.T) {
	l := newLab(t, telnyxtest.Options{})
	issuer := newTrap(t)
	file := filepath.Join(t.TempDir(), "tokensvc.yaml")
	writeFile(t, file, fmt.Sprintf(`listen: 8080
base_path: /tokens/
trusted_proxies: [10.0.0.1/8]
cors:
  origins: ["*", https://phone.example.com]
telnyx:
  api_key: %[1]s
  base_url: %[2]s
  timeout: 10
issuers:
  - issuer: %[3]s
    audience: []
    algorithms: [HS256]
  - name: other
    issuer: https://user:%[1]s@login.example.com
    audience: softphone
    require: 7
directory: postgres://tokensvc:%[1]s@db/tokensvc
cache: redis://:%[1]s@cache:6379
vending:
  min_life: 1.5
limits:
  user_per_minutes: 5
  in_flight: "many"
log:
  level: loud
  level: info
%[1]s: true
`, marked, l.telnyx.URL(), issuer.URL))
	at := func(line int, key string) string { return fmt.Sprintf("%s:%d: %s", file, line, key) }

	refusesToStart(t, l, issuer, nil, []string{
		at(1, "listen: has the wrong type: must be host:port"),
		at(2, "base_path: must be a path"),
		at(3, "trusted_proxies: must be a list of networks"),
		at(5, "cors.origins: must be a list of origins"),
		at(7, "telnyx.api_key: unknown key: the API key does not go into this file"),
		at(9, "telnyx.timeout: has the wrong type: must be a duration with its unit"),
		at(11, "issuers[0].name: is required when there are several issuers"),
		at(12, "issuers[0].audience: must be"),
		at(13, "issuers[0].algorithms: must be"),
		at(15, "issuers[1].issuer: must have no user information"),
		at(17, "issuers[1].require: has the wrong type: must be a mapping of claims"),
		at(18, "directory: must say sslmode"),
		at(19, "cache: must not hold the password: use cache_password_file, or the variable TOKENSVC_CACHE"),
		at(21, "vending.min_life: must be a number between 0 and 1"),
		at(23, "limits.user_per_minutes: unknown key; did you mean limits.user_per_minute?"),
		at(24, "limits.in_flight: has the wrong type: must be a whole number"),
		at(26, "log.level: must be one of"),
		at(27, "log.level: is there twice: first on line 26"),
		at(28, "unknown key, not shown in case it is a secret"),
		file + ": telnyx.api_key_file: is required: set TELNYX_API_KEY or TELNYX_API_KEY_FILE",
	}, "-config", file)
}

func TestVariablesFullOfMistakes(t *testing.T) {
	l := newLab(t, telnyxtest.Options{})
	issuer := newTrap(t)
	refusesToStart(t, l, issuer, []string{
		"TELNYX_API_KEY=Bearer " + marked,
		"TELNYX_BASE_URL=" + l.telnyx.URL(),
		"TELNYX_TIMEOUT=20s",
		"TOKENSVC_LISTEN=127.0.0.1:8080",
		"TOKENSVC_OPS_LISTEN=:8080",
		"TOKENSVC_TRUSTED_PROXIES=0.0.0.0/0",
		"TOKENSVC_OIDC_ISSUER=" + issuer.URL,
		"TOKENSVC_DIRECTORY=postgres://tokensvc:" + marked + "@db/tokensvc",
		"TOKENSVC_CACHE=redis://:" + marked + "@cache:6379",
		"TOKENSVC_LIMITS_INFLIGHT=5",
		"TOKENSVC_PORT=8080",
		"TOKENSVC_SERVICE_HOST=10.96.7.7", // not ours: Kubernetes sets it
		"TOKENSVC_PORT_8080_TCP=tcp://10.96.7.7:8080",
	}, []string{
		"TOKENSVC_LISTEN: must not be the same address as ops_listen",
		"TOKENSVC_TRUSTED_PROXIES: must be a list of networks",
		"TELNYX_API_KEY: the API key must be printable ASCII without white space",
		"TELNYX_TIMEOUT: must be less than limits.request_timeout",
		"TOKENSVC_OIDC_AUDIENCE: is required",
		"TOKENSVC_DIRECTORY: must say sslmode",
		"TOKENSVC_CACHE_KEY_FILE: is required for a Redis",
		"TOKENSVC_LIMITS_INFLIGHT: unknown variable; did you mean TOKENSVC_LIMITS_IN_FLIGHT?",
		"TOKENSVC_PORT: unknown variable",
	})
}

func TestNothingIsConfigured(t *testing.T) {
	l := newLab(t, telnyxtest.Options{})
	issuer := newTrap(t)
	refusesToStart(t, l, issuer, nil, []string{
		"TELNYX_API_KEY: is required",
		"TOKENSVC_OIDC_ISSUER: is required",
		"TOKENSVC_OIDC_AUDIENCE: is required",
	})
}

func TestAUsersFileFullOfMistakes(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	issuer := newTrap(t)
	writeFile(t, l.users, fmt.Sprintf(`users:
  alice: %[2]s
  bob: %[1]s
  carol: {desk: %[3]s, Mobile: %[3]s}
  dave: {}
  "eve\n": %[3]s
  frank: %[2]s
  alice: %[3]s
admins: []
`, marked, l.credentials["alice"], l.credentials["bob"]))
	var env []string
	for name, value := range l.with(setting{"TOKENSVC_OIDC_ISSUER", issuer.URL}) {
		env = append(env, name+"="+value)
	}
	refusesToStart(t, l, issuer, env, []string{
		"users.yaml:3: users.bob: a credential is a UUID",
		"users.yaml:4: users.carol: a device is 1 to 64 of",
		"users.yaml:5: users.dave: a user needs a credential",
		"users.yaml:6: a user is 1 to 256 bytes of printable characters, without space around them",
		"users.yaml:7: users.frank: this credential belongs to another user already",
		"users.yaml:8: users.alice: this user stands in the file twice",
		"users.yaml:9: only one key is known here, users",
	})

	for content, want := range map[string]string{
		"":                           "users.yaml: must be a mapping with the key users",
		"users: [" + marked:          "users.yaml: is not YAML, at line 1",
		marked:                       "users.yaml: must be a mapping with the key users",
		"users:\n- " + marked + "\n": "users.yaml:1: users must map a user key to a credential",
	} {
		writeFile(t, l.users, content)
		refusesToStart(t, l, issuer, env, []string{want})
	}
}
