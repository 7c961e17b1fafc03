// Package image_test builds the image as the Dockerfile says, with buildah and
// without a registry, and runs it as it is meant to be run: as a number, with a
// root that cannot be written and no capability. It also holds what else starts
// the service without a cluster, the composition and the systemd unit, to the
// program.
package image_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

const (
	root     = "../.." // the repository, seen from here
	version  = "v1.2.3-test"
	revision = "0123456789abcdef0123456789abcdef01234567"

	buildLimit = 10 * time.Minute // on a cold and busy machine
)

// shipped is what the tests are about, made once for all of them.
var shipped struct {
	binary string // as `make build` makes it
	image  image
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if lacks := missing("buildah", "runc"); lacks != "" && os.Getenv("NO_SKIP") == "" {
		fmt.Fprintln(os.Stderr, "not tested:", lacks)
		return 0
	}
	dir, err := os.MkdirTemp("", "image-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if shipped.binary, err = process.Build(dir); err == nil {
		shipped.image, err = buildImage(dir, root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// missing says what keeps this machine from building and running images.
func missing(programs ...string) string {
	if os.Geteuid() != 0 {
		return "images are built and run as root here"
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	return ""
}

// buildImage builds the Dockerfile of the sources in a folder. What it keeps is in
// dir.
func buildImage(dir, sources string) (image, error) {
	b := builder{dir: dir}
	if err := b.makeGoImage(filepath.Join(sources, "Dockerfile")); err != nil {
		return image{}, err
	}
	goroot, err1 := tell("", "go", "env", "GOROOT")
	modules, err2 := tell("", "go", "env", "GOMODCACHE")
	compiled, err3 := tell("", "go", "env", "GOCACHE")
	// What the build would fetch is fetched here, if it is not there yet: in the
	// build there is no proxy to fetch from.
	_, err4 := tell(root, "go", "mod", "download")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return image{}, err
	}
	// The builder has this machine's shell, its Go, and what Go has kept: copied,
	// they would be a gigabyte.
	args := []string{"bud", "--isolation", "chroot", "--format", "docker", "--pull-never", "--timestamp", "0"}
	for inside, outside := range map[string]string{
		"/usr/bin:ro": "/usr/bin", "/usr/lib:ro": "/usr/lib", "/usr/lib64:ro": "/usr/lib64",
		"/usr/local/go:ro": goroot, "/go/pkg/mod": modules, "/cache": compiled,
	} {
		args = append(args, "--volume", outside+":"+inside)
	}
	args = append(args, "--build-arg", "VERSION="+version, "--build-arg", "REVISION="+revision, "--tag", "tokensvc", sources)
	if _, err := b.buildah(args...); err != nil {
		return image{}, err
	}
	folder := filepath.Join(dir, "image")
	if _, err := b.buildah("push", "--format", "v2s2", "tokensvc", "dir:"+folder); err != nil {
		return image{}, err
	}
	return openImage(folder, filepath.Join(dir, "rootfs"))
}

// A builder is a buildah whose images are in a folder of its own. The driver is the
// one that works everywhere, and leaves nothing mounted.
type builder struct{ dir string }

func (b builder) buildah(args ...string) (string, error) {
	where := []string{"--storage-driver", "vfs", "--root", filepath.Join(b.dir, "storage"), "--runroot", filepath.Join(b.dir, "running")}
	return tell("", "buildah", append(where, args...)...)
}

var fromGo = regexp.MustCompile(`(?m)^FROM --platform=\$BUILDPLATFORM (golang:\S+) AS build$`)

// makeGoImage makes an image under the name of the one that the Dockerfile builds
// in: the places for what buildImage mounts, and the certificates.
func (b builder) makeGoImage(dockerfile string) error {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return err
	}
	name := fromGo.FindSubmatch(text)
	if name == nil {
		return errors.New("the Dockerfile does not say which Go it builds with")
	}
	dir := filepath.Join(b.dir, "go-image")
	err = errors.Join(
		os.MkdirAll(filepath.Join(dir, "rootfs/usr"), 0o755), //nolint:gosec // as in any image
		os.MkdirAll(filepath.Join(dir, "rootfs/etc/ssl/certs"), 0o755),
		os.MkdirAll(filepath.Join(dir, "rootfs/tmp"), 0o755),
		os.Symlink("usr/bin", filepath.Join(dir, "rootfs/bin")),
		os.Symlink("usr/lib", filepath.Join(dir, "rootfs/lib")),
		os.Symlink("usr/lib64", filepath.Join(dir, "rootfs/lib64")),
		os.WriteFile(filepath.Join(dir, "rootfs/etc/ssl/certs/ca-certificates.crt"), []byte(authorities), 0o644), //nolint:gosec // as in any image
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(goImage), 0o600),
	)
	if err != nil {
		return err
	}
	_, err = b.buildah("bud", "--isolation", "chroot", "--tag", "docker.io/library/"+string(name[1]), dir)
	return err
}

const (
	authorities = "# the authorities of the image that it was built in\n"

	goImage = `FROM scratch
COPY rootfs /
ENV PATH=/usr/local/go/bin:/usr/bin GOPATH=/go GOCACHE=/cache GOTOOLCHAIN=local GOPROXY=off
`
)

// tell runs a program and returns what it prints.
func tell(dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // ours
	var out, complaint strings.Builder
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(out.String()+complaint.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// tail is as much of a tool's output as somebody wants to read.
func tail(text string) string {
	const most = 4000 // bytes
	return text[max(0, len(text)-most):]
}

// writeFile writes a file of the test's.
func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
