package audit_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/audit"
)

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// limitFiles has files take no more than so many bytes, until what is returned is called.
func limitFiles(t *testing.T, bytes uint64) (lift func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	set := func(limit syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: bytes, Max: before.Max})
	return sync.OnceFunc(func() { set(before) })
}

// A file that is full in the middle of a line ends with the line before.
func TestAFullFileEndsWithAWholeLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	trail := open(t, audit.Config{Path: path, GrantUnrecorded: true})
	lift := limitFiles(t, 3000)
	defer lift()
	for range 30 {
		_ = trail.Grant(audit.Record{What: audit.Token, Rule: strings.Repeat("x", 100)})
	}
	full := text(t, path)
	s := trail.State()
	if s.Failure == nil || s.Waiting == 0 || s.Written == 0 || int(s.Written)+s.Waiting != 30 {
		t.Errorf("%+v, want some of 30 written", s)
	}
	if !strings.HasSuffix(full, "}\n") {
		t.Errorf("the file ends with %q", full[len(full)-20:])
	}
	lift()
	if err := trail.Close(); err != nil {
		t.Error(err)
	}
	g := reading(t, text(t, path))
	wantRun(t, g, 31)
	if g.Torn != 0 {
		t.Errorf("%d torn lines, want none", g.Torn)
	}
}

// What a killed process left of a line is ended before another run writes.
func TestARunBeginsOnALineOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, []byte("{\"run\":\"A\",\"n\":1}\n{\"run\":\"A\",\"n\":2,\"wh"), 0o600); err != nil {
		t.Fatal(err)
	}
	trail := open(t, audit.Config{Path: path})
	if err := trail.Close(); err != nil {
		t.Fatal(err)
	}
	g := reading(t, text(t, path))
	if len(g.Runs()) != 2 || g.Torn != 1 || !g.Runs()[1].Stopped {
		t.Errorf("%d runs, %d torn lines; want 2 and 1:\n%s", len(g.Runs()), g.Torn, text(t, path))
	}
}

// underLoad grants until the test is done with it, and returns how many records there
// must be.
func underLoad(t *testing.T, trail *audit.Trail, do func()) (records uint64) {
	t.Helper()
	stop := make(chan struct{})
	var counts [8]uint64
	var load sync.WaitGroup
	for i := range counts {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := trail.Grant(audit.Record{What: audit.Token, RequestID: fmt.Sprint(i, "-", counts[i])}); err != nil {
					t.Error(err)
					return
				}
				counts[i]++
			}
		})
	}
	do()
	close(stop)
	load.Wait()
	if err := trail.Close(); err != nil {
		t.Error(err)
	}
	for _, n := range counts {
		records += n
	}
	return records + 1 // its end
}

func TestAFileThatIsPutAwayIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	trail := open(t, audit.Config{Path: path})
	away := []string{path + ".1", path + ".2", path + ".3"}
	records := underLoad(t, trail, func() {
		for n, name := range away {
			if err := os.Rename(path, name); err != nil {
				t.Error(err)
			}
			if n == 0 { // as a hangup does
				trail.Reopen()
			}
			awaitFile(t, path)
		}
	})
	var all []string
	for _, name := range append(away, path) {
		all = append(all, text(t, name))
	}
	g := reading(t, all...)
	wantRun(t, g, records)
	if g.Torn != 0 {
		t.Errorf("%d torn lines", g.Torn)
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	look, late := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer look.Stop()
	for {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
		select {
		case <-look.C:
		case <-late:
			t.Fatal("it is not made")
		}
	}
}

// Without anybody asking for a token, too, so that nobody waits for the old file.
func TestAFileIsMadeAnewWithNothingToWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	synctest.Test(t, func(t *testing.T) {
		trail := open(t, audit.Config{Path: path})
		go trail.Run(t.Context())
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		<-time.After(2100 * time.Millisecond)
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	})
}

// Whoever copies a file and then makes it empty loses what was written between the two,
// which shows, and nothing else.
func TestAFileThatIsCopiedAndEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	trail := open(t, audit.Config{Path: path})
	var copied string
	records := underLoad(t, trail, func() {
		awaitFile(t, path)
		copied = text(t, path)
		if err := os.Truncate(path, 0); err != nil {
			t.Error(err)
		}
		awaitFile(t, path)
	})
	rest := text(t, path)
	if strings.Contains(rest, "\x00") {
		t.Error("it goes on where it was, with nothing before")
	}
	copied = copied[:strings.LastIndexByte(copied, '\n')+1] // the copy may end in a line
	g := reading(t, copied, rest)
	r := g.Runs()[0]
	if r.Last() != records || r.Records+r.Missing() != records || len(r.Gaps()) > 1 || g.Torn != 0 {
		t.Errorf("up to %d, missing %v, %d torn; want %d", r.Last(), r.Gaps(), g.Torn, records)
	}
}

func TestAFileThatCannotBeMadeAnewIsTrouble(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "audit.jsonl")
	trail := open(t, audit.Config{Path: path})
	if err := trail.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder, folder+".old"); err != nil {
		t.Fatal(err)
	}
	trail.Reopen()
	if err := trail.Grant(audit.Record{}); err == nil {
		t.Error("is granted with the record in a file that was put away")
	}
	trail.Note(audit.Record{})
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := trail.Grant(audit.Record{}); err != nil {
		t.Error(err)
	}
	wantRun(t, reading(t, text(t, filepath.Join(folder+".old", "audit.jsonl")), text(t, path)), 3)
}

// Two processes may write to one file.
func TestRunsShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	var together sync.WaitGroup
	for range 2 {
		trail := open(t, audit.Config{Path: path})
		together.Go(func() {
			for range 500 {
				if err := trail.Grant(audit.Record{Rule: strings.Repeat("x", 300)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	together.Wait()
	g := reading(t, text(t, path))
	for _, r := range g.Runs() {
		if r.Records != 500 || r.Missing() != 0 {
			t.Errorf("%d records, %d missing", r.Records, r.Missing())
		}
	}
	if len(g.Runs()) != 2 || g.Torn != 0 || bytes.Count([]byte(text(t, path)), []byte{'\n'}) != 1000 {
		t.Errorf("%d runs, %d torn", len(g.Runs()), g.Torn)
	}
}
