package tokensvc_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is what matters of one to whom it may do harm.
type workflow struct {
	On          yaml.Node
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Timeout     int `yaml:"timeout-minutes"`
		Uses        string
		Steps       []struct {
			Uses string
			With map[string]any
		}
	}
}

// The workflows are in order, as far as that can be seen without running them.
func TestWorkflowsPassActionlint(t *testing.T) {
	// What shellcheck says depends on whether it is installed, and on its version.
	lint := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=tools/actionlint.mod", "actionlint", "-shellcheck=", "-pyflakes="}, workflows(t)...)...)
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("actionlint: %v\n%s", err, out)
	}
}

var (
	pinned    = regexp.MustCompile(`uses: +(\S+)@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	mayWrite  = map[string]bool{"binaries id-token": true, "binaries attestations": true, "image packages": true, "image id-token": true, "image attestations": true, "publish contents": true}
	unlimited = regexp.MustCompile(`pull_request_target|workflow_run|issue_comment`)
)

// What a workflow runs cannot change under it, and a job may do what it has to.
func TestWorkflowsMayDoLittle(t *testing.T) {
	for _, path := range workflows(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Unmarshal(text, &w); err != nil {
			t.Fatal(err)
		}
		if w.Permissions == nil || len(w.Permissions) > 0 {
			t.Errorf("%s: permissions %v for every job, want none", path, w.Permissions)
		}
		if unlimited.Match(text) {
			t.Errorf("%s: it runs with rights of ours on words of others", path)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimRight(line, "\n"); strings.Contains(line, "uses:") && !strings.Contains(line, "uses: ./") && !pinned.MatchString(line) {
				t.Errorf("%s: not pinned by a hash, with its version after it: %s", path, strings.TrimSpace(line))
			}
		}
		for name, job := range w.Jobs {
			if job.Timeout == 0 && job.Uses == "" {
				t.Errorf("%s: job %s may run for hours", path, name)
			}
			for what, right := range job.Permissions {
				if right != "read" && !mayWrite[name+" "+what] {
					t.Errorf("%s: job %s has %s: %s", path, name, what, right)
				}
			}
			for _, step := range job.Steps {
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
					t.Errorf("%s: job %s leaves its token in the checkout", path, name)
				}
			}
		}
	}
}

func workflows(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no workflows: %v", err)
	}
	return paths
}

// make vuln looks where it is told to, and fails for what it finds there.
func TestVulnLooksIntoItsDatabase(t *testing.T) {
	const report = "GO-0000-0001"
	entry := map[string]any{
		"schema_version": "1.3.1", "id": report, "modified": "2024-01-01T00:00:00Z", "published": "2024-01-01T00:00:00Z",
		"summary": "made up", "details": "made up",
		"affected": []any{map[string]any{
			"package":            map[string]string{"ecosystem": "Go", "name": "github.com/go-jose/go-jose/v4"},
			"ranges":             []any{map[string]any{"type": "SEMVER", "events": []any{map[string]string{"introduced": "0"}}}},
			"ecosystem_specific": map[string]any{"imports": []any{map[string]string{"path": "github.com/go-jose/go-jose/v4"}}},
		}},
		"database_specific": map[string]string{"url": "https://example.com/" + report},
	}
	module := map[string]any{"path": "github.com/go-jose/go-jose/v4", "vulns": []any{map[string]string{"id": report, "modified": "2024-01-01T00:00:00Z"}}}
	for _, row := range []struct {
		what    string
		modules []any
		found   bool
	}{
		{"nothing known", []any{}, false},
		{"a module of ours", []any{module}, true},
	} {
		db := t.TempDir()
		put(t, db, "index/db.json", map[string]string{"modified": "2024-01-01T00:00:00Z"})
		put(t, db, "index/modules.json", row.modules)
		put(t, db, "index/vulns.json", []any{})
		put(t, db, "ID/"+report+".json", entry)
		out, err := exec.CommandContext(t.Context(), "make", "--no-print-directory", "vuln", "GOVULNDB=file://"+db, "ARGS=-scan package ./internal/authz").CombinedOutput()
		if found := strings.Contains(string(out), report); found != row.found || (err != nil) != row.found {
			t.Errorf("%s: %v\n%s", row.what, err, out)
		}
	}
}

func put(t *testing.T, dir, name string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
