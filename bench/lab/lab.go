// Package lab starts what the benchmarks measure, each in a process of its own on
// loopback, and reads what it costs. Everything is built from the sources first.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const module = "github.com/tokensvc/tokensvc"

// A Lab holds what was built and started, until it is closed.
type Lab struct {
	root    string // of the sources
	folder  string
	running []*Process
}

// New returns an empty lab. The working directory is anywhere in the sources.
func New(ctx context.Context) (*Lab, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("lab: go env: %w", err)
	}
	folder, err := os.MkdirTemp("", "tokensvc-bench-")
	if err != nil {
		return nil, err
	}
	return &Lab{root: filepath.Dir(strings.TrimSpace(string(out))), folder: folder}, nil
}

// Close ends what runs, the last first, and removes what was written.
func (l *Lab) Close() error {
	var problems []error
	for _, p := range slices.Backward(l.running) {
		problems = append(problems, p.Stop())
	}
	return errors.Join(append(problems, os.RemoveAll(l.folder))...)
}

// Path is that of a file of the lab's.
func (l *Lab) Path(name string) string { return filepath.Join(l.folder, name) }

// Write writes a file of the lab's, and returns its path.
func (l *Lab) Write(name string, content []byte) (string, error) {
	return l.Path(name), os.WriteFile(l.Path(name), content, 0o600)
}

// Tokensvc builds the service as it is shipped, and returns the path of the binary.
func (l *Lab) Tokensvc(ctx context.Context) (string, error) {
	return l.build(ctx, l.root, "tokensvc", module+"/cmd/tokensvc")
}

// build builds a main package of the module in a folder.
func (l *Lab) build(ctx context.Context, folder, name, path string) (string, error) {
	binary := l.Path(name)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, path) //nolint:gosec // ours
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") //nolint:forbidigo // go's
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("lab: building %s: %w", path, err)
	}
	return binary, nil
}

// freeAddress is one that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Sleep waits, unless it is called off.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
