// Command gotest runs go test with the given arguments, prints what go test
// would print, and fails when a test was skipped, which go test calls a success
// and, without -v, does not even mention.
//
// A skip is meant for a laptop that lacks a program. Where the tests are a
// gate, it is a hole in it.
//
// The exit status is go test's own, or 1 for skipped tests, or when nothing was
// tested at all.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

func main() {
	// An interrupt goes to go test too, which ends because of it; we read on
	// until it has.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)

	status, err := run(os.Stdout, os.Stderr, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	os.Exit(status)
}

func run(out, errOut io.Writer, args []string) (status int, err error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...) //nolint:gosec,noctx // our own arguments; ends with the interrupt that we get
	cmd.Stderr = errOut
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	seen, readErr := report(out, stdout)
	err = cmd.Wait()
	if _, failed := errors.AsType[*exec.ExitError](err); failed && cmd.ProcessState.ExitCode() > 0 {
		return cmd.ProcessState.ExitCode(), nil // go test has said why
	}
	if err := errors.Join(err, readErr, seen.complaint()); err != nil {
		return 1, err
	}
	return 0, nil
}

// summary is what the stream said.
type summary struct {
	skipped []string // package and test
	passed  int      // packages with tests
}

func (s summary) complaint() error {
	switch {
	case len(s.skipped) > 0:
		return fmt.Errorf("skipped, and must not be:\n\t%s", strings.Join(s.skipped, "\n\t"))
	case s.passed == 0:
		return errors.New("no package has tests")
	}
	return nil
}

// event is a line of the stream that `go doc test2json` describes.
type event struct {
	Action  string
	Package string
	Test    string // empty: about the package
	Output  string
}

// line is a test's output, kept until it is known how the test ended.
type line struct{ test, text string }

// running is a package whose tests have not all ended.
type running struct {
	lines []line
	ended map[string]string // test to pass, fail or skip
}

// report reads the stream in and writes to out, package by package, what go
// test says without -v, besides the skipped tests and why they were.
func report(out io.Writer, in io.Reader) (summary, error) {
	var s summary
	packages := map[string]*running{}
	stream := bufio.NewReader(in)
	for {
		text, err := stream.ReadString('\n')
		if text != "" {
			s.read(out, packages, text)
		}
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return s, fmt.Errorf("reading go test's output: %w", err)
		}
	}
}

func (s *summary) read(out io.Writer, packages map[string]*running, text string) {
	var e event
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		fmt.Fprint(out, text) // go test itself, not a test
		return
	}
	if e.Action == "build-output" {
		fmt.Fprint(out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := packages[e.Package]
	if p == nil {
		p = &running{ended: map[string]string{}}
		packages[e.Package] = p
	}
	switch e.Action {
	case "output":
		p.lines = append(p.lines, line{e.Test, e.Output})
	case "pass", "fail", "skip":
		if e.Test != "" {
			p.ended[e.Test] = e.Action
		} else {
			s.end(out, e, p)
			delete(packages, e.Package)
		}
	}
	if e.Action == "skip" && e.Test != "" {
		s.skipped = append(s.skipped, e.Package+" "+e.Test)
	}
}

// end prints what is worth reading of a package whose last event is e.
func (s *summary) end(out io.Writer, e event, p *running) {
	if e.Action == "pass" {
		s.passed++
	}
	for _, l := range p.lines {
		if worthReading(l, p.ended[l.test], e.Action) {
			fmt.Fprint(out, l.text)
		}
	}
}

func worthReading(l line, test, pkg string) bool {
	for _, noise := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "} {
		if strings.HasPrefix(l.text, noise) {
			return false
		}
	}
	switch {
	case l.test != "": // an empty ending: it was running when the package failed
		return test == "skip" || pkg == "fail" && test != "pass"
	case pkg == "fail":
		return true
	default: // only its closing line
		return strings.HasPrefix(l.text, "ok  \t") || strings.HasPrefix(l.text, "?   \t")
	}
}
