package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/shared"
)

const testSealingKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// What belongs to a Redis, and what does not go with any other cache.
func TestConfigCachePolicy(t *testing.T) {
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		writeKey(t, path, content)
		return path
	}
	key, password := "TOKENSVC_CACHE_KEY_FILE="+file("key", testSealingKey+"\n"), "TOKENSVC_CACHE_PASSWORD_FILE="+file("password", "s3cret")
	const redis = "TOKENSVC_CACHE=redis://cache:6379"

	for _, row := range []struct {
		name    string
		environ []string
		want    []string
	}{
		{"a Redis with its key", []string{redis, key}, nil},
		{"and with a password in a file", []string{redis, key, password}, nil},
		{"or with one in the variable", []string{"TOKENSVC_CACHE=rediss://:s3cret@cache", key}, nil},
		{"and with shared limits", []string{redis, key, "TOKENSVC_LIMITS_SCOPE=shared"}, nil},
		{"a Redis with nothing to seal with", []string{redis}, []string{
			"TOKENSVC_CACHE_KEY_FILE: is required for a Redis, in which tokens are sealed; set cache_key_file in the file, or TOKENSVC_CACHE_KEY_FILE",
		}},
		{"two passwords", []string{"TOKENSVC_CACHE=redis://:s3cret@cache", key, password}, []string{
			"TOKENSVC_CACHE_PASSWORD_FILE: cannot be used together with a password in the URL: use one or the other",
		}},
		{"a key and no Redis", []string{key}, []string{"TOKENSVC_CACHE_KEY_FILE: has no use: the cache is no Redis"}},
		{"a password and no Redis", []string{"TOKENSVC_CACHE=none", password}, []string{"TOKENSVC_CACHE_PASSWORD_FILE: has no use: the cache is no Redis"}},
		{"shared limits and no Redis", []string{"TOKENSVC_LIMITS_SCOPE=shared"}, []string{"TOKENSVC_LIMITS_SCOPE: can be shared only in a Redis: see cache"}},
		{"an unreadable cache alone", []string{"TOKENSVC_CACHE=memcached", key}, []string{"TOKENSVC_CACHE: must be memory, none, redis://… or rediss://…"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, problemLines(t, "", withEnviron(row.environ...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfigSealingKeys(t *testing.T) {
	const form = "each of its lines must be 32 bytes in base64, as openssl rand -base64 32 makes them"
	for _, row := range []struct{ name, content, want string }{
		{"one key", testSealingKey, ""},
		{"the next and the last, with space around them", "\n" + testSealingKey + "\r\n  " + testSealingKey + "\n\n", ""},
		{"none", " \n", "there is no key in it: make one with openssl rand -base64 32"},
		{"one of 16 bytes", "AAECAwQFBgcICQoLDA0ODw==", form},
		{"one in hexadecimal", strings.Repeat("0f", 32), form},
		{"a sentence", testSealingKey + "\nthis is no key", form + "; key 2 is not"},
		{"nine", strings.Repeat(testSealingKey+"\n", 9), "there must be at most 8 keys in it"},
	} {
		path := filepath.Join(t.TempDir(), "keys")
		writeKey(t, path, row.content)
		text, err := readSealingKeys(path)
		if got := errorText(err); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		for i, key := range sealingKeys(text) {
			if len(key.Reveal()) != shared.KeyBytes {
				t.Errorf("%s: key %d has %d bytes", row.name, i, len(key.Reveal()))
			}
		}
		if n := len(sealingKeys(text)); err == nil && n == 0 {
			t.Errorf("%s: no key", row.name)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A password in the file ends up in version control.
func TestConfigNoCachePasswordInTheFile(t *testing.T) {
	path := configFile(t, enoughYAML+"cache: redis://:s3cret@cache\ncache_key_file: key\n")
	writeKey(t, filepath.Join(filepath.Dir(path), "key"), testSealingKey)
	_, problems := Load(path, []string{"TELNYX_API_KEY=" + testKey})
	if len(problems) != 1 || problems[0].Text != "must not hold the password: use cache_password_file, or the variable TOKENSVC_CACHE" {
		t.Error(problems)
	}
}
