package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

const programPatience = 20 * time.Second // node starts slowly on a busy machine

// program is a running Node program of provider/: it reads a command a line, and
// writes a JSON object a line, each of which names an event.
type program struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  <-chan []byte
	stderr output
}

// startProgram runs a program until the test ends.
func startProgram(t *testing.T, name string, args ...string) *program {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		process.Skip(t, "node is not installed: "+name+" is a Node program")
	}
	if _, err := os.Stat(filepath.Join("provider", "node_modules")); err != nil {
		process.Skip(t, "e2e/provider/node_modules is missing: run `npm ci` in e2e/provider")
	}

	// The test's context is done before its clean-up, and would kill.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), node, append([]string{name}, args...)...)
	p := &program{name: name, cmd: cmd}
	cmd.Dir, cmd.Stderr = "provider", &p.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = readLines(stdout)
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("stderr of %s:\n%s", name, p.stderr.String())
		}
	})
	return p
}

// readLines closes the channel when the program is gone.
func readLines(stdout io.Reader) <-chan []byte {
	lines := make(chan []byte, 8)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, responseLimit)
		for scanner.Scan() {
			lines <- append([]byte{}, scanner.Bytes()...)
		}
	}()
	return lines
}

// tell sends the program a command.
func (p *program) tell(t *testing.T, words ...string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.stdin, strings.Join(words, " ")); err != nil {
		t.Fatalf("%s: %v:\n%s", p.name, err, p.stderr.String())
	}
}

// await takes the next line, which must be that event, and what it says.
func (p *program) await(t *testing.T, event string, into any) {
	t.Helper()
	p.awaitWithin(t, programPatience, event, into)
}

func (p *program) awaitWithin(t *testing.T, limit time.Duration, event string, into any) {
	t.Helper()
	select {
	case line, running := <-p.lines:
		if !running {
			t.Fatalf("%s ended instead of saying %q:\n%s", p.name, event, p.stderr.String())
		}
		var said struct{ Event string }
		if err := json.Unmarshal(line, &said); err != nil || said.Event != event {
			t.Fatalf("%s said %s, want %q", p.name, line, event)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(line, into); err != nil {
			t.Fatalf("%s said %s: %v", p.name, line, err)
		}
	case <-time.After(limit):
		t.Fatalf("%s did not say %q within %v:\n%s", p.name, event, limit, p.stderr.String())
	}
}

// stop ends the program. A port of its refuses connections from then on.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil { // stopped before
		return
	}
	_ = p.stdin.Close() // ends it
	kill := time.AfterFunc(programPatience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.lines { // Wait must not close the pipe before it is read
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s: %v", p.name, err)
	}
}
