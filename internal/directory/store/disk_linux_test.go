package store_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store"
)

const namespaceEnv = "TOKENSVC_STORE_NAMESPACE" // set where the test is root of its own namespace

// onSmallDisk runs a test with a file system of its own. Only root may make one, so
// anybody else runs the test once more as root of a namespace.
func onSmallDisk(t *testing.T, test func(t *testing.T, folder string)) {
	folder := t.TempDir()
	err := syscall.Mount("tokensvc", folder, "tmpfs", 0, "size=1m")
	switch {
	case errors.Is(err, syscall.EPERM) && os.Getenv(namespaceEnv) == "":
		asRoot(t)
		return
	case err != nil:
		t.Fatalf("no file system can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	test(t, folder)
}

func asRoot(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	again := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), namespaceEnv+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("in a namespace: %v\n%s", err, out)
	}
}

func TestTheDiskIsFull(t *testing.T) { onSmallDisk(t, theDiskIsFull) }

func theDiskIsFull(t *testing.T, folder string) {
	b := &books{cfg: store.Config{SQLite: filepath.Join(folder, "books.db")}}
	b.migrate(t)
	s := b.open(t)
	put(t, s, "main:before", "")
	reads, writes := ways(t, s)
	filler := filepath.Join(folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	users := fill(t, s)
	work(t, reads)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	work(t, reads)
	work(t, writes)
	if n := b.number(t, `SELECT count(*) FROM users WHERE user_key LIKE 'main:full%'`); n != int64(users) {
		t.Errorf("%d are there, want the %d that were acknowledged", n, users)
	}
	b.consistent(t)
}

func TestTheDiskMayOnlyBeRead(t *testing.T) { onSmallDisk(t, theDiskMayOnlyBeRead) }

func theDiskMayOnlyBeRead(t *testing.T, folder string) {
	b := &books{cfg: store.Config{SQLite: filepath.Join(folder, "books.db")}}
	b.migrate(t)
	s := b.open(t)
	put(t, s, "main:before", "")
	b.close(t)
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tokensvc", folder, "tmpfs", syscall.MS_REMOUNT|flags, "size=1m"); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	s, err := store.Open(b.cfg)
	if err == nil {
		_, _, err = s.PutUser(t.Context(), by, "main:alice", "", store.Match{})
		_ = s.Close()
	}
	if err == nil {
		t.Error("alice is written down, nowhere")
	}
	remount(0)
	s = b.open(t)
	reads, writes := ways(t, s)
	work(t, reads)
	work(t, writes)
}
