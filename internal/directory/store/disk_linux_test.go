package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// smallDisk is a file system of its own. Only root may make one, and not
// everywhere; what is tested here does not depend on the machine otherwise, so
// the test is left out without a word where it cannot be done.
func smallDisk(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tokensvc", folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

func TestTheDiskIsFull(t *testing.T) {
	folder := smallDisk(t)
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

func TestTheDiskMayOnlyBeRead(t *testing.T) {
	folder := smallDisk(t)
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
	if !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("it says %v, want %v", err, directory.ErrUnavailable)
	}
	t.Log(err)
	remount(0)
	s = b.open(t)
	reads, writes := ways(t, s)
	work(t, reads)
	work(t, writes)
}
