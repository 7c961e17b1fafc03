package authz_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

// noDiscovery is an issuer that publishes nothing at its own address.
const noDiscovery = "https://login.example.com"

// keySetOf is the JWK set of the keys.
func keySetOf(t *testing.T, keys ...oidctest.Key) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: string(k.Algorithm), Use: "sig"})
	}
	return string(must(json.Marshal(set))(t))
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeysAtAnAddressOfTheirOwn(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{
		{Name: "main", URL: noDiscovery, Audiences: []string{audience}, Keys: issuer.URL() + "/keys"},
	}})
	bearer := func(subject string) string {
		return issuer.Bearer(subject, map[string]any{"iss": noDiscovery})
	}
	if got := outcome(v, bearer("alice")); got != "main:alice" {
		t.Errorf("alice: %s", got)
	}
	issuer.Rotate()
	if got := outcome(v, bearer("bob")); got != "main:bob" {
		t.Errorf("bob, with a new key: %s", got)
	}
	if got := outcome(v, issuer.Bearer("carol", nil)); got != "issuer" {
		t.Errorf("carol, whose issuer is where the keys are: %s", got)
	}
}

func TestKeysInAFile(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	path := filepath.Join(t.TempDir(), "keys.json")
	writeFile(t, path, keySetOf(t, issuer.Key()))
	fetched := 0
	v, err := authz.New(authz.Config{
		Issuers: []authz.Issuer{{Name: "main", URL: issuer.URL(), Audiences: []string{audience}, Keys: "file:" + path}},
		OnFetch: func(string, error) { fetched++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !v.Ready() || len(v.Missing()) > 0 {
		t.Errorf("not ready at once: %v is missing", v.Missing())
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	v.Run(stopped)

	if got := outcome(v, issuer.Bearer("alice", nil)); got != "main:alice" {
		t.Errorf("alice: %s", got)
	}
	for i := range 10 {
		unknown := oidctest.NewKey(fmt.Sprint("unknown-", i))
		if got := outcome(v, unknown.Sign(nil, issuer.Claims("alice", nil))); got != "key" {
			t.Errorf("an unknown key: %s", got)
		}
	}
	issuer.Rotate()
	writeFile(t, path, keySetOf(t, issuer.Key()))
	if got := outcome(v, issuer.Bearer("bob", nil)); got != "key" {
		t.Errorf("a new key that nobody said to read: %s", got)
	}
	if fetched > 0 || issuer.KeyFetches() > 0 {
		t.Errorf("%d fetches", fetched)
	}
}

func TestAFileOfKeysIsReadAgain(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	old := issuer.Key()
	path := filepath.Join(t.TempDir(), "keys.json")
	writeFile(t, path, keySetOf(t, old))
	v := newVerifier(t, authz.Config{Issuers: []authz.Issuer{
		{Name: "main", URL: issuer.URL(), Audiences: []string{audience}, Keys: "file:" + path},
	}})
	next := issuer.Rotate()
	both := keySetOf(t, old, next)
	subject := 0
	verifies := func(k oidctest.Key) bool {
		subject++ // so that no answer is a cached one
		return outcome(v, k.Sign(nil, issuer.Claims(fmt.Sprint("user-", subject), nil))) == fmt.Sprint("main:user-", subject)
	}
	for _, step := range []struct {
		name, text string
		changed    bool
		says       string // in the error
		old, next  bool   // which keys verify then
	}{
		{"the same", keySetOf(t, old), false, "", true, false},
		{"half of it", both[:len(both)/2], false, "not a JWK set", true, false},
		{"nothing", "", false, "not a JWK set", true, false},
		{"a set without keys", `{"keys":[]}`, false, "no usable signing key", true, false},
		{"far too much", both + strings.Repeat(" ", 1<<20), false, "larger than", true, false},
		{"all of it", both, true, "", true, true},
		{"all of it, again", both, false, "", true, true},
		{"the new one only", keySetOf(t, next), true, "", false, true},
	} {
		writeFile(t, path, step.text)
		changed, err := v.ReloadKeys("main")
		if changed != step.changed || (err == nil) != (step.says == "") || err != nil && !strings.Contains(err.Error(), step.says) {
			t.Errorf("%s: changed %v and %v, want %v and a word of %q", step.name, changed, err, step.changed, step.says)
		}
		if gotOld, gotNext := verifies(old), verifies(next); gotOld != step.old || gotNext != step.next {
			t.Errorf("%s: the old key verifies: %v, the new one: %v; want %v and %v", step.name, gotOld, gotNext, step.old, step.next)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := v.ReloadKeys("main"); err == nil || !verifies(next) {
		t.Errorf("the file is gone: %v, and the last keys must stay", err)
	}
	if _, err := v.ReloadKeys("other"); err == nil {
		t.Error("an issuer that is not there has its keys reloaded")
	}
}

func TestAnUnusableFileOfKeysIsRefusedAtConstruction(t *testing.T) {
	folder := t.TempDir()
	private := string(must(json.Marshal(jose.JSONWebKey{Key: []byte("secret-of-the-issuer"), KeyID: "a"}))(t))
	for name, text := range map[string]string{
		"empty":   "",
		"HTML":    "<html>",
		"no keys": `{"keys":[]}`,
		"HMAC":    `{"keys":[` + private + `]}`,
		"large":   strings.Repeat(" ", 2<<20),
	} {
		path := filepath.Join(folder, name)
		writeFile(t, path, text)
		if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{
			{Name: "main", URL: noDiscovery, Audiences: []string{audience}, Keys: "file:" + path},
		}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := authz.New(authz.Config{Issuers: []authz.Issuer{
		{Name: "main", URL: noDiscovery, Audiences: []string{audience}, Keys: "file:" + filepath.Join(folder, "none")},
	}}); err == nil {
		t.Error("a file that is not there is accepted")
	}
}
