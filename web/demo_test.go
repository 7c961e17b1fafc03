package web_test

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/web"
)

// demoFiles are the softphone's files by name.
func demoFiles(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(web.Demo, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(web.Demo, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What a file of the page names is in the binary, and nothing else is.
func TestTheSoftphoneIsWhole(t *testing.T) {
	files := demoFiles(t)
	named := map[string]bool{"index.html": true}
	beside := regexp.MustCompile(`(?:from '\./|href="|src=")([a-z]+\.[a-z]+)['"]`)
	for name, text := range files {
		for _, found := range beside.FindAllStringSubmatch(text, -1) {
			if named[found[1]] = true; files[found[1]] == "" {
				t.Errorf("%s names %s, which is not there", name, found[1])
			}
		}
	}
	for name := range files {
		if !named[name] {
			t.Errorf("nothing names %s", name)
		}
	}
}

// The page is served under a policy without exceptions, and what it shows came from
// elsewhere: text stays text.
func TestTheSoftphoneFitsAStrictPolicy(t *testing.T) {
	unwanted := regexp.MustCompile(`(?i)<style|<script(?: type="module")?>|\sstyle="|\son[a-z]+="|innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage|console\.`)
	for name, text := range demoFiles(t) {
		if found := unwanted.FindString(text); found != "" {
			t.Errorf("%s has %q in it", name, found)
		}
	}
}

// A phone that stopped says why in words for its owner, whatever the service's
// outcome, unless only a mistake in the page itself could have caused it.
func TestTheSoftphoneHasWordsForEveryOutcome(t *testing.T) {
	notOfPhones := []string{
		"issued", "answered", "canceled", "bad_request", "not_found", "method_not_allowed", "too_large",
		"unsupported_media_type", "conflict", "precondition_failed",
	}
	words := demoFiles(t)["words.js"]
	for _, name := range outcomes(t) {
		if !slices.Contains(notOfPhones, name) && !strings.Contains(words, "\n  "+name+": ['") {
			t.Errorf("words.js has nothing to say about %s", name)
		}
	}
}
