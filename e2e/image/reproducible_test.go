package image_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Compiling all of it anew takes minutes. Without that, what is compared is how
// paths, times and the version get in, and the linker's work.
var cold = flag.Bool("cold", false, "compile everything anew in the second folder")

// Whoever builds a release again gets what was released: the same sources give the
// same bytes, whatever folder they lie in, whoever's it is, and whenever that is.
func TestTheSameSourcesGiveTheSameBytes(t *testing.T) {
	here, there := t.TempDir(), filepath.Join(t.TempDir(), "another folder")
	copySources(t, here, time.Now())
	copySources(t, there, time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC))
	if *cold {
		t.Setenv("GOCACHE", t.TempDir())
	}
	if first, second := makeBuild(t, here), makeBuild(t, there); first != second {
		t.Errorf("one folder gives %s, the other %s", first, second)
	}

	again, err := buildImage(t.TempDir(), there)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shipped.image.config, again.config); diff != "" {
		t.Errorf("the images of two folders differ:\n%s", diff)
	}
}

// makeBuild runs `make build` in a folder, and returns the hash of what it made.
func makeBuild(t *testing.T, folder string) string {
	t.Helper()
	if _, err := tell(folder, "make", "build", "VERSION="+version); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(filepath.Join(folder, "bin/tokensvc"))
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(binary)
	return hex.EncodeToString(hash[:])
}

// copySources copies what .dockerignore lets into the image's build, and what it is
// built by. All of it was last changed at that time.
func copySources(t *testing.T, to string, changed time.Time) {
	t.Helper()
	list, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	patterns := []string{"Makefile", "Dockerfile", ".dockerignore"}
	for line := range strings.Lines(string(list)) {
		if pattern, ok := strings.CutPrefix(strings.TrimSpace(line), "!/"); ok {
			patterns = append(patterns, pattern)
		}
	}
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s stands for no file: %v", pattern, err)
		}
		for _, path := range found {
			copyTree(t, to, path)
		}
	}
	err = filepath.WalkDir(to, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, changed, changed))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyTree copies a file, or a folder with all that is in it.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		return errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700), copyFile(filepath.Join(to, name), path))
	})
	if err != nil {
		t.Fatal(err)
	}
}

var (
	inDockerfile = regexp.MustCompile(`(?s)(CGO_ENABLED=0 .*? ./cmd/tokensvc)\n`)
	defaults     = regexp.MustCompile(`-X main\.default\w+=\S+`)
)

// What people run from the image is what they run from `make build`, but for where
// it listens and keeps its files unless it is told.
func TestTheImageIsBuiltAsMakeBuilds(t *testing.T) {
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	line := inDockerfile.FindSubmatch(dockerfile)
	if line == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	image := bytes.ReplaceAll(line[1], []byte("\\\n"), nil)
	if got := len(defaults.FindAll(image, -1)); got != 3 {
		t.Errorf("the image has %d defaults of its own, want 3", got)
	}
	image = defaults.ReplaceAll(image, nil)
	image = regexp.MustCompile(`GO(OS|ARCH)=\$TARGET(OS|ARCH) `).ReplaceAll(image, nil)
	image = bytes.ReplaceAll(image, []byte("$VERSION"), []byte(version))
	image = bytes.ReplaceAll(image, []byte("/out/tokensvc"), []byte("bin/tokensvc"))
	made, err := tell(root, "make", "--silent", "--dry-run", "build", "VERSION="+version)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(words(made), words(string(image))); diff != "" {
		t.Errorf("the image is built otherwise (-make +Dockerfile):\n%s", diff)
	}
}

// words are those of a command, whatever quotes are around some.
func words(command string) []string {
	return strings.Fields(strings.NewReplacer(`"`, "", `'`, "").Replace(command))
}
