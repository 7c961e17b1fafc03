// Package phone_test has a real browser, with Telnyx's real SDK and our module
// in a page, be a softphone between the built binary and a fake Telnyx, and sees
// whether it would ring: at once, after a night's sleep, and whatever breaks in
// between.
//
// The page's own clock can be moved, and with it the service's, the issuer's and
// Telnyx's. Every wait is for something to happen, and has an end.
package phone_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// shots is where to write pictures of the page for people to look at.
var shots = flag.String("shots", "", "`folder` for screenshots of the demo page; none by default")

// binary is tokensvc as it is shipped, but for a clock that can be moved. It is
// built once by TestMain.
var binary string

// atOnce is how many browsers run at once. They wait most of the time.
const atOnce = 3

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", fmt.Sprint(atOnce))
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "phone:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "tokensvc-phone-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary = filepath.Join(dir, "tokensvc")
	if err := build(dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// build builds with the flags of `make build`, because that is what is shipped,
// and the clock of the reliability tests in the place of the real one.
func build(dir string) error {
	of, err1 := filepath.Abs(filepath.Join("..", "..", "cmd", "tokensvc", "clock.go"))
	by, err2 := filepath.Abs(filepath.Join("..", "reliability", "testdata", "clock.go"))
	text, err3 := json.Marshal(map[string]any{"Replace": map[string]string{of: by}})
	overlay := filepath.Join(dir, "overlay.json")
	if err := errors.Join(err1, err2, err3, os.WriteFile(overlay, text, 0o600)); err != nil {
		return err
	}
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version=phone", "-overlay", overlay, "-o", binary, "../../cmd/tokensvc")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building cmd/tokensvc: %w\n%s", err, out)
	}
	return nil
}

// skip skips the test for want of something on this machine, or fails it when
// NO_SKIP is set, as `make test` does: a gate that skips guards nothing.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("NO_SKIP") != "" {
		t.Fatalf("%s, and NO_SKIP is set", why)
	}
	t.Skip(why)
}

// eventually calls try, at once and then twenty times a second, until it returns
// nil, and fails the test with its last error when that takes too long.
func eventually(t *testing.T, limit time.Duration, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
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
