package manual_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 2 * time.Minute                 // for all of a session
	mark     = "--- the step is over, status " // on standard output
	errMark  = "--- the step is over"          // on standard error
)

// A session is a shell in a clean folder, with servers of this machine for those
// that the pages name.
type session struct {
	folder string            // where the shell is
	temp   string            // its TMPDIR
	env    map[string]string // besides PATH, HOME and TMPDIR
	here   []string          // pairs: what a page says, and what it is here
}

func newSession(t *testing.T) *session {
	t.Helper()
	return &session{folder: t.TempDir(), temp: t.TempDir(), env: map[string]string{}}
}

// is says what stands here for something that the pages name.
func (s *session) is(said, here string) { s.here = append(s.here, said, here) }

// address gives an address that is free to one that the pages name.
func (s *session) address(t *testing.T, said string) string {
	t.Helper()
	here := freeAddress(t)
	s.is(said, here)
	return here
}

// Ports below those that a system gives to whoever wants any: what is free now is
// not taken by another test, or by a connection, until the shell has come to it.
const (
	firstPort = 15000
	ports     = 15000
)

// port is the last one that was given away.
var port atomic.Int64

func freeAddress(t *testing.T) string {
	t.Helper()
	port.CompareAndSwap(0, rand.Int64N(ports)) // not where another run of the tests begins
	for range ports {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", firstPort+port.Add(1)%ports))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// write writes a file into the folder.
func (s *session) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(s.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// play does the steps in one shell, from which they may start another, and wants
// what each shows.
func (s *session) play(t *testing.T, steps []*step) {
	t.Helper()
	out, errs := s.run(t, s.script(steps))
	for i, one := range steps {
		if i >= len(out) {
			t.Fatalf("line %d: the shell did not come to it", one.line)
		}
		appeared, status, _ := strings.Cut(out[i], mark)
		appeared = s.asSaid(strings.TrimSpace(appeared))
		complained := s.asSaid(strings.TrimSpace(strings.TrimSuffix(errs[min(i, len(errs)-1)], errMark)))
		if status != fmt.Sprint(one.status) || complained != "" {
			t.Errorf("line %d: %s\nended with status %s, want %d\n%s\n%s", one.line, one.command, status, one.status, appeared, complained)
		}
		if one.shows != "" && !shown(one.shows, appeared) {
			t.Errorf("line %d: %s\nshows\n%s\nand not\n%s", one.line, one.command, appeared, one.shows)
		}
	}
	if t.Failed() {
		s.tell(t)
	}
}

// script is what is pasted. At its end what still runs is asked to end.
func (s *session) script(steps []*step) string {
	var b strings.Builder
	here := strings.NewReplacer(s.here...)
	for i, one := range steps {
		command := strings.TrimSuffix(here.Replace(one.command), "\n")
		switch {
		case one.until != "":
			// Told to end, it waits for what it runs, which is told too.
			fmt.Fprintf(&b, "{ trap : TERM\n%s\n} > \"$TMPDIR/step-%d.log\" 2>&1 &\nuntil_answers '%s'", command, i, here.Replace(one.until))
		case one.console:
			fmt.Fprintf(&b, "{ %s\n} 2>&1", command)
		default:
			b.WriteString(command)
		}
		fmt.Fprintf(&b, "\n{ status=$?; printf '\\n%s%%d\\n' $status; printf '\\n%s\\n' >&2; }\n", mark, errMark)
	}
	return `until_answers() { for i in {1..300}; do curl -sf -o /dev/null "$1" && return; sleep 0.1; done; return 1; }
` + b.String() + `
trap '' TERM; kill -TERM 0; wait
`
}

// run runs a script, and returns what appeared in each step, with the status at its
// end, and on standard error.
func (s *session) run(t *testing.T, script string) (out, errs []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	standIns, err := filepath.Abs(filepath.Join("testdata", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Stdin, cmd.Dir = strings.NewReader(script), s.folder
	cmd.Env = []string{"PATH=" + standIns + ":" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "HOME=" + s.folder, "TMPDIR=" + s.temp}
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		cmd.Env = append(cmd.Env, name+"="+s.env[name])
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it started, too
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("the shell: %v", err)
	}
	return cut(stdout.String(), regexp.MustCompile(mark+`[0-9]+\n`)), cut(stderr.String(), regexp.MustCompile(errMark+`\n`))
}

// cut cuts a text behind each of the marks, without the end of its line.
func cut(text string, after *regexp.Regexp) (parts []string) {
	from := 0
	for _, found := range after.FindAllStringIndex(text, -1) {
		parts, from = append(parts, text[from:found[1]-1]), found[1]
	}
	return append(parts, text[from:])
}

// asSaid puts the pages' names into what appeared.
func (s *session) asSaid(text string) string {
	var back []string
	for i := 0; i < len(s.here); i += 2 {
		back = append(back, s.here[i+1], s.here[i])
	}
	return strings.ReplaceAll(strings.NewReplacer(back...).Replace(text), "\r\n", "\n")
}

// tell logs what the steps that go on have written, and what the pages have them
// write.
func (s *session) tell(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{s.temp + "/step-*.log", s.temp + "/*/dev.txt", s.temp + "/*/serve.txt"} {
		found, _ := filepath.Glob(pattern) // the pattern is in order
		for _, path := range found {
			text, _ := os.ReadFile(path)
			t.Logf("%s:\n%.4000s", filepath.Base(path), text)
		}
	}
}

var moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// shown reports whether what appeared is what a page shows: … is whatever is
// another each time, and alone in a line any lines. One moment is as good as
// another.
func shown(text, appeared string) bool {
	const a = "2026-01-02T15:04:05Z"
	text, appeared = strings.TrimSpace(moment.ReplaceAllString(text, a)), strings.TrimSpace(moment.ReplaceAllString(appeared, a))
	var pattern strings.Builder
	for _, line := range lines(text) {
		if line == "…" {
			pattern.WriteString(`(?:[^\n]*\n)*?`)
			continue
		}
		var parts []string
		for _, part := range strings.Split(line, "…") {
			parts = append(parts, regexp.QuoteMeta(part))
		}
		pattern.WriteString(strings.Join(parts, `[^\n]*`) + `\n`)
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(appeared + "\n")
}
