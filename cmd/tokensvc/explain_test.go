package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"syscall"
)

func TestReadingABearer(t *testing.T) {
	longest := strings.Repeat("a", authz.MaxBearerBytes)
	for name, row := range map[string]struct{ input, want string }{
		"by itself":              {"a.b.c", "a.b.c"},
		"on a line":              {"a.b.c\r\n", "a.b.c"},
		"with a scheme":          {"Bearer a.b.c\n", "a.b.c"},
		"with DPoP's":            {"  dpop   a.b.c", "a.b.c"},
		"with another's":         {"Basic YTpi", "Basic YTpi"},
		"the scheme in it":       {"bearer.b.c", "bearer.b.c"},
		"two":                    {"Bearer a b", "a b"},
		"the longest":            {longest + "\n", longest},
		"the longest, a scheme":  {"Bearer " + longest + "\r\n", longest},
		"the longest but spaces": {strings.Repeat(" ", maxAround) + longest, longest},
	} {
		got, err := readBearer(strings.NewReader(row.input))
		if err != nil || got.Reveal() != row.want {
			t.Errorf("%s: %d bytes, %v", name, len(got.Reveal()), err)
		}
	}
	// What is too long stays so, and is not read to its end.
	rest := strings.NewReader(strings.Repeat(" ", 100) + strings.Repeat("a", 10<<20))
	got, err := readBearer(rest)
	if n := len(got.Reveal()); err != nil || n <= authz.MaxBearerBytes || rest.Len() < 9<<20 {
		t.Errorf("10 MB: %d bytes, %d left, %v", n, rest.Len(), err)
	}
	if _, err := readBearer(strings.NewReader("bearer ")); !errors.Is(err, errNoBearer) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := readBearer(iotest.ErrReader(io.ErrUnexpectedEOF)); !errors.Is(err, errUnread) {
		t.Errorf("a broken pipe: %v", err)
	}
}

// What is kept is replaced whole, or it stays.
func TestKeepingKeys(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", folder)
	i := authz.Issuer{URL: "https://login.example.com/../../x", Keys: authz.KeysFromDiscovery}
	set := []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	if err := keepKeys(i, set, at); err != nil {
		t.Fatal(err)
	}
	kept := keptKeys(i)
	if !kept.at.Equal(at.Truncate(time.Second)) || filepath.Dir(kept.path) != filepath.Join(folder, "tokensvc") {
		t.Errorf("kept: %+v", kept)
	}
	if err := keepKeys(i, []byte(`{"keys":["`+strings.Repeat("x", authz.MaxKeyFileBytes)+`"]}`), at); err == nil {
		t.Error("too many were kept")
	}
	if err := keepKeys(i, []byte(`{"keys":[]}`), at); err != nil {
		t.Fatal(err)
	}
	if kept := keptKeys(i); !kept.at.IsZero() {
		t.Errorf("no keys were found: %+v", kept)
	}
	if files, err := os.ReadDir(filepath.Dir(kept.path)); err != nil || len(files) != 1 {
		t.Errorf("left behind are %v, %v", files, err)
	}
	t.Setenv("XDG_CACHE_HOME", kept.path) // a file
	if err := keepKeys(i, set, at); err == nil || keptKeys(i) != (keptFile{}) {
		t.Errorf("in no folder: %v", err)
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if err := keepKeys(i, set, at); err == nil || keptKeys(i) != (keptFile{}) {
		t.Errorf("nowhere: %v", err)
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		`"as" it's`:               `"as" it's`,
		"a\nb\x1b[2J\u202e\u0085": `a\nb\x1b[2J\u202e\u0085`,
		"grüße":                   "grüße",
		"\xff":                    "\ufffd",
		strings.Repeat("ä", 501):  strings.Repeat("ä", 500) + " …",
	} {
		if got := oneLine(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// Kept keys decide what verifies, so they count only where nobody else can write.
func TestKeptKeysThatOthersCouldHaveWrittenDoNotCount(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "keys.json")
	writeKey(t, file, testKeySet)
	want := func(name, path string, ours bool) {
		t.Helper()
		if got := isOnlyOurs(path); got != ours {
			t.Errorf("%s: %v, want %v", name, got, ours)
		}
	}
	want("our folder", folder, true)
	want("our file", file, true)
	want("no file", file+".none", false)
	if err := os.Symlink(file, file+".link"); err != nil {
		t.Fatal(err)
	}
	want("a link to our file", file+".link", false)
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	want("a file that all may write", file, false)
	if err := os.Chmod(folder, 0o770); err != nil {
		t.Fatal(err)
	}
	want("a folder that a group may write", folder, false)
	if err := syscall.Mkfifo(file+".fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	want("a pipe", file+".fifo", false)
}
