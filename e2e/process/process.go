package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a test may wait for.
const (
	StartLimit = 30 * time.Second // from exec to listening, and again to ready, on a busy machine
	StopLimit  = 20 * time.Second // from SIGTERM to the end
	askLimit   = 5 * time.Second
)

// Command says what to start.
type Command struct {
	Binary string            // what Build returned
	Env    map[string]string // the whole environment, but for two free ports to listen on
	Args   []string          // to serve
	Behind []string          // a command that ends in running another, such as nice; mostly none
}

// A Process is a running `tokensvc serve`. Its methods are for one goroutine, but
// for those that read what it wrote.
type Process struct {
	Listen, Ops string // where it listens, as http://HOST:PORT

	cmd            *exec.Cmd
	stdout, stderr string     // paths of files
	exited         chan error // how it ended; whoever takes it puts it back
	client         *http.Client
}

// Start runs the binary with this environment and these arguments to serve, and
// returns when it is ready. It ends with the test, unless it has before, and must
// do so with exit status 0.
func Start(t testing.TB, binary string, env map[string]string, args ...string) *Process {
	t.Helper()
	p := Command{Binary: binary, Env: env, Args: args}.Launch(t)
	p.AwaitReady(t)
	return p
}

// Launch is Start without waiting for more than listening.
func (c Command) Launch(t testing.TB) *Process {
	t.Helper()
	p := &Process{
		stdout: filepath.Join(t.TempDir(), "stdout"), stderr: filepath.Join(t.TempDir(), "stderr"), exited: make(chan error, 1),
		// A connection for each request, so that none is left for a test to count.
		client: &http.Client{Timeout: askLimit, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	p.start(t, c)
	t.Cleanup(func() { p.Stop(t) })
	Eventually(t, StartLimit, "tokensvc serve listening", func() error {
		if p.Gone() {
			t.Fatalf("tokensvc serve ended before it listened:\n%s", p.Output())
		}
		return p.findAddresses()
	})
	return p
}

func (p *Process) start(t testing.TB, c Command) {
	t.Helper()
	words := slices.Concat(c.Behind, []string{c.Binary, "serve"}, c.Args)
	// The test's context is done before its clean-up, and would kill.
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), words[0], words[1:]...) //nolint:gosec // ours
	p.cmd.Dir = t.TempDir()
	env := map[string]string{"TOKENSVC_LISTEN": "127.0.0.1:0", "TOKENSVC_OPS_LISTEN": "127.0.0.1:0"}
	maps.Copy(env, c.Env)
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	stdout, err1 := os.Create(p.stdout)
	stderr, err2 := os.Create(p.stderr)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
}

// findAddresses finds where it listens, in the log line that says so.
func (p *Process) findAddresses() error {
	for _, entry := range p.Logged("serving") {
		p.Listen, p.Ops = fmt.Sprint("http://", entry["listen"]), fmt.Sprint("http://", entry["ops_listen"])
		return nil
	}
	return errors.New("no log line says where it serves")
}

// AwaitReady waits until /readyz answers 200.
func (p *Process) AwaitReady(t testing.TB) {
	t.Helper()
	Eventually(t, StartLimit, "tokensvc serve ready", func() error {
		if p.Gone() {
			t.Fatalf("tokensvc serve ended before it was ready:\n%s", p.Output())
		}
		status, err := p.Ready(t.Context())
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz answers %d", status)
		}
		return err
	})
}

// Ready returns the status that /readyz answers.
func (p *Process) Ready(ctx context.Context) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Ops+"/readyz", http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// Pid is the number of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Gone reports whether it has ended.
func (p *Process) Gone() bool {
	select {
	case err := <-p.exited:
		p.exited <- err
		return true
	default:
		return false
	}
}

// Stop asks it to end, as a container runtime does, unless it has ended. What it
// wrote is shown if the test has failed.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if err := p.AwaitExit(t); err != nil {
		t.Errorf("tokensvc serve after SIGTERM: %v, want exit status 0", err)
	}
	if t.Failed() {
		t.Logf("tokensvc serve wrote:\n%s", p.Output())
	}
}

// Signal sends it a signal, unless it has ended.
func (p *Process) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("sending %v to tokensvc serve: %v", sig, err)
	}
}

// AwaitExit returns how it ended after a signal, nil for status 0.
func (p *Process) AwaitExit(t testing.TB) error {
	t.Helper()
	select {
	case err := <-p.exited:
		p.exited <- err
		return err
	case <-time.After(StopLimit):
		_ = p.cmd.Process.Kill()
		t.Errorf("tokensvc serve still ran %v after a signal to stop, and was killed", StopLimit)
		return nil
	}
}

// Kill ends it at once, with nothing written and nobody told. Stop is content with
// that.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	p.AwaitAnyExit(t)
}

// AwaitAnyExit waits for an end that need not be in order, such as after SIGQUIT.
// Stop is content with that.
func (p *Process) AwaitAnyExit(t testing.TB) {
	t.Helper()
	_ = p.AwaitExit(t) // in whatever way it ended
	<-p.exited         //nolint:errcheck // as above; it is there, or comes of the kill
	p.exited <- nil
}

// Output is all that it has written, to standard output and to standard error.
func (p *Process) Output() string { return p.Stdout() + p.Log() }

// Stdout is what it has written to standard output.
func (p *Process) Stdout() string { return read(p.stdout) }

// Log is what it has written to standard error.
func (p *Process) Log() string { return read(p.stderr) }

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Logged returns the log lines with that message.
func (p *Process) Logged(message string) []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(p.Log()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["message"] == message {
			all = append(all, entry)
		}
	}
	return all
}
