package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const canary = "KEY0CANARY9secret"

// Secrets end up in the wrong places. Whatever else is said of such a
// configuration, it must not be the secret: start-up messages go to logs that
// many can read.
func TestConfigProblemsNeverShowASecret(t *testing.T) {
	valid := []string{"TELNYX_API_KEY=" + testKey}
	folder := t.TempDir()
	keyFile := filepath.Join(folder, "key")
	writeKey(t, keyFile, canary+" "+canary)

	tests := []struct {
		name, file string
		environ    []string
	}{
		{"the key where its path should be", enoughYAML + "telnyx: {api_key_file: " + canary + "}", nil},
		{"the key where its path should be, in a variable", enoughYAML, []string{"TELNYX_API_KEY_FILE=" + canary}},
		{"the key in the file", enoughYAML + "telnyx: {api_key: " + canary + "}", valid},
		{"the key as a key", enoughYAML + "telnyx: {" + canary + "}", valid},
		{"the key beside its key", enoughYAML + "telnyx:\n  api_key_file\n  " + canary + "\n", valid},
		{"the key alone", canary, valid},
		{"the key in a file of lines", "TELNYX_API_KEY=" + canary + "\n", valid},
		{"a malformed key file", enoughYAML, []string{"TELNYX_API_KEY_FILE=" + keyFile}},
		{"a malformed key", enoughYAML, []string{"TELNYX_API_KEY=Bearer " + canary}},
		{"a password in the cache", enoughYAML + "cache: redis://:" + canary + "@cache:6379", valid},
		{"a password in the directory", enoughYAML, append(valid, "TOKENSVC_DIRECTORY=postgres://tokensvc:"+canary+"@db/tokensvc")},
		{"a password in a URL", enoughYAML + "telnyx: {base_url: 'https://a:" + canary + "@example.com/%zz'}", valid},
		{"a password in the issuer", "issuers: [{issuer: 'http://a:" + canary + "@example.com', audience: x}]\ndirectory: claim:a\n", valid},
		{"an alias", enoughYAML + "cache: *" + canary, valid},
		{"an anchor", enoughYAML + "cache: &" + canary + " memory", valid},
		{"a tag", enoughYAML + "cache: !" + canary + " memory", valid},
		{"a directive", "%" + canary + " 1\n---\n" + enoughYAML, valid},
		{"an unparsable line", enoughYAML + "cache: memory\n " + canary + ": [", valid},
		{"a quote without end", enoughYAML + "cache: \"" + canary + "\\q", valid},
		{"rules that are none", enoughYAML, append(valid, "TOKENSVC_OIDC_REQUIRE={"+canary+": [")},
		{"a claim's name", "issuers: [{issuer: https://a.b, audience: x, require: {" + canary + ": [], " + canary + ": x}}]\ndirectory: claim:a\n", valid},
		{"an operator's name", "issuers: [{issuer: https://a.b, audience: x, require: {a: {" + canary + ": x, any_of: " + canary + ", max_age: " + canary + "}}}]\ndirectory: claim:a\n", valid},
		{"a variable's name", enoughYAML, append(valid, "TOKENSVC_"+canary+"=1")},
		{"a variable without value", enoughYAML, append(valid, "TOKENSVC_"+canary)},
	}
	for _, s := range settings(&Config{}, &IssuerConfig{}) {
		tests = append(tests, struct {
			name, file string
			environ    []string
		}{s.variable, "", withEnviron(s.variable + "=" + canary + "\n" + canary)})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := ""
			if test.file != "" {
				path = configFile(t, test.file)
			}
			_, problems := Load(path, test.environ)
			if len(problems) == 0 && test.name != "a variable without value" {
				t.Error("no problem at all")
			}
			if text := fmt.Sprintf("%+v %#v", problems, problems); strings.Contains(text, canary) {
				t.Errorf("the secret is in %s", text)
			}
		})
	}
}

// A loaded configuration may be printed by mistake, and shows no key.
func TestConfigDoesNotPrintTheKey(t *testing.T) {
	c := mustLoad(t, "", enough...)
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, testKey) {
		t.Error("the key is in the printed configuration")
	}
}

func TestConfigReadAPIKey(t *testing.T) {
	tests := []struct{ name, content, want, refusal string }{
		{"a key", testKey, testKey, ""},
		{"a line", testKey + "\n", testKey, ""},
		{"white space around", "\r\n\t " + testKey + " \r\n", testKey, ""},
		{"the longest", strings.Repeat("k", 512), strings.Repeat("k", 512), ""},
		{"empty", "", "", "the API key is empty"},
		{"blank", " \n", "", "the API key is empty"},
		{"too long", strings.Repeat("k", 513), "", "the API key must be at most 512 bytes"},
		{"far too long", strings.Repeat("k", 1<<20), "", "the file is too large for an API key"},
		{"two lines", canary + "\n" + canary, "", "the API key must be printable ASCII without white space"},
		{"a control character", canary + "\x7f", "", "the API key must be printable ASCII without white space"},
		{"not ASCII", "\ufeff" + canary, "", "the API key must be printable ASCII without white space"},
		{"not UTF-8", canary + "\xff", "", "the API key must be printable ASCII without white space"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			writeKey(t, path, test.content)
			key, err := readAPIKey(path)
			if key.Reveal() != test.want || err == nil != (test.refusal == "") || err != nil && err.Error() != test.refusal {
				t.Errorf("got %d bytes and %v, want %d and %q", len(key.Reveal()), err, len(test.want), test.refusal)
			}
		})
	}
}

func TestConfigReadAPIKeyWithoutFile(t *testing.T) {
	folder := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(folder, canary):    "there is no such file",
		folder:                           "the file cannot be read",
		strings.Repeat(canary, 1000):     "the file cannot be read",
		filepath.Join(folder, "\x00key"): "the file cannot be read",
	} {
		if _, err := readAPIKey(path); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzLoadYAML(f *testing.F) {
	wrong, err := os.ReadFile(filepath.Join("testdata", "config", "wrong.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(wrong))
	f.Add(enoughYAML)
	f.Add(enoughYAML + "telnyx: {api_key: MARK}\ncache: redis://:MARK@cache\nMARK: *MARK\n")
	f.Add("issuers: [{require: {MARK: {MARK: MARK, any_of: [MARK, &MARK x], glob: MARK, at_least: MARK, max_age: 1h}}, mode: MARK}]")
	f.Add("a: &MARK [*MARK]\n? {MARK: MARK}\n: !MARK MARK\n--- MARK\n%MARK")
	f.Add("issuers: [{name: MARK, require: {MARK: [MARK, 1]}}, MARK]\n<<: MARK\n\"MARK\": 'MARK")
	path := filepath.Join(f.TempDir(), "tokensvc.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		text, marked := mark(text)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		checkMarked(t, path, []string{"TELNYX_API_KEY=" + testKey}, marked)
	})
}

func FuzzEnviron(f *testing.F) {
	for _, s := range settings(&Config{}, &IssuerConfig{}) {
		f.Add(s.variable, "MARK")
		f.Add(s.variable, s.byDefault)
	}
	f.Add("TOKENSVC_MARK", "MARK")
	f.Add("TOKENSVC_OIDC_REQUIRE", "{MARK: [MARK, *MARK], MARK: &MARK x}")
	f.Add("TOKENSVC_PORT_8080_TCP", "MARK")
	f.Add("TOKENSVC_CORS_ORIGINS", "https://MARK,http://MARK")
	f.Fuzz(func(t *testing.T, name, text string) {
		text, marked := mark(text)
		checkMarked(t, "", withEnviron(name+"="+text), marked)
	})
}

// mark puts a canary wherever the fuzzer left the word MARK.
func mark(text string) (string, bool) {
	return strings.ReplaceAll(text, "MARK", canary), strings.Contains(text, "MARK")
}

// checkMarked holds Load to its promises: it says something or has everything,
// in order and without what was marked.
func checkMarked(t *testing.T, path string, environ []string, marked bool) {
	t.Helper()
	c, problems := Load(path, environ)
	for _, p := range problems {
		if p.Where == "" || p.Text == "" || strings.ContainsAny(p.String(), "\n\r") {
			t.Errorf("not one line: %q", p)
		}
		if marked && strings.Contains(strings.TrimPrefix(p.String(), path), canary) {
			t.Errorf("marked content in %q", p)
		}
	}
	if len(problems) > 0 {
		return
	}
	if len(c.Telnyx.APIKeys) == 0 || c.Telnyx.APIKeys[0].Empty() || len(c.Issuers) == 0 || c.Directory.Kind == "" || c.Limits.DrainTimeout < c.Limits.RequestTimeout {
		t.Errorf("accepted, and not complete: %+v", c)
	}
}

// What is said of a key's file that cannot be used, and nothing else: neither
// what is in it nor where it is.
var keyFileProblems = []string{
	"the file is too large for an API key",
	"the API key is empty",
	"the API key must be at most 512 bytes",
	"the API key must be printable ASCII without white space",
}

func FuzzAPIKeyFile(f *testing.F) {
	f.Add([]byte(testKey + "\r\n"))
	f.Add([]byte("\ufeff" + testKey))
	f.Add([]byte("TELNYX_API_KEY=" + testKey + "\n" + testKey))
	f.Add([]byte(" \t\u00a0\n"))
	f.Add([]byte(strings.Repeat("K", maxAPIKey) + strings.Repeat("\n", maxSecretFile-maxAPIKey)))
	f.Add([]byte(strings.Repeat("K", maxAPIKey+1)))
	f.Add([]byte(testKey + strings.Repeat(" ", maxSecretFile)))
	path := filepath.Join(f.TempDir(), "telnyx.key")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := readAPIKey(path)
		if err != nil {
			if !slices.Contains(keyFileProblems, err.Error()) || !key.Empty() {
				t.Fatalf("%q gives a key, %v, and %v", content, !key.Empty(), err)
			}
			return
		}
		text := key.Reveal()
		if text == "" || len(text) > maxAPIKey || len(content) > maxSecretFile || text != strings.TrimSpace(string(content)) {
			t.Fatalf("%q is read as %q", content, text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q would be sent to Telnyx", text)
		}
	})
}
