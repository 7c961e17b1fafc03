// Package charttest holds the Helm chart to what Helm, Kubernetes and the service
// itself make of it. It is a module of its own, so that none of theirs is one of
// the service's dependencies.
package charttest_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

const chart = "../chart"

// TestMain keeps Helm's remarks on what it merges out of the tests' output.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	os.Exit(m.Run())
}

// TestLint is `helm lint --strict` with each of the values files.
func TestLint(t *testing.T) {
	for _, file := range valuesFiles(t) {
		linter := lint.RunAll(chart, valuesOf(t, file), "phones")
		for _, m := range linter.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", file, m.Error())
			}
		}
	}
}

// manifest is one rendered document.
type manifest struct {
	template string
	text     string
}

// render is `helm template phones` with a values file and, over it, more values.
func render(t *testing.T, file string, over ...string) ([]manifest, error) {
	t.Helper()
	return renderAs(t, "phones", file, over...)
}

func renderAs(t *testing.T, name, file string, over ...string) ([]manifest, error) {
	t.Helper()
	loaded, err := loader.LoadDir(chart)
	if err != nil {
		t.Fatal(err)
	}
	given := valuesOf(t, file)
	for _, text := range over {
		more, err := loader.LoadValues(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		given = loader.MergeMaps(given, more)
	}
	release := common.ReleaseOptions{Name: name, Namespace: "phones", Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(loaded, given, release, common.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	files, err := engine.Render(loaded, values)
	if err != nil {
		return nil, err
	}
	return documents(files), nil
}

func mustRender(t *testing.T, file string, over ...string) []manifest {
	t.Helper()
	all, err := render(t, file, over...)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return all
}

// documents parts files at their `---`, in the order of their names.
func documents(files map[string]string) []manifest {
	var all []manifest
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for part := range strings.SplitSeq(text, "\n---\n") {
			if strings.TrimSpace(part) != "" {
				all = append(all, manifest{template: filepath.Base(name), text: part + "\n"})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b manifest) int { return strings.Compare(a.template, b.template) })
	return all
}

// valuesFiles are the chart's examples, one for each way of running it, and that of its manual.
func valuesFiles(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil || len(found) < 4 {
		t.Fatalf("found %d values files: %v", len(found), err)
	}
	for i, path := range found {
		found[i] = "ci/" + filepath.Base(path)
	}
	return append(found, "README.md")
}

func valuesOf(t *testing.T, file string) map[string]any {
	t.Helper()
	text := string(read(t, filepath.Join(chart, file)))
	if file == "README.md" {
		_, text, _ = strings.Cut(text, "```yaml\n")
		text, _, _ = strings.Cut(text, "```")
	}
	values, err := loader.LoadValues(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return values
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
