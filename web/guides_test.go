package web_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	quoted       = regexp.MustCompile("`([a-z_]+)`")
	localWord    = regexp.MustCompile(`outcome: [^\n]*?'([a-z_]+)'`)
	link         = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading      = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fieldOfToken = regexp.MustCompile(`login_token|sipToken|token:|\(token`)
	notInSlug    = regexp.MustCompile("[^a-z0-9 _-]")
)

// notForPhones are outcomes that are no refusal of POST /v1/token.
var notForPhones = []string{"answered", "canceled", "conflict", "issued", "precondition_failed"}

// outcomes are all that the contract has.
func outcomes(t *testing.T) []string {
	t.Helper()
	var all []string
	contract := cut(t, read(t, "../openapi.yaml"), "    Outcome:\n", "    Readiness:\n")
	for _, match := range regexp.MustCompile(`(?m)^        - ([a-z_]+)$`).FindAllStringSubmatch(contract, -1) {
		all = append(all, match[1])
	}
	if len(all) < 20 {
		t.Fatalf("openapi.yaml has only the outcomes %v", all)
	}
	return all
}

// Whoever writes a softphone finds in the guide every outcome that it may meet:
// the service's and the module's own, and no others.
func TestGuideNamesEveryOutcome(t *testing.T) {
	want := map[string]bool{}
	for _, outcome := range outcomes(t) {
		if !slices.Contains(notForPhones, outcome) {
			want[outcome] = true
		}
	}
	for _, match := range localWord.FindAllStringSubmatch(read(t, "client/client.js"), -1) {
		want[match[1]] = true
	}

	named := map[string]bool{}
	for line := range strings.Lines(cut(t, read(t, "../docs/clients/README.md"), "## What each outcome means", "\n## ")) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, match := range quoted.FindAllStringSubmatch(cells[1], -1) {
				named[match[1]] = true
			}
		}
	}
	if len(want) < 20 || !maps.Equal(named, want) {
		t.Errorf("docs/clients/README.md names\n%v\nthere are\n%v", slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(want)))
	}
}

// Each guide shows which field of its SDK takes the token, by the name that the
// overview gives it.
func TestGuidesShowTheFieldOfTheToken(t *testing.T) {
	rows := 0
	for line := range strings.Lines(cut(t, read(t, "../docs/clients/README.md"), "# Softphones", "\n## ")) {
		cells := strings.Split(line, "|")
		page := link.FindStringSubmatch(line)
		if len(cells) < 5 || page == nil {
			continue
		}
		rows++
		call, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(cells[3]), "`"), "(")
		if field := fieldOfToken.FindString(cells[3]); !strings.Contains(read(t, "../docs/clients/"+page[1]), field) ||
			!strings.Contains(read(t, "../docs/clients/"+page[1]), call) {
			t.Errorf("%s does not show %s of %s", page[1], field, call)
		}
	}
	if rows < 5 {
		t.Errorf("only %d guides were found", rows)
	}
}

// What a guide refers to is there, down to the heading.
func TestGuidesLinkToWhatIsThere(t *testing.T) {
	pages, err := filepath.Glob(filepath.FromSlash("../docs/clients/*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("there are no guides: %v", err)
	}
	for _, page := range append(pages, filepath.FromSlash("../docs/troubleshooting.md")) {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.HasPrefix(target, "https://") {
				continue
			}
			file := page
			if target != "" {
				file = path.Join(path.Dir(filepath.ToSlash(page)), target)
			}
			if _, err := os.Stat(filepath.FromSlash(file)); err != nil {
				t.Errorf("%s: %s: %v", page, match[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s: %s: there is no such heading", page, match[1])
			}
		}
	}
}

// anchors are what GitHub calls the headings of a page.
func anchors(text string) []string {
	var names []string
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		name := notInSlug.ReplaceAllString(strings.ToLower(match[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// cut is the part of a text between two marks.
func cut(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, from)
	if !found {
		t.Fatalf("there is no %q", from)
	}
	part, _, _ := strings.Cut(rest, to)
	return part
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
