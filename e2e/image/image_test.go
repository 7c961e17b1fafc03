package image_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// An image is one that was pushed into a folder, and unpacked.
type image struct {
	config   imageConfig
	files    map[string]*tar.Header
	packed   int64 // bytes of all layers as they are fetched
	unpacked int64 // bytes of all files
	rootfs   string
}

// imageConfig is what an image says of what is in it, and of how it is run.
type imageConfig struct {
	Created time.Time `json:"created"`
	RootFS  struct {
		DiffIDs []string `json:"diff_ids"` // the hashes of the layers
	} `json:"rootfs"`
	Config struct {
		User         string              `json:"User"`
		Env          []string            `json:"Env"`
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		WorkingDir   string              `json:"WorkingDir"`
		Volumes      map[string]struct{} `json:"Volumes"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Labels       map[string]string   `json:"Labels"`
		Healthcheck  struct {
			Test        []string      `json:"Test"`
			Interval    time.Duration `json:"Interval"`
			Timeout     time.Duration `json:"Timeout"`
			StartPeriod time.Duration `json:"StartPeriod"`
			Retries     int           `json:"Retries"`
		} `json:"Healthcheck"`
	} `json:"config"`
}

type blob struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// openImage reads an image in a folder and unpacks its layers.
func openImage(folder, rootfs string) (image, error) {
	var manifest struct {
		Config blob   `json:"config"`
		Layers []blob `json:"layers"`
	}
	i := image{files: map[string]*tar.Header{}, rootfs: rootfs}
	err := errors.Join(readJSON(filepath.Join(folder, "manifest.json"), &manifest), os.Mkdir(rootfs, 0o755)) //nolint:gosec // as in any image
	if err != nil {
		return image{}, err
	}
	if err := readJSON(blobFile(folder, manifest.Config), &i.config); err != nil {
		return image{}, err
	}
	for _, layer := range manifest.Layers {
		i.packed += layer.Size
		if err := i.unpack(blobFile(folder, layer)); err != nil {
			return image{}, fmt.Errorf("a layer: %w", err)
		}
	}
	return i, nil
}

func blobFile(folder string, b blob) string {
	return filepath.Join(folder, strings.TrimPrefix(b.Digest, "sha256:"))
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

func (i *image) unpack(layer string) error {
	file, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(plain); ; {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = i.place(header, entries)
		}
		if err != nil {
			return err
		}
	}
}

// place puts an entry of a layer into the root file system, as its owner's.
func (i *image) place(h *tar.Header, content io.Reader) error {
	if !filepath.IsLocal(h.Name) {
		return fmt.Errorf("%s is outside of the image", h.Name)
	}
	path := filepath.Join(i.rootfs, h.Name)
	i.files["/"+strings.TrimSuffix(h.Name, "/")] = h
	switch h.Typeflag {
	case tar.TypeDir:
		if err := os.MkdirAll(path, h.FileInfo().Mode().Perm()); err != nil {
			return err
		}
	case tar.TypeReg:
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		n, err := io.Copy(file, content) //nolint:gosec // an image of our own
		i.unpacked += n
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither a file nor a folder", h.Name)
	}
	return os.Lchown(path, h.Uid, h.Gid)
}

// Nothing is in it that somebody who breaks in could use, and nothing that is not
// needed.
func TestTheImageHoldsTheBinaryAndLittleElse(t *testing.T) {
	want := []string{
		"/etc", "/etc/ssl", "/etc/ssl/certs", "/etc/ssl/certs/ca-certificates.crt",
		"/tokensvc",
		"/var", "/var/lib", "/var/lib/tokensvc",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(shipped.image.files))); diff != "" {
		t.Errorf("what is in the image differs (-want +got):\n%s", diff)
	}
	for path, h := range shipped.image.files {
		owner, writable := 0, h.FileInfo().Mode().Perm()&0o022 != 0
		if path == "/var/lib/tokensvc" {
			owner = 65532
		}
		if h.Uid != owner || h.Gid != owner || writable || h.FileInfo().Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			t.Errorf("%s is of %d:%d with mode %v", path, h.Uid, h.Gid, h.FileInfo().Mode())
		}
	}
	certificates, err := os.ReadFile(filepath.Join(shipped.image.rootfs, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil || string(certificates) != authorities {
		t.Errorf("its authorities are not those of the image it was built in: %v", err)
	}
}

func TestTheImageIsSmall(t *testing.T) {
	const most = 30_000_000 // bytes
	if i := shipped.image; i.unpacked >= most || i.packed >= i.unpacked {
		t.Errorf("the image has %d bytes, and %d packed, want fewer than %d", i.unpacked, i.packed, most)
	}
	t.Logf("%.1f MB, %.1f MB to fetch", float64(shipped.image.unpacked)/1e6, float64(shipped.image.packed)/1e6)
}

func TestWhatTheImageSaysOfItself(t *testing.T) {
	c := shipped.image.config.Config
	type said struct {
		User                    string
		Entrypoint, Cmd, Health []string
		Volumes, Ports          []string
		Labels                  map[string]string
	}
	labels := maps.Clone(c.Labels)
	delete(labels, "io.buildah.version") // buildah's own
	got := said{
		User: c.User, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Health: c.Healthcheck.Test,
		Volumes: slices.Sorted(maps.Keys(c.Volumes)), Ports: slices.Sorted(maps.Keys(c.ExposedPorts)), Labels: labels,
	}
	want := said{
		User: "65532:65532", Entrypoint: []string{"/tokensvc"}, Cmd: []string{"serve"}, Health: []string{"CMD", "/tokensvc", "healthcheck"},
		Volumes: []string{"/var/lib/tokensvc"}, Ports: []string{"8080/tcp", "9090/tcp"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "tokensvc",
			"org.opencontainers.image.description": "Telnyx login tokens for softphones, without the API key leaving the server",
			"org.opencontainers.image.source":      "https://github.com/tokensvc/tokensvc",
			"org.opencontainers.image.version":     version,
			"org.opencontainers.image.revision":    revision,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the image says differs (-want +got):\n%s", diff)
	}
	if h := c.Healthcheck; h.Interval < time.Second || h.Timeout < time.Second || h.Retries < 1 {
		t.Errorf("its health is asked every %v, for %v, %d times", h.Interval, h.Timeout, h.Retries)
	}
	for _, variable := range c.Env {
		if !strings.HasPrefix(variable, "PATH=") {
			t.Errorf("it sets %s, which overrules a configuration file", variable)
		}
	}
}
