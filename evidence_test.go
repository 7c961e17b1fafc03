package tokensvc_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	testNamed  = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\w+)[/`]")
	tableRow   = regexp.MustCompile(`(?m)^\|(.+)\|$`)
	tableRule  = regexp.MustCompile(`^[ :|-]+$`)
	linkToFile = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
)

// evidence is what says of the service that it is safe, and where the proof is.
var evidence = []string{"docs/threat-model.md", "docs/asvs.md"}

// Each claim names the tests that hold it, which there are, or says why there is
// none.
func TestEvidenceNamesItsTests(t *testing.T) {
	known := testsOf(t)
	for _, path := range evidence {
		named := 0
		for _, row := range rowsOf(t, path) {
			cells := strings.Split(row, "|")
			last := strings.TrimSpace(cells[len(cells)-1])
			tests := testNamed.FindAllStringSubmatch(last, -1)
			named += len(tests)
			if len(tests) == 0 && len(strings.Fields(last)) < 3 {
				t.Errorf("%s: neither a test nor a reason: %s", path, row)
			}
		}
		if named < 20 {
			t.Errorf("%s: %d tests are named, so few that it was not read as meant", path, named)
		}
	}
	for _, path := range append(evidence, "SECURITY.md", "docs/operations.md", "CONTRIBUTING.md") {
		for _, name := range testNamed.FindAllStringSubmatch(text(t, path), -1) {
			if !known[name[1]] {
				t.Errorf("%s names %s, which there is not", path, name[1])
			}
		}
	}
}

func TestEvidenceLinksToWhatIsThere(t *testing.T) {
	for _, path := range append(evidence, "SECURITY.md", "docs/operations.md", "CONTRIBUTING.md") {
		for _, link := range linkToFile.FindAllStringSubmatch(text(t, path), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(link[1]))); err != nil {
				t.Errorf("%s links to %s, which there is not", path, link[1])
			}
		}
	}
}

// rowsOf returns the rows of all tables, without their heads and edges.
func rowsOf(t *testing.T, path string) []string {
	t.Helper()
	var rows []string
	for _, row := range tableRow.FindAllStringSubmatch(text(t, path), -1) {
		if tableRule.MatchString(row[1]) {
			rows = rows[:len(rows)-1] // the one before was a head
			continue
		}
		rows = append(rows, row[1])
	}
	return rows
}

// testsOf returns the names of all tests.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "node_modules":
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		for _, name := range testFunc.FindAllStringSubmatch(text(t, path), -1) {
			names[name[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
