// Package reliability_test breaks what the built binary needs, and the binary
// itself, under load, mends it again, and counts what callers saw. Each fault is
// a row that says who may see what, and how soon all must be as before.
//
// As a part of all tests each fault lasts a moment. `make reliability` has each
// last for half a minute with the service's own time-outs, and writes what it
// measured into docs/reliability.md.
package reliability_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// How it is run. The defaults are those of `make test`.
var (
	faultLasts = flag.Duration("fault", 2500*time.Millisecond, "how long each fault lasts; from 10 s on with the service's own time-outs")
	document   = flag.String("document", "", "`file` whose table is to be written")
	soakLasts  = flag.Duration("soak", 4*time.Second, "how long the soak lasts")
	soakCSV    = flag.String("soak-csv", "", "`file` to write the soak's samples to")
)

// binary is tokensvc as it is shipped, movable the same with a clock that can be
// moved and a name server of ours. Both are built once by TestMain.
var binary, movable string

// measured is what the rows found, for the document.
var measured results

// atOnce is how many rows run at once. They wait most of the time, so it is more
// than there are processors; but too many, and the rows break each other.
func atOnce() int {
	if thorough() {
		return 12
	}
	return 24
}

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", fmt.Sprint(atOnce()))
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "tokensvc-reliability-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, movable = filepath.Join(dir, "tokensvc"), filepath.Join(dir, "movable")
	if err := buildBoth(dir); err != nil {
		return 0, err
	}
	if code = m.Run(); code != 0 || *document == "" {
		return code, nil
	}
	return code, measured.writeInto(*document)
}

func buildBoth(dir string) error {
	overlay, err := writeOverlay(dir)
	if err != nil {
		return err
	}
	var building sync.WaitGroup
	var plainErr, movableErr error
	building.Go(func() { plainErr = build("-o", binary) })
	building.Go(func() { movableErr = build("-overlay", overlay, "-o", movable) })
	building.Wait()
	return errors.Join(plainErr, movableErr)
}

// build builds with the flags of `make build`, because that is what is shipped.
func build(flags ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=reliability"}, flags...)
	cmd := exec.CommandContext(context.Background(), "go", append(args, "../../cmd/tokensvc")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", flags, err, out)
	}
	return nil
}

// writeOverlay writes what `go build -overlay` takes: which files of the program
// are to be read from elsewhere.
func writeOverlay(dir string) (path string, err error) {
	replace := map[string]string{}
	for _, name := range []string{"clock.go", "names.go"} {
		of, err1 := filepath.Abs(filepath.Join("..", "..", "cmd", "tokensvc", name))
		by, err2 := filepath.Abs(filepath.Join("testdata", name))
		if err := errors.Join(err1, err2); err != nil {
			return "", err
		}
		replace[of] = by
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

// thorough reports whether faults last long enough for the service's own
// time-outs to show. Otherwise these are shortened.
func thorough() bool { return *faultLasts >= 10*time.Second }

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
