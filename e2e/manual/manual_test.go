// Package manual_test runs what README.md and docs have a reader run, and compares
// what appears with what they show. A page marks its blocks with comments that
// nobody sees who reads it rendered:
//
//	<!-- runs in NAME -->         the next block is pasted into a shell of that scene, or of
//	                              the last one if it is not named; a console block's lines
//	                              with a $ are, and the others are what appears
//	<!-- runs, until URL answers -->  it goes on in the background
//	<!-- runs, status 1 -->       it ends with that status
//	<!-- runs unseen: COMMAND --> the reader is thought to have done so
//	<!-- shows -->                the next block is what then appears
//	<!-- shows: TEXT -->          so does this, of which the page says nothing; a \n ends a line
//	<!-- file NAME -->            the next block is that file, or, with `more of NAME`, its end;
//	                              it too may say in which scene
//	<!-- not run: REASON -->      the next block is not
//
// In what appears, … is whatever is another each time within a line, and a line of
// its own any lines. The scenes are in scene_test.go: servers of this machine in the place
// of those that the pages name, and programs in testdata/bin in the place of those
// that no test can use.
package manual_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
)

const repository = "../.." // from here

// binary is the tokensvc under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	if name := os.Getenv(standInFor); name != "" {
		os.Exit(standIn(name, os.Args[1:]))
	}
	process.Main(8, func(dir string) (code int, err error) {
		if binary, err = process.Build(dir); err != nil {
			return 0, err
		}
		return m.Run(), nil
	})
}

// pages are README.md and all that is in docs, by their paths in the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, folder := range []string{".", "docs"} {
		err := filepath.WalkDir(filepath.Join(repository, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
				if folder == "." && d != nil && d.IsDir() && path != repository {
					return fs.SkipDir // only what lies at the top
				}
				return err
			}
			text, err := os.ReadFile(path)
			name, _ := filepath.Rel(repository, path)
			found[filepath.ToSlash(name)] = string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// What a page has one run does what it shows.
func TestWhatTheManualHasOneRun(t *testing.T) {
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			process.Skip(t, program+" is not installed: the manual is for a terminal that has it")
		}
	}
	for name, text := range pages(t) {
		p, err := parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for scene, steps := range p.scenes {
			t.Run(name+"/"+scene, func(t *testing.T) {
				t.Parallel()
				prepare := scenes[scene]
				if prepare == nil {
					t.Fatalf("line %d: there is no scene %q", steps[0].line, scene)
				}
				s := newSession(t)
				prepare(t, s)
				s.play(t, steps)
			})
		}
	}
}

// strict are the pages on which every command is run, or it is said why not.
var strict = []string{"README.md", "docs/deploy.md"}

func TestEveryCommandIsRunOrExcused(t *testing.T) {
	all := pages(t)
	for _, name := range strict {
		p, err := parse(all[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, line := range p.unmarked {
			t.Errorf("%s:%d: nothing says whether this is run", name, line)
		}
		if len(p.scenes) == 0 {
			t.Errorf("%s has nothing run", name)
		}
	}
}

var (
	makeUse    = regexp.MustCompile("(?m)(?:^ +|`|\\$ )make ([a-z-]+)")
	makeTarget = regexp.MustCompile(`(?m)^([a-z-]+):`)
)

// Whatever make is told to do on some page, it can.
func TestEveryTargetThatThePagesNameIsThere(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, found := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, found[1])
	}
	used := 0
	for name, text := range pages(t) {
		for _, found := range makeUse.FindAllStringSubmatch(text, -1) {
			used++
			if !slices.Contains(targets, found[1]) {
				t.Errorf("%s: there is no make %s", name, found[1])
			}
		}
	}
	if used == 0 {
		t.Error("no page has make do anything")
	}
}

// A marker that is spelt wrong would have a block pass unread.
func TestMarkersThatAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		"<!-- runs in dev -->\ntext\n":                                          "line 1: no block follows",
		"<!-- runs in dev -->\n":                                                "line 1: no block follows",
		"<!-- runs in dev, untill x answers -->\n\n    ls\n":                    `line 1: "untill x answers" is not known`,
		"<!-- runs -->\n\n    ls\n":                                             "line 1: it is not said in which scene",
		"<!-- run in dev -->\n\n    ls\n":                                       `line 1: "run in dev" is not known`,
		"<!-- shows -->\n\n    ls\n":                                            "line 1: it shows what came of nothing",
		"<!-- runs in dev -->\n```sh\nls\n":                                     "line 1: the block has no end",
		"<!-- runs in dev -->\n```console\nls\n```\n":                           "line 1: a console without a $",
		"<!-- runs in dev -->\n```sh\nls\n```\n<!-- shows: -->\n<!-- shows -->": `line 5: "shows:" is not known`,
	} {
		if _, err := parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// What appears must be what is shown, all of it.
func TestWhatAppearsIsCompared(t *testing.T) {
	for _, row := range []struct {
		shows, appeared string
		same            bool
	}{
		{"one\ntwo", "one\ntwo\n", true},
		{"one", "one\ntwo", false},
		{"o…e", "ooze", true},
		{"o…e", "one\ntwo\nthree", false},
		{"one\n…\nthree", "one\n2\n2.5\nthree", true},
		{"one\n…", "one\ntwo", true},
		{"…\ntwo", "two", true},
		{"…\ntwo", "one two", false},
		{"1.5", "125", false},
		{"at 2026-01-02T15:04:05Z", "at 2031-12-24T18:00:00Z", true},
	} {
		if got := shown(row.shows, row.appeared); got != row.same {
			t.Errorf("%q shows %q: %v, want %v", row.appeared, row.shows, got, row.same)
		}
	}
}

// lines cuts a text, without the ends of its lines.
func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
