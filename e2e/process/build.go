// Package process builds tokensvc as it is shipped and runs it for a test: on free
// ports of the loopback, with nothing in its environment but what the test gave,
// and gone with the test.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	module   = "github.com/tokensvc/tokensvc"
	program  = "cmd/tokensvc" // in the module
	fileName = "tokensvc"
)

// Build builds tokensvc into the folder with the flags of `make build`, because
// that is what is shipped: no race detector, no cgo, stripped. Further flags come
// after these, so that they win. It is called from within the module.
func Build(dir string, flags ...string) (path string, err error) {
	path = filepath.Join(dir, fileName)
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=test"}, flags...)
	cmd := exec.CommandContext(context.Background(), "go", append(args, "-o", path, module+"/"+program)...) //nolint:gosec // ours
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")                                                         //nolint:forbidigo // of tests, and only they use this
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("process: go build %v: %w\n%s", flags, err, out)
	}
	return path, nil
}

// Overlay returns the flag for Build by which files of the program are read from
// elsewhere: each in the place of the program's file of the same name, or beside
// its files if there is none.
func Overlay(dir string, files ...string) (flag string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, file := range files {
		by, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		replace[filepath.Join(root, program, filepath.Base(file))] = by
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return "-overlay=" + path, os.WriteFile(path, text, 0o600)
}

// moduleRoot is the folder that the module lies in.
func moduleRoot() (string, error) {
	out, err := exec.CommandContext(context.Background(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("process: looking for the module: %w", err)
	}
	root := string(bytes.TrimSpace(out))
	if root == "" {
		return "", errors.New("process: not within the module")
	}
	return root, nil
}
