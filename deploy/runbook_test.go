package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/handler"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// anchor is where a heading is found in a page, by GitHub's rule.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-', r == '_', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		}
	}
	return b.String()
}

// part is the text of a section, with those below it.
func part(t *testing.T, text, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("there is no section %q", heading)
	}
	section, _, _ := strings.Cut(after, "\n## ")
	return section
}

var outcomeRow = regexp.MustCompile("(?m)^\\| <a id=\"([a-z_]+)\"></a>`([a-z_]+)` \\| (yes|no) \\| (.+?) \\| (.+?) \\|$")

type outcomeLine struct {
	name   string
	counts bool
}

// outcomeRows are those of the runbook's table.
func outcomeRows(t *testing.T) []outcomeLine {
	t.Helper()
	var rows []outcomeLine
	for _, m := range outcomeRow.FindAllStringSubmatch(part(t, readDoc(t, "runbook.md"), "The outcomes"), -1) {
		if m[1] != m[2] {
			t.Errorf("%s is found at %s", m[2], m[1])
		}
		rows = append(rows, outcomeLine{m[2], m[3] == "yes"})
	}
	return rows
}

func TestRunbookHasEveryOutcome(t *testing.T) {
	var got, want []string
	for _, r := range outcomeRows(t) {
		got = append(got, r.name)
	}
	for _, o := range handler.Outcomes() {
		want = append(want, string(o))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-), in docs/runbook.md (+):\n%s", diff)
	}
}

// Each alert has a section, which says what it means and what to do.
func TestRunbookHasEveryAlert(t *testing.T) {
	section := part(t, readDoc(t, "runbook.md"), "The alerts")
	var got []string
	for _, one := range strings.Split("\n"+section, "\n### ")[1:] {
		name, text, _ := strings.Cut(one, "\n")
		got = append(got, name)
		if !strings.Contains(text, "**Means.** ") || !strings.Contains(text, "**Do.** ") {
			t.Errorf("%s does not say what it means and what to do", name)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(alertNames(t), got); diff != "" {
		t.Errorf("alerts (-), in docs/runbook.md (+):\n%s", diff)
	}
}
