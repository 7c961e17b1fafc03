package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const manual = "../../docs/configuration.md"

func readManual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(manual))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// manualRow is the setting's row in the manual's table.
func manualRow(s setting) string {
	code := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return "`" + s + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |",
		code(s.key, "–"), code(s.variable, "–"), s.help, code(s.byDefault, s.unset), s.field.expects)
}

// The manual's table is the settings' table: every row, none else, in order.
func TestConfigManualHasEverySetting(t *testing.T) {
	var want []string
	for _, s := range settings(&Config{}, &IssuerConfig{}) {
		want = append(want, manualRow(s))
	}
	_, table, _ := strings.Cut(readManual(t), "| key | variable |")
	_, table, _ = strings.Cut(table, "|---|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if table != strings.Join(want, "\n") {
		t.Errorf("the table in %s should be\n%s", manual, strings.Join(want, "\n"))
	}
}

// The manual's examples work as they stand, but for the key file's path.
func TestConfigManualExamples(t *testing.T) {
	examples := regexp.MustCompile("(?s)```(yaml|sh)\n# tokensvc\\.(?:yaml|env)\n(.*?)```").FindAllStringSubmatch(readManual(t), -1)
	if len(examples) != 2 {
		t.Fatalf("%d complete examples, want 2", len(examples))
	}
	keyFile := filepath.Join(t.TempDir(), "key")
	writeKey(t, keyFile, testKey)
	for _, example := range examples {
		text := strings.ReplaceAll(example[2], "/run/secrets/telnyx", keyFile)
		if example[1] == "yaml" {
			path := configFile(t, text)
			writeKey(t, filepath.Join(filepath.Dir(path), "users.yaml"), "users: {}\n")
			if c := mustLoad(t, path); len(c.Issuers) != 2 {
				t.Errorf("%d issuers, want 2", len(c.Issuers))
			}
			continue
		}
		script := filepath.Join(t.TempDir(), "tokensvc.env")
		writeKey(t, script, text)
		sourced := exec.CommandContext(t.Context(), "sh", "-c", `set -a; . "$0"; env`, script)
		sourced.Env = []string{"PATH=" + os.Getenv("PATH")}
		environ, err := sourced.Output()
		if err != nil {
			t.Fatal(err)
		}
		if c := mustLoad(t, "", strings.Split(string(environ), "\n")...); len(c.Issuers[0].Require) != 1 {
			t.Errorf("the rules are %v, want one", c.Issuers[0].Require)
		}
	}
}

// Two settings of one name would overwrite one another.
func TestConfigNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range settings(&Config{}, &IssuerConfig{}) {
		for _, name := range []string{s.key, s.variable} {
			if name != "" && seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}
}
