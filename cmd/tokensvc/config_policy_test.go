package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// accepted and refused values of each variable. What YAML says of a type comes
// on top, and is in TestConfigTypes.
func TestConfigValues(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "keys.json")
	writeKey(t, keyFile, testKeySet)
	tests := []struct {
		variable          string
		accepted, refused []string
	}{
		{
			"TOKENSVC_LISTEN",
			[]string{":8080", "127.0.0.1:0", "[::1]:8080", "localhost:8080", "tokensvc.internal:80"},
			[]string{"8080", "localhost", "127.0.0.1:http", "127.0.0.1:65536", "::1:8080", "a b:80", "http://127.0.0.1:80", " :80"},
		}, {
			"TOKENSVC_BASE_PATH",
			[]string{"/tokens", "/a/b-c/d.e_f~g"},
			[]string{"/", "tokens", "/tokens/", "/a//b", "/a/../b", "/a/.", "/{id}", "/a*", "/a b", "/a?b", "/%41"},
		}, {
			"TOKENSVC_TRUSTED_PROXIES",
			[]string{"10.0.0.0/8", "10.0.0.7/32", "fd00::/8", "10.0.0.0/8,192.168.0.0/16"},
			[]string{"10.0.0.7", "10.0.0.1/8", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "10.0.0.0/8,", "private"},
		}, {
			"TOKENSVC_CORS_ORIGINS",
			[]string{"https://phone.example.com", "https://phone.example.com:8443", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:3000", "https://10.0.0.1"},
			[]string{
				"*", "null", "https://*", "https://*.example.com", "https://phone.example.com/", "https://phone.example.com/a",
				"https://Phone.example.com", "HTTPS://phone.example.com", "phone.example.com", "http://phone.example.com", "http://10.0.0.1",
				"https://phone.example.com:443", "http://localhost:80", "https://phone.example.com:", "https://phone.example.com:0", "https://phone.example.com:70000",
				"https://user@phone.example.com", "https://phone.example.com?a", "https://phone.example.com#a", "file://", "https://", "https://télé.example.com",
				"https://a.example.com,,https://b.example.com",
			},
		}, {
			"TELNYX_BASE_URL",
			[]string{"https://api.telnyx.com/v2", "https://api.telnyx.com/v2/", "http://127.0.0.1:4010", "http://localhost:4010/v2"},
			[]string{"http://api.telnyx.com/v2", "api.telnyx.com", "https://", "https://user:pass@api.telnyx.com", "https://api.telnyx.com/v2?a=b", "ftp://api.telnyx.com"},
		}, {
			"TELNYX_TIMEOUT",
			[]string{"100ms", "14s", "14999ms"},
			[]string{"10", "0s", "-1s", "99ms", "121s", "ten"},
		}, {
			"TOKENSVC_OIDC_NAME",
			[]string{"acme", "a-1"},
			[]string{"Acme", "a:b", "-a", strings.Repeat("a", 33)},
		}, {
			"TOKENSVC_OIDC_ISSUER",
			[]string{"https://login.example.com", "https://login.example.com/realms/a/", "http://127.0.0.1:9000"},
			[]string{"http://login.example.com", "login.example.com", "https://login.example.com?a"},
		}, {
			"TOKENSVC_OIDC_AUDIENCE",
			[]string{"softphone", "softphone, desk", "https://api.example.com/"},
			[]string{",", "softphone,"},
		}, {
			"TOKENSVC_OIDC_AUDIENCE_CLAIM",
			[]string{"aud", "client_id", "https://example.com/audience"},
			[]string{" ", "client\nid"},
		}, {
			"TOKENSVC_OIDC_KEYS",
			[]string{"discovery", "https://login.example.com/keys", "http://127.0.0.1:9000/keys", "file:" + keyFile},
			[]string{"keys.json", "file:", "file:no-such-file", "http://login.example.com/keys", "https://login.example.com/keys?a", "https://a:b@login.example.com/keys", "Discovery"},
		}, {
			"TOKENSVC_OIDC_ALGORITHMS",
			[]string{"RS256", "RS256,EdDSA"},
			[]string{"HS256", "none", "RS256,HS256", "rs256"},
		}, {
			"TOKENSVC_OIDC_CLOCK_SKEW",
			[]string{"0s", "30s", "5m"},
			[]string{"-1s", "5m1s", "30"},
		}, {
			"TOKENSVC_OIDC_REQUIRE",
			[]string{
				"{groups: agents}", "groups: [agents, leads]", "{email_verified: true}", "{a.b: [x, true]}", `{"https://example.com/roles": x}`,
				"{level: 7}", "{level: [7, -0.5, 1e3, '7']}", "{age: {at_least: 18, at_most: 65}}", "{groups: {glob: 'team-*'}}",
			},
			[]string{
				"groups", "[groups]", "{groups: []}", "{groups: {}}", "{groups: {a: b}}", "{groups: null}", "{groups: [[a]]}", "{7: a}", "{'': a}",
				"{groups: a, groups: b}", "{groups: &a x}", "{groups: &a [x]}", "{groups: [&a x, *a]}", "{&a groups: x}", "{groups", "{a: b}\n---\n{a: b}",
			},
		}, {
			"TOKENSVC_OIDC_MODE",
			[]string{"enforce", "observe"},
			[]string{"Observe", "off", "true"},
		}, {
			"TOKENSVC_DIRECTORY",
			[]string{
				"claim:telnyx", "sqlite:users.db", "postgres://db/x?sslmode=verify-full", "postgresql://user:pass@localhost/x",
			},
			[]string{
				"users.yaml", "file:", "claim:", "claim: telnyx", "FILE:users.yaml", "sqlite:", "sqlite", "mysql://db/x",
				"postgres://user:pass@db/x", "postgres://db:x/x?sslmode=require", "postgres:db",
			},
		}, {
			"TOKENSVC_PROVISION_READY_AFTER", // which has no use with a claim, but is judged
			nil,
			[]string{"61s", "-1s", "5"},
		}, {
			"TOKENSVC_PROVISION_INSTANCE",
			nil,
			[]string{"Blue", "blue:green", strings.Repeat("b", 33)},
		}, {
			"TOKENSVC_PROVISION_CONNECTION_ID",
			nil,
			[]string{"connection:7", "../balance", "7 7"},
		}, {
			"TOKENSVC_RECONCILE_EVERY",
			nil,
			[]string{"1s", "0", "721h"},
		}, {
			"TOKENSVC_CACHE",
			[]string{"memory", "none"}, // the others need a key file
			[]string{"Memory", "off", "redis:", "redis://", "memcached://cache", "redis://cache:6379?x=1", "redis://cache:99999", "redis://cache/x"},
		}, {
			"TOKENSVC_VENDING_MIN_LIFE",
			[]string{"0.5", "0.01", "0.99"},
			[]string{"0", "1", "-0.5", "1.5", "50%", "NaN", "Inf"},
		}, {
			"TOKENSVC_LIMITS_USER_PER_MINUTE",
			[]string{"1", "60000"},
			[]string{"0", "-1", "60001", "1e3", "30.0", "99999999999999999999"},
		}, {
			"TOKENSVC_LIMITS_USER_BURST",
			[]string{"1", "10000"},
			[]string{"0", "10001"},
		}, {
			"TOKENSVC_LIMITS_ADDRESS_PER_MINUTE",
			[]string{"0", "6000000"},
			[]string{"-1", "6000001", "none"},
		}, {
			"TOKENSVC_LIMITS_ADDRESS_BURST",
			[]string{"1", "100000"},
			[]string{"0", "100001"},
		}, {
			"TOKENSVC_LIMITS_SCOPE",
			[]string{"replica"}, // shared needs a Redis
			[]string{"Replica", "all", "true"},
		}, {
			"TOKENSVC_LIMITS_IN_FLIGHT",
			[]string{"1", "1000000"},
			[]string{"0", "1000001"},
		}, {
			"TOKENSVC_LIMITS_CONNECTIONS",
			[]string{"1", "1000000"},
			[]string{"0", "1000001"},
		}, {
			"TOKENSVC_LIMITS_DRAIN_DELAY",
			[]string{"0s", "0", "5m"},
			[]string{"-1s", "6m", "5"},
		}, {
			"TOKENSVC_LOG_LEVEL",
			[]string{"debug", "info", "warn", "error"},
			[]string{"INFO", "trace", "warning"},
		}, {
			"TOKENSVC_LOG_FORMAT",
			[]string{"json", "console"},
			[]string{"text"},
		}, {
			"TELNYX_API_KEY",
			[]string{"KEY0123_abc", " KEY0123_abc\n", strings.Repeat("k", 512)},
			[]string{" ", "KEY 0123", "KEY\n0123", "KEY\x00", "KÉY", strings.Repeat("k", 513)},
		},
	}
	for _, test := range tests {
		for _, text := range test.accepted {
			if got := problemLines(t, "", withEnviron(test.variable+"="+text)); got != nil {
				t.Errorf("%s=%q is refused: %q", test.variable, text, got)
			}
		}
		for _, text := range test.refused {
			got := problemLines(t, "", withEnviron(test.variable+"="+text))
			if len(got) == 0 || slices.ContainsFunc(got, func(p string) bool { return !strings.HasPrefix(p, test.variable+": ") }) {
				t.Errorf("%s=%q: got %q, want problems there, and nowhere else", test.variable, text, got)
			}
		}
	}
}

// What a YAML type is wrong for: text in quotes is no number, and an unquoted
// number is no text.
func TestConfigTypes(t *testing.T) {
	for entry, ok := range map[string]bool{
		"log: {level: info}":              true,
		"log: {level: 'info'}":            true,
		"log: {level: true}":              false,
		"log: {level: [info]}":            false,
		"log: {level: {info: info}}":      false,
		"log: {level: !mine info}":        false,
		"limits: {in_flight: 12}":         true,
		"limits: {in_flight: '12'}":       false,
		"limits: {in_flight: 12.0}":       false,
		"limits: {in_flight: 0x10}":       false,
		"limits: {drain_delay: 0}":        false,
		"vending: {min_life: 0.5}":        true,
		"vending: {min_life: 5e-1}":       true,
		"vending: {min_life: '0.5'}":      false,
		"vending: {min_life: .nan}":       false,
		"cors: {origins: []}":             true,
		"cors: {origins: https://a.b}":    true,
		"cors: {origins: [[]]}":           false,
		"cors: {origins: [7]}":            false,
		"cors: {origins: [&a https://a]}": false,
		"listen: 2001-01-01":              false,
		"listen: &here :8081":             false,
		"limits:":                         false,
		"limits: ~":                       false,
		"limits: []":                      false,
		"limits: {}":                      true,
	} {
		path := configFile(t, enoughYAML+entry+"\n")
		got := problemLines(t, path, []string{"TELNYX_API_KEY=" + testKey})
		if ok != (got == nil) || len(got) > 1 {
			t.Errorf("%s: got %q, want accepted: %v", entry, got, ok)
		}
	}
}

// Files of which nothing, or not everything, can be understood.
func TestConfigFiles(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "tokensvc.yaml: is empty"},
		{"comments only", "# nothing\n", "tokensvc.yaml: is empty"},
		{"null", "---\n~\n", "tokensvc.yaml: is empty"},
		{"a list", "- listen: :8080\n", "tokensvc.yaml:1: must be a mapping of keys to values"},
		{"a text", "\nlisten", "tokensvc.yaml:2: must be a mapping of keys to values"},
		{"two documents", enoughYAML + "---\nlisten: :8080\n", "tokensvc.yaml:5: must be one YAML document, not several"},
		{"a broken second document", enoughYAML + "---\nlisten: ]\n", "tokensvc.yaml:5: is not valid YAML, here or next to here"},
		{"broken", enoughYAML + "cache: memory\n  log: a\n", "tokensvc.yaml:6: is not valid YAML, here or next to here"},
		{"an unknown alias", "listen: *here\n", "tokensvc.yaml: is not valid YAML"},
		{"not UTF-8", enoughYAML + "cache: \xff\n", "tokensvc.yaml:5: must be UTF-8"},
		{"too large", enoughYAML + strings.Repeat("#", maxConfigFile), "tokensvc.yaml: must be at most 1 MiB"},
		{"a dotted key", enoughYAML + "limits.in_flight: 12\n", "tokensvc.yaml:5: unknown key, not shown in case it is a secret"},
		{"an empty key", enoughYAML + "'': KEY0\n", "tokensvc.yaml:5: unknown key, not shown in case it is a secret"},
		{"our own notation", enoughYAML + "issuers[].name: x\n", "tokensvc.yaml:5: unknown key, not shown in case it is a secret"},
		{"a list as a key", enoughYAML + "? [a, b]\n: c\n", "tokensvc.yaml:5: unknown key, not shown in case it is a secret"},
		{"an anchored key", enoughYAML + "&a cache: memory\n", "tokensvc.yaml:5: must be written out: anchors and aliases are not accepted"},
		{"a merge", enoughYAML + "limits: {<<: {in_flight: 12}}\n", "tokensvc.yaml:5: limits: unknown key, not shown in case it is a secret"},
		{"a key of another mapping", enoughYAML + "in_flight: 12\n", "tokensvc.yaml:5: in_flight: unknown key; did you mean limits.in_flight?"},
		{"a mapping twice", enoughYAML + "log: {level: info}\nlog: {format: json}\n", "tokensvc.yaml:6: log: is there twice: first on line 5"},
		{"issuers as a mapping", "directory: claim:a\nissuers: {issuer: https://a.b}\n", "tokensvc.yaml:2: issuers: must be a list of issuers"},
		{"an issuer as text", "directory: claim:a\nissuers:\n  - https://a.b\n", "tokensvc.yaml:3: issuers[0]: must be a mapping of keys to values"},
		{"no issuers", "directory: claim:a\nissuers: []\n", "tokensvc.yaml:2: issuers: at least one is required: set issuers in the file, or TOKENSVC_OIDC_ISSUER and TOKENSVC_OIDC_AUDIENCE"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := problemLines(t, configFile(t, test.text), []string{"TELNYX_API_KEY=" + testKey})
			if diff := cmp.Diff([]string{test.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigFileThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(folder, "none.yaml"): ": there is no such file",
		folder:                             ": the file cannot be read",
	} {
		_, problems := Load(path, enough)
		if len(problems) != 1 || problems[0].String() != path+want {
			t.Errorf("%s: %v", path, problems)
		}
	}
}

// What is missing is said with both ways to set it.
func TestConfigMissing(t *testing.T) {
	want := []string{
		"TELNYX_API_KEY: is required: set TELNYX_API_KEY or TELNYX_API_KEY_FILE, or telnyx.api_key_file in the file",
		"TOKENSVC_OIDC_ISSUER: is required; set issuers[].issuer in the file, or TOKENSVC_OIDC_ISSUER",
		"TOKENSVC_OIDC_AUDIENCE: is required: the value of aud in tokens meant for this service; set issuers[].audience in the file, or TOKENSVC_OIDC_AUDIENCE",
	}
	if diff := cmp.Diff(want, problemLines(t, "", nil)); diff != "" {
		t.Error(diff)
	}
	want = []string{
		"tokensvc.yaml: telnyx.api_key_file: is required: set TELNYX_API_KEY or TELNYX_API_KEY_FILE, or telnyx.api_key_file in the file",
		"tokensvc.yaml: issuers: at least one is required: set issuers in the file, or TOKENSVC_OIDC_ISSUER and TOKENSVC_OIDC_AUDIENCE",
	}
	if diff := cmp.Diff(want, problemLines(t, configFile(t, "cache: memory\n"), nil)); diff != "" {
		t.Error(diff)
	}
}

// An empty variable is not set, which whoever set it is told.
func TestConfigKeyThatIsThereButEmpty(t *testing.T) {
	got := problemLines(t, "", append(slices.Clone(enough[1:]), "TELNYX_API_KEY="))
	if len(got) != 1 || !strings.HasSuffix(got[0], "in the file; TELNYX_API_KEY is there, but empty") {
		t.Errorf("got %q", got)
	}
}

// Of a list, the wrong element is named by its number.
func TestConfigElementsAreNumbered(t *testing.T) {
	for variable, want := range map[string]string{
		"TOKENSVC_CORS_ORIGINS=https://a.example.com,*,https://b.example.com": "; element 2 is not",
		"TOKENSVC_OIDC_ALGORITHMS=RS256,ES256,HS256":                          "; element 3 is not",
		"TOKENSVC_CORS_ORIGINS=*":                                             "on a loopback host",
	} {
		got := problemLines(t, "", withEnviron(variable))
		if len(got) != 1 || !strings.HasSuffix(got[0], want) {
			t.Errorf("%s: got %q, want %q at its end", variable, got, want)
		}
	}
}

// Settings that are right one by one and wrong together.
func TestConfigContradictions(t *testing.T) {
	const issuers = "directory: claim:a\nissuers:\n  - {name: a, issuer: https://a.example.com, audience: x}\n"
	secret := filepath.Join(t.TempDir(), "secret")
	writeKey(t, secret, "what-only-the-proxy-has")
	proxied := func(source, proxy string) string {
		return issuers + "  - {name: b, issuer: https://b.example.com, audience: x, source: '" + source + "'}\n" +
			"  - {name: sso, proxy: {networks: [10.0.0.0/8], secret_file: '" + secret + "'" + proxy + "}}\n"
	}
	const ofProxy = "tokensvc.yaml:4: issuers[1].source: is a header of the trusted proxy's, which cannot hold a token too"
	tests := []struct {
		name, file string
		environ    []string
		want       string
	}{
		{"a token where a proxy puts a claim", proxied("header:x-forwarded-user", ""), nil, ofProxy},
		{"a token where a proxy puts another claim", proxied("header:X-Who", ", headers: {sub: x-who}"), nil, ofProxy},
		{"a token where a proxy puts its secret", proxied("header:X-Proxy-Secret", ""), nil, ofProxy},
		{"a token where a proxy puts nothing", proxied("header:X-Forwarded-User", ", headers: {sub: x-who}"), nil, ""},
		{"a token where it is unclear what a proxy puts", proxied("header:X-Forwarded-User", ", headers: {sub: [1]}"), nil, "tokensvc.yaml:5: issuers[2].proxy.headers: must be a mapping of claims to headers, each a text"},
		{"a token where it is unclear where a proxy puts its secret", proxied("header:X-Proxy-Secret", ", secret_header: []"), nil, "tokensvc.yaml:5: issuers[2].proxy.secret_header: has the wrong type: must be the name of a header"},
		{"a proxy with a token's place", strings.Replace(proxied("bearer", ""), "sso,", "sso, source: 'header:X-Forwarded-User',", 1), nil, "tokensvc.yaml:5: issuers[2].source: does not go with proxy, which sends no token"},
		{"one address for both listeners", enoughYAML + "ops_listen: 127.0.0.1:8080\n", nil, "tokensvc.yaml:5: ops_listen: must not be the same address as listen"},
		{"a listener on every address", enoughYAML + "listen: :9090\n", nil, "tokensvc.yaml:5: listen: must not be the same address as ops_listen"},
		{"listeners on any port", enoughYAML, []string{"TOKENSVC_LISTEN=:0", "TOKENSVC_OPS_LISTEN=:0"}, ""},
		{"Telnyx as slow as a request", enoughYAML, []string{"TELNYX_TIMEOUT=15s"}, "TELNYX_TIMEOUT: must be less than limits.request_timeout"},
		{"a request as short as Telnyx", enoughYAML + "limits: {request_timeout: 10s}\n", nil, "tokensvc.yaml:5: limits.request_timeout: must be more than telnyx.timeout"},
		{"draining shorter than a request", enoughYAML, []string{"TOKENSVC_LIMITS_DRAIN_TIMEOUT=14s"}, "TOKENSVC_LIMITS_DRAIN_TIMEOUT: must be at least limits.request_timeout"},
		{"draining shorter than a long request", enoughYAML + "limits: {request_timeout: 1m}\n", nil, "tokensvc.yaml:5: limits.request_timeout: must be at most limits.drain_timeout"},
		{"draining as long as a request", enoughYAML, []string{"TOKENSVC_LIMITS_DRAIN_TIMEOUT=15s"}, ""},
		{"a broken time is not compared", enoughYAML, []string{"TELNYX_TIMEOUT=1000h"}, "TELNYX_TIMEOUT: must be a duration with its unit, from 100ms to 2m"},
		{"a time is not compared with a broken one", enoughYAML + "limits: {request_timeout: 1 min}\n", []string{"TELNYX_TIMEOUT=20s"}, "tokensvc.yaml:5: limits.request_timeout: must be a duration with its unit, from 100ms to 5m"},
		{"issuers from both", enoughYAML, []string{"TOKENSVC_OIDC_USER_CLAIM=email", "TOKENSVC_OIDC_NAME=a"}, "TOKENSVC_OIDC_NAME: cannot be used together with issuers in the file: use one or the other"},
		{"an issuer from the environment beside a file", "directory: claim:a\n", []string{"TOKENSVC_OIDC_ISSUER=https://a.example.com", "TOKENSVC_OIDC_AUDIENCE=x"}, ""},
		{"an issuer without audience beside a file", "directory: claim:a\n", []string{"TOKENSVC_OIDC_ISSUER=https://a.example.com"}, "TOKENSVC_OIDC_AUDIENCE: is required: the value of aud in tokens meant for this service; set issuers[].audience in the file, or TOKENSVC_OIDC_AUDIENCE"},
		{"an issuer without name among several", issuers + "  - {issuer: https://b.example.com, audience: x}\n", nil, "tokensvc.yaml:4: issuers[1].name: is required when there are several issuers"},
		{"a name twice", issuers + "  - {name: a, issuer: https://b.example.com, audience: x}\n", nil, "tokensvc.yaml:4: issuers[1].name: is the name of an earlier issuer too"},
		{"an issuer twice", issuers + "  - {name: b, issuer: https://a.example.com, audience: y}\n", nil, "tokensvc.yaml:4: issuers[1].issuer: has an earlier entry: an issuer is listed once, with all its audiences"},
		{"a key and its file", enoughYAML, []string{"TELNYX_API_KEY_FILE=/run/key"}, "TELNYX_API_KEY: cannot be used together with TELNYX_API_KEY_FILE: use one or the other"},
		{"a key and several files", enoughYAML, []string{"TELNYX_API_KEY_FILES=/run/key"}, "TELNYX_API_KEY: cannot be used together with TELNYX_API_KEY_FILES: use one or the other"},
		{"a key and several files in the file", enoughYAML + "telnyx: {api_keys: [key, other]}\n", nil, "TELNYX_API_KEY: cannot be used together with telnyx.api_keys in the file: use one or the other"},
		{"a key and its file in the file", enoughYAML + "telnyx: {api_key_file: key}\n", nil, "TELNYX_API_KEY: cannot be used together with telnyx.api_key_file in the file: use one or the other"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			environ := slices.Concat([]string{"TELNYX_API_KEY=" + testKey}, test.environ)
			if diff := cmp.Diff(want, problemLines(t, configFile(t, test.file), environ)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A wrong value in the file is reported though a variable overrules it, and the
// variable's value is still judged.
func TestConfigOverruledValuesAreJudgedToo(t *testing.T) {
	path := configFile(t, enoughYAML+"telnyx: {timeout: soon}\n")
	want := []string{
		"tokensvc.yaml:5: telnyx.timeout: must be a duration with its unit, from 100ms to 2m",
		"TELNYX_TIMEOUT: must be less than limits.request_timeout",
	}
	got := problemLines(t, path, []string{"TELNYX_API_KEY=" + testKey, "TELNYX_TIMEOUT=20s"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestConfigUnknownVariables(t *testing.T) {
	for variable, want := range map[string]string{
		"TOKENSVC_LISTEM=:80":                            "TOKENSVC_LISTEM: unknown variable; did you mean TOKENSVC_LISTEN?",
		"TOKENSVC_TELNYX_API_KEY=KEY":                    "TOKENSVC_TELNYX_API_KEY: unknown variable; did you mean TELNYX_API_KEY?",
		"TOKENSVC_LIMITS_INFLIGHT=1":                     "TOKENSVC_LIMITS_INFLIGHT: unknown variable; did you mean TOKENSVC_LIMITS_IN_FLIGHT?",
		"TOKENSVC_OIDC_AUDIENCES=a":                      "TOKENSVC_OIDC_AUDIENCES: unknown variable; did you mean TOKENSVC_OIDC_AUDIENCE?",
		"TOKENSVC_FAVOURITE_COLOUR=blue":                 "TOKENSVC_FAVOURITE_COLOUR: unknown variable",
		"TOKENSVC_" + strings.Repeat("A", 99) + "=1":     "TOKENSVC_…: unknown variable",
		"TOKENSVC_listen=:80":                            "TOKENSVC_…: unknown variable; did you mean TOKENSVC_LISTEN?",
		"TOKENSVC_PORT=8080":                             "TOKENSVC_PORT: unknown variable",
		"TOKENSVC_LISTEN_PORT=8080":                      "TOKENSVC_LISTEN_PORT: unknown variable",
		"TOKENSVC_EMPTY=":                                "",
		"TELNYX_PUBLIC_KEY=x":                            "",
		"TELNYX_CONNECTION_ID=1":                         "",
		"TELNYX_API_URL=https://api.telnyx.com":          "",
		"TELNYX_PHONE_NUMBER=+15550100":                  "",
		"TELNYX_LOG=debug":                               "",
		"TELNYX_BASEURL=https://api.telnyx.com/v2":       "TELNYX_BASEURL: unknown variable; did you mean TELNYX_BASE_URL?",
		"TELNYX_API_KEYFILE=/run/key":                    "TELNYX_API_KEYFILE: unknown variable; did you mean TELNYX_API_KEY_FILE?",
		"TELNYX_TIME_OUT=5s":                             "TELNYX_TIME_OUT: unknown variable; did you mean TELNYX_TIMEOUT?",
		"TELNYX_Timeout=5s":                              "TELNYX_…: unknown variable; did you mean TELNYX_TIMEOUT?",
		"TOKENSVCX=1":                                    "",
		"PATH=/bin":                                      "",
		"TOKENSVC_SERVICE_HOST=10.96.7.7":                "",
		"TOKENSVC_SERVICE_PORT=8080":                     "",
		"TOKENSVC_SERVICE_PORT_HTTP=8080":                "",
		"TOKENSVC_SERVICE_PORT_HTTP_ALT=8080":            "",
		"TOKENSVC_PORT=tcp://10.96.7.7:8080":             "",
		"TOKENSVC_PORT_8080_TCP=tcp://10.96.7.7:8080":    "",
		"TOKENSVC_PORT_8080_TCP_ADDR=10.96.7.7":          "",
		"TOKENSVC_PORT_8080_TCP_PORT=8080":               "",
		"TOKENSVC_PORT_8080_TCP_PROTO=tcp":               "",
		"TOKENSVC_PORT_53_UDP=udp://[fd00::7]:53":        "",
		"TOKENSVC_OPS_SERVICE_HOST=10.96.7.8":            "",
		"TOKENSVC_OPS_SERVICE_PORT_METRICS=9090":         "",
		"TOKENSVC_OPS_PORT=tcp://10.96.7.8:9090":         "",
		"TOKENSVC_OPS_PORT_9090_TCP_ADDR=10.96.7.8":      "",
		"TOKENSVC_BLUE_2_SERVICE_HOST=10.96.7.9":         "",
		"TOKENSVC_BLUE_2_PORT_8080_TCP=tcp://10.0.0.1:1": "",
	} {
		var wanted []string
		if want != "" {
			wanted = []string{want}
		}
		if diff := cmp.Diff(wanted, problemLines(t, "", withEnviron(variable))); diff != "" {
			t.Errorf("%s: %s", variable, diff)
		}
	}
}

// A setting whose variable looked like one of Kubernetes's would be set by
// whoever names a Service.
func TestConfigOurVariablesAreNotKubernetes(t *testing.T) {
	for _, s := range settings(&Config{}, &IssuerConfig{}) {
		for _, text := range []string{"8080", "tcp://10.96.7.7:8080"} {
			if isServiceVariable(s.variable, text) {
				t.Errorf("%s could be a Service's variable", s.variable)
			}
		}
	}
}

func TestConfigDefaultsAreAccepted(t *testing.T) {
	for _, s := range settings(&Config{}, &IssuerConfig{}) {
		if flaws := s.applyDefault(); len(flaws) > 0 {
			t.Errorf("%s: its default %s", s.name(), flaws[0].text)
		}
		if (s.byDefault == "") == (s.unset == "") {
			t.Errorf("%s must say either its default or what holds without a value", s.name())
		}
	}
}

// Several API keys, each in a file, in their order.
func TestConfigAPIKeys(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"a", "b"} {
		writeKey(t, filepath.Join(folder, name), testKey+name+"\n")
	}
	writeKey(t, filepath.Join(folder, "broken"), "two words")
	path := filepath.Join(folder, "tokensvc.yaml")
	load := func(keys string, environ ...string) (Config, []string) {
		t.Helper()
		writeKey(t, path, enoughYAML+"telnyx: {"+keys+"}\n")
		c, problems := Load(path, environ)
		var lines []string
		for _, p := range problems {
			lines = append(lines, strings.TrimPrefix(p.String(), folder+"/"))
		}
		return c, lines
	}
	for keys, want := range map[string]string{"api_keys: [b, a]": "b a", "api_keys: a": "a", "api_key_file: b": "b"} {
		c, problems := load(keys)
		var got []string
		for _, k := range c.Telnyx.APIKeys {
			got = append(got, strings.TrimPrefix(k.Reveal(), testKey))
		}
		if strings.Join(got, " ") != want || len(problems) > 0 {
			t.Errorf("%s: %v, %v, want %s", keys, got, problems, want)
		}
	}
	const amount = "tokensvc.yaml:5: telnyx.api_keys: must be a list of 1 to 8 paths of files, no two the same"
	for keys, want := range map[string]string{
		"api_keys: []":                          amount,
		"api_keys: [a, b, a]":                   amount,
		"api_keys: [a, ./a]":                    amount,
		"api_keys: [a, b, c, d, e, f, g, h, i]": amount,
		"api_keys: [a, none]":                   "tokensvc.yaml:5: telnyx.api_keys: there is no such file; this is about element 2",
		"api_keys: [broken, b]":                 "tokensvc.yaml:5: telnyx.api_keys: the API key must be printable ASCII without white space; this is about element 1",
		"api_key_file: a, api_keys: [b]":        "tokensvc.yaml:5: telnyx.api_key_file: cannot be used together with telnyx.api_keys in the file: use one or the other",
	} {
		if _, problems := load(keys); !slices.Equal(problems, []string{want}) {
			t.Errorf("%s: %q, want %q", keys, problems, want)
		}
	}
	if _, problems := load("api_key_file: a", "TELNYX_API_KEY_FILES="+filepath.Join(folder, "b")); len(problems) != 1 || !strings.HasSuffix(problems[0], "together with TELNYX_API_KEY_FILES: use one or the other") {
		t.Errorf("from both: %q", problems)
	}
	if c, problems := load("api_keys: [none]", "TELNYX_API_KEY_FILES="+filepath.Join(folder, "b")); len(problems) > 0 || len(c.Telnyx.APIKeys) != 1 {
		t.Errorf("a variable over the file: %q", problems)
	}
}
