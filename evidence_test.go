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
	linkToFile = regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)

	codeBlock   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading     = regexp.MustCompile(`(?m)^#+ (.*)$`)
	marked      = regexp.MustCompile(`id="([^"]+)"`)
	notInAnchor = regexp.MustCompile(`[^\pL\pN_ -]`)
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

// Every link of every page leads to a file, and to a heading or a mark in it.
func TestLinksLeadSomewhere(t *testing.T) {
	pages := filesNamed(t, ".md")
	if len(pages) < 30 {
		t.Fatalf("there are %d pages, so few that they were not found as meant", len(pages))
	}
	for _, path := range pages {
		for _, link := range linkToFile.FindAllStringSubmatch(codeBlock.ReplaceAllString(text(t, path), ""), -1) {
			to := path
			if link[1] != "" {
				to = filepath.Join(filepath.Dir(path), filepath.FromSlash(link[1]))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which there is not", path, link[1])
			} else if link[2] != "" && filepath.Ext(to) == ".md" && !anchorsOf(t, to)[link[2]] {
				t.Errorf("%s links to %s#%s, where there is no such heading", path, link[1], link[2])
			}
		}
	}
}

// anchorsOf returns what a link can name within a page: headings as they are
// rendered, and marks.
func anchorsOf(t *testing.T, path string) map[string]bool {
	t.Helper()
	page := codeBlock.ReplaceAllString(text(t, path), "")
	names := map[string]bool{}
	for _, mark := range marked.FindAllStringSubmatch(page, -1) {
		names[mark[1]] = true
	}
	for _, title := range heading.FindAllStringSubmatch(page, -1) {
		name := notInAnchor.ReplaceAllString(strings.ToLower(linkToFile.ReplaceAllString(title[1], "")), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

// A newcomer finds each package in the table of CONTRIBUTING.md.
func TestContributingNamesEveryPackage(t *testing.T) {
	guide := text(t, "CONTRIBUTING.md")
	folders, err := filepath.Glob("internal/*")
	if err != nil || len(folders) < 10 {
		t.Fatalf("%d packages, %v", len(folders), err)
	}
	for _, folder := range folders {
		if !strings.Contains(guide, "`"+filepath.ToSlash(folder)+"`") {
			t.Errorf("CONTRIBUTING.md does not name %s", folder)
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
	for _, path := range filesNamed(t, "_test.go") {
		for _, name := range testFunc.FindAllStringSubmatch(text(t, path), -1) {
			names[name[1]] = true
		}
	}
	return names
}

// filesNamed returns the paths of all files of the repository whose name ends so.
func filesNamed(t *testing.T, end string) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "node_modules":
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, end):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
