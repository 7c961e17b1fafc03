package image_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const installed = "/usr/local/bin/tokensvc"

// systemd understands every line of the unit, and finds little that somebody who
// breaks into the service could do.
func TestTheUnitIsConfined(t *testing.T) {
	if lacks := missing("systemd-analyze"); lacks != "" {
		t.Skip(lacks)
	}
	text, err := os.ReadFile(filepath.Join(deploy, "tokensvc.service"))
	if err != nil {
		t.Fatal(err)
	}
	// The program is where the test has it.
	here := strings.ReplaceAll(string(text), installed, shipped.binary)
	if here == string(text) {
		t.Fatalf("the unit does not start %s", installed)
	}
	unit := filepath.Join(t.TempDir(), "tokensvc.service")
	writeFile(t, unit, here, 0o644)
	out, err := tell("", "sh", "-c", `systemd-analyze verify --man=no --recursive-errors=no "$1" 2>&1`, "-", unit)
	if err != nil || strings.Contains(out, "tokensvc.service") {
		t.Errorf("systemd says of the unit: %v\n%s", err, out)
	}
	const most = "15" // tenths of what systemd calls exposure: a unit that says nothing has 96, and version 252 finds 12 here
	if out, err := tell("", "systemd-analyze", "security", "--offline=yes", "--threshold="+most, unit); err != nil {
		t.Errorf("the unit lets the service do too much: %v\n%s", err, out)
	}
}

// Records go to the journal by default, which throws away what comes too fast: whoever
// asks often enough without a bearer would have those of others' tokens go with his own.
func TestTheJournalKeepsAllRecords(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "tokensvc.service"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(string(text), "\n"), "LogRateLimitIntervalSec=0") {
		t.Error("the journal may leave records out")
	}
}

// callsOfTheUnit are the calls that the unit's filter leaves: those of groups, less
// those of others. Of a group, systemd says what is in it.
func callsOfTheUnit(t *testing.T) []string {
	t.Helper()
	if lacks := missing("systemd-analyze"); lacks != "" {
		t.Skip(lacks)
	}
	text, err := os.ReadFile(filepath.Join(deploy, "tokensvc.service"))
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		groups, ok := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter=")
		if !ok {
			continue
		}
		groups, without := strings.CutPrefix(groups, "~")
		for _, group := range strings.Fields(groups) {
			for _, call := range callsOf(t, group) {
				left[call] = !without
			}
		}
	}
	maps.DeleteFunc(left, func(_ string, leave bool) bool { return !leave })
	if left["mount"] || !left["read"] {
		t.Fatal("the unit's filter does not filter")
	}
	return slices.Sorted(maps.Keys(left))
}

// callsOf are the calls of a group, and of the groups in it.
func callsOf(t *testing.T, group string) []string {
	t.Helper()
	if !strings.HasPrefix(group, "@") {
		return []string{group}
	}
	out, err := tell("", "systemd-analyze", "syscall-filter", group)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(out) {
		if word := strings.TrimSpace(line); word != "" && word != group && !strings.HasPrefix(word, "#") {
			all = append(all, callsOf(t, word)...)
		}
	}
	return all
}
