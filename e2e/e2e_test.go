// Package e2e_test runs the built binary as its users do: one process,
// configured by environment variables, between a real OpenID provider and a
// fake Telnyx. What the other packages prove in parts is proved together here,
// so a test names nothing that a user could not see.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// binary is the tokensvc under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "tokensvc-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	binary = filepath.Join(dir, "tokensvc")
	// The flags of `make build`, because that is what is shipped: no race
	// detector, no cgo, stripped.
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version=e2e", "-o", binary, "../cmd/tokensvc")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return 0, fmt.Errorf("building cmd/tokensvc: %w", err)
	}
	return m.Run(), nil
}

// skip skips the test for want of something on this machine, or fails it when
// NO_SKIP is set, as `make test` does: a gate that skips guards nothing. The
// name has no TOKENSVC_ prefix, whose unknown variables the binary refuses.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("NO_SKIP") != "" {
		t.Fatalf("%s, and NO_SKIP is set", why)
	}
	t.Skip(why)
}

// eventually calls try, at once and then ten times a second, until it returns
// nil, and fails the test with its last error when that takes too long.
func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		case <-tick.C:
		}
	}
}
