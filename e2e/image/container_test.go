package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

const (
	user       = 65532 // the image's
	volume     = "/var/lib/tokensvc"
	askLimit   = 20 * time.Second
	startLimit = process.StartLimit
)

// A container runs the image with all the restrictions that a careful operator
// sets: the image's user, no capability, no way to gain one, a root that cannot be
// written, and the volume of the image, in which no program can be started.
type container struct {
	id, state string // runc's
	command   *exec.Cmd
	output    string // path of a file
	ended     chan error
}

// setup is how a container is started.
type setup struct {
	variables    map[string]string
	settings     string   // a folder, mounted as /etc/tokensvc, and given to the image's user
	shareNetwork bool     // with the machine; else it has one of its own, with nobody in it
	calls        []string // the system's calls that do not end it; empty is all
}

// start runs the image.
func start(t *testing.T, s setup) *container {
	t.Helper()
	bundle, data := t.TempDir(), t.TempDir()
	own(t, data)
	own(t, s.settings)
	spec, err := json.Marshal(s.spec(data))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(bundle, "config.json"), string(spec), 0o600)
	c := &container{
		id: fmt.Sprintf("tokensvc-test-%d-%d", os.Getpid(), time.Now().UnixNano()), state: t.TempDir(),
		output: filepath.Join(t.TempDir(), "output"), ended: make(chan error, 1),
	}
	c.run(t, bundle)
	t.Cleanup(func() { c.remove(t) })
	return c
}

// own gives a folder and what is in it to the image's user, as a volume is.
func own(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, user, user))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// spec is the image's configuration as a runtime takes it.
func (s setup) spec(data string) map[string]any {
	config := shipped.image.config.Config
	environ := slices.Clone(config.Env)
	for name, value := range s.variables {
		environ = append(environ, name+"="+value)
	}
	bind := func(inside, outside, mode string) map[string]any {
		return map[string]any{
			"destination": inside, "type": "bind", "source": outside,
			"options": []string{"bind", "nosuid", "nodev", "noexec", mode},
		}
	}
	number := map[string]any{"uid": 0, "gid": 0}
	if config.User == fmt.Sprintf("%d:%d", user, user) {
		number = map[string]any{"uid": user, "gid": user}
	}
	return map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"user": number, "args": slices.Concat(config.Entrypoint, config.Cmd), "env": environ,
			"cwd": "/" + strings.TrimPrefix(config.WorkingDir, "/"), "capabilities": map[string]any{}, "noNewPrivileges": true,
		},
		"root": map[string]any{"path": shipped.image.rootfs, "readonly": true},
		"mounts": []map[string]any{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			bind("/etc/tokensvc", s.settings, "ro"),
			bind(volume, data, "rw"),
		},
		"linux": s.linux(),
	}
}

// linux is what of the machine the container shares and sees.
func (s setup) linux() map[string]any {
	namespaces := []map[string]string{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}
	if !s.shareNetwork {
		namespaces = append(namespaces, map[string]string{"type": "network"})
	}
	linux := map[string]any{
		"namespaces":    namespaces,
		"maskedPaths":   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list"},
		"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	if len(s.calls) > 0 {
		linux["seccomp"] = map[string]any{
			"defaultAction": "SCMP_ACT_KILL_PROCESS",
			"syscalls":      []map[string]any{{"names": s.calls, "action": "SCMP_ACT_ALLOW"}},
		}
	}
	return linux
}

func (c *container) run(t *testing.T, bundle string) {
	t.Helper()
	// The test's context is done before its clean-up, and would kill.
	c.command = exec.CommandContext(context.WithoutCancel(t.Context()), "runc", "--root", c.state, "run", "--bundle", bundle, c.id) //nolint:gosec // ours
	file, err := os.Create(c.output)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c.command.Stdout, c.command.Stderr = file, file
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.command.Wait() }()
}

func (c *container) remove(t *testing.T) {
	if t.Failed() {
		t.Logf("the container wrote:\n%s", tail(c.says()))
	}
	_, _ = tell("", "runc", "--root", c.state, "delete", "--force", c.id) // gone already, if it was stopped
}

func (c *container) says() string {
	text, err := os.ReadFile(c.output)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// logged returns the first log line with that message, if there is one.
func (c *container) logged(message string) map[string]any {
	for line := range strings.Lines(c.says()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["message"] == message {
			return entry
		}
	}
	return nil
}

// exec runs a command in the container, as `docker exec` does.
func (c *container) exec(t *testing.T, args ...string) (output string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), askLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "runc", slices.Concat([]string{"--root", c.state, "exec", c.id}, args)...) //nolint:gosec // ours
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// health runs what the image says tells its health.
func (c *container) health(t *testing.T) error {
	t.Helper()
	test := shipped.image.config.Config.Healthcheck.Test
	if len(test) < 2 || test[0] != "CMD" {
		t.Fatalf("the image's health check is %q", test)
	}
	if out, status := c.exec(t, test[1:]...); status != 0 {
		return fmt.Errorf("status %d: %s", status, out)
	}
	return nil
}

func (c *container) awaitHealth(t *testing.T) {
	t.Helper()
	process.Eventually(t, startLimit, "the container healthy", func() error { return c.health(t) })
}

// pid is the service's number, seen from outside.
func (c *container) pid(t *testing.T) int {
	t.Helper()
	out, err := tell("", "runc", "--root", c.state, "state", c.id)
	var state struct{ Pid int }
	if err := errors.Join(err, json.Unmarshal([]byte(out), &state)); err != nil {
		t.Fatal(err)
	}
	return state.Pid
}

// stop stops it as Docker does.
func (c *container) stop(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(process.StopLimit):
		t.Errorf("it still runs %v after SIGTERM", process.StopLimit)
	}
}

// statusOf is what the kernel says of a process.
func statusOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for line := range bytes.Lines(content) {
		name, value, _ := strings.Cut(string(line), ":")
		said[name] = strings.Join(strings.Fields(value), " ")
	}
	return said
}
