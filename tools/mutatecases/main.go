// Command mutatecases turns round the conditions of switches, one after the other, and runs
// the package's tests on each: a condition that no test minds has survived. It does what
// gremlins leaves out, which goes by the coverage of statements, and to which a case is
// none. It changes no file.
//
//	go run ./tools/mutatecases [-skip regexp] ./internal/authz
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// patience is how long tests may take: a change may have them wait for ever.
const patience = 4 * time.Minute

func main() {
	skip := flag.String("skip", "^$", "files that are left out: a regular `expression`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survived, err := run(ctx, flag.Args(), *skip)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutatecases:", err)
		os.Exit(2)
	}
	if survived > 0 {
		os.Exit(1)
	}
}

// run tries the mutants of these packages, each a folder.
func run(ctx context.Context, packages []string, skip string) (survived int, err error) {
	skipped, err := regexp.Compile(skip)
	if err != nil {
		return 0, err
	}
	noticed := 0
	for _, folder := range packages {
		if status, output := test(ctx, folder); status != 0 {
			return survived, fmt.Errorf("the tests of %s fail as it is:\n%s", folder, output)
		}
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			return survived, err
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || skipped.MatchString(filepath.Base(file)) {
				continue
			}
			all, err := mutants(file, nil)
			if err != nil {
				return survived, err
			}
			for _, m := range all {
				lives, err := m.lives(ctx, folder)
				switch {
				case err != nil:
					return survived, err
				case lives:
					survived++
					fmt.Fprintf(os.Stdout, "SURVIVED %v\n", m)
				default:
					noticed++
					fmt.Fprintf(os.Stdout, "noticed %v\n", m)
				}
			}
		}
	}
	fmt.Fprintf(os.Stdout, "%d noticed, %d survived\n", noticed, survived)
	return survived, nil
}

// lives reports whether the tests pass with the change.
func (m mutant) lives(ctx context.Context, folder string) (bool, error) {
	temporary, err := os.MkdirTemp("", "mutatecases-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(temporary) }()
	original, err := filepath.Abs(m.file)
	if err != nil {
		return false, err
	}
	changed, overlay := filepath.Join(temporary, "changed.go"), filepath.Join(temporary, "overlay.json")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return false, err
	}
	if err := errors.Join(os.WriteFile(changed, m.source, 0o600), os.WriteFile(overlay, replaced, 0o600)); err != nil {
		return false, err
	}
	status, output := test(ctx, folder, "-overlay", overlay)
	if bytes.Contains(output, []byte("[build failed]")) {
		return false, fmt.Errorf("%v does not compile:\n%s", m, output)
	}
	return status == 0, ctx.Err()
}

// test runs the tests of a package, and returns their status.
func test(ctx context.Context, folder string, more ...string) (status int, output []byte) {
	args := append([]string{"test", "-count=1", "-failfast", "-timeout", patience.String()}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+filepath.ToSlash(filepath.Clean(folder)))...) //nolint:gosec // who runs it names it
	output, err := cmd.CombinedOutput()
	if err != nil {
		return 1, output
	}
	return 0, output
}
