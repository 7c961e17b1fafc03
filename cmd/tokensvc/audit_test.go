package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func TestAuditVerifySaysWhatIsMissing(t *testing.T) {
	const (
		first  = `{"run":"A","n":1,"time":"2026-03-04T05:06:07.000Z","what":"started","version":"v1"}` + "\n"
		second = `{"run":"A","n":2,"what":"token"}` + "\n"
		last   = `{"run":"A","n":3,"what":"stopped"}` + "\n"
		runA   = "run A of 2026-03-04T05:06:07.000Z, version v1: "
	)
	for name, row := range map[string]struct {
		in     string
		status int
		said   string
	}{
		"nothing":      {first + second + last, exitOK, "✓ " + runA + "3 records to number 3\n✓ 3 records in 1 run: 0 missing, 0 lost\n"},
		"the end":      {first + second, exitOK, "✓ " + runA + "2 records to number 2; no end: it still runs, or was killed\n✓ 2 records in 1 run: 0 missing, 0 lost\n"},
		"a record":     {first + last, exitAmiss, "✗ " + runA + "2 records to number 3\n    missing: 2 to 2\n✗ 2 records in 1 run: 1 missing, 0 lost\n"},
		"a beginning":  {second + last, exitAmiss, "✗ run A: 2 records to number 3\n    missing: 1 to 1\n✗ 2 records in 1 run: 1 missing, 0 lost\n"},
		"what is told": {first + `{"run":"A","n":2,"what":"lost","count":4}` + "\n" + last, exitAmiss, "✗ " + runA + "3 records to number 3; says that it lost 4\n✗ 3 records in 1 run: 0 missing, 4 lost\n"},
		"no copy":      {first + first + second + last + "torn\n", exitOK, "✓ " + runA + "3 records to number 3\n✓ 3 records in 1 run: 0 missing, 0 lost, 1 there twice, 1 line no record\n"},
		"all":          {"", exitAmiss, "✗ 0 records in 0 runs: 0 missing, 0 lost\n"},
		"no terminal":  {`{"run":"\u001b[31m","n":1,"what":"stopped"}` + "\n", exitOK, "✓ run \\x1b[31m: 1 record to number 1\n✓ 1 record in 1 run: 0 missing, 0 lost\n"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), terminal{in: strings.NewReader(row.in), out: &out, err: &errs}, []string{"audit", "verify", "-"})
		if status != row.status || out.String() != row.said || errs.Len() > 0 {
			t.Errorf("%s is missing: status %d, want %d\n%s%swant\n%s", name, status, row.status, out.String(), errs.String(), row.said)
		}
	}
}

func TestAuditIsUsedRightly(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for words, status := range map[string]int{
		"audit": exitUsage, "audit verify": exitUsage, "audit delete": exitUsage, "audit verify -x": exitUsage, "audit -h": exitOK,
		"audit verify -h": exitOK, "audit verify " + missing: exitFailed,
	} {
		if got := ranWith(t, nil, strings.Fields(words)...); got.status != status || got.out != "" {
			t.Errorf("%s: %+v, want status %d", words, got, status)
		}
	}
}

// changes are the records of changes in a file, but for who made them and when.
func changes(t *testing.T, path string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r struct{ What, Outcome, Actor, Target, Action, Device string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.What != "admin" {
			continue
		}
		if !strings.HasPrefix(r.Actor, "cli ") {
			t.Errorf("by %q", r.Actor)
		}
		all = append(all, strings.Join(strings.Fields(r.Action+" "+r.Target+" "+r.Device+": "+r.Outcome), " "))
	}
	return all
}

func TestCommandsRecordWhatTheyChange(t *testing.T) {
	upstream, environ := account(t)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	environ = append(environ, "TOKENSVC_AUDIT_FILE="+path)
	id := upstream.AddCredential(telnyxtest.Credential{})
	record(t, environ, id)
	for words, status := range map[string]int{
		"users list": exitOK, "users show " + id: exitOK, "users events": exitOK, "users export": exitOK, "reconcile": exitOK,
	} {
		if got := ranWith(t, environ, strings.Fields(words)...); got.status != status {
			t.Fatalf("%s: %+v", words, got)
		}
	}
	for _, words := range []string{
		"users add alice -name Alice", "users disable alice", "users enable alice", "users remove alice -device mobile",
		"users remove alice", "users disable nobody", "reconcile -apply",
	} {
		ranWith(t, environ, strings.Fields(words)...)
	}
	want := []string{
		"users import : answered", "users add main:alice : answered", "users disable main:alice : answered",
		"users enable main:alice : answered", "users remove main:alice mobile: not_found",
		"users remove main:alice : answered", "users disable main:nobody : not_found", "reconcile : answered",
	}
	if diff := cmp.Diff(want, changes(t, path)); diff != "" {
		t.Error(diff)
	}
	if got := ranWith(t, nil, "audit", "verify", path); got.status != exitOK || !strings.Contains(got.out, "24 records in 8 runs") {
		t.Errorf("%+v", got)
	}
}

func TestAChangeByCommandThatCannotBeRecorded(t *testing.T) {
	folder := t.TempDir()
	for name, row := range map[string]struct {
		file, mode string
		status     int
		made       bool
	}{
		"full, refuse":  {"/dev/full", "refuse", exitFailed, false},
		"full, vend":    {"/dev/full", "vend", exitFailed, true}, // which says that it was not recorded
		"none, refuse":  {filepath.Join(folder, "none", "a"), "refuse", exitFailed, false},
		"none, vend":    {filepath.Join(folder, "none", "a"), "vend", exitFailed, true},
		"there, refuse": {filepath.Join(folder, "a"), "refuse", exitOK, true},
	} {
		_, environ := account(t)
		record(t, environ)
		got := ranWith(t, append(environ, "TOKENSVC_AUDIT_FILE="+row.file, "TOKENSVC_AUDIT_ON_FAILURE="+row.mode), "users", "add", "alice")
		if got.status != row.status || row.status != exitOK && !strings.Contains(got.err, "record") {
			t.Errorf("%s: %+v, want status %d", name, got, row.status)
		}
		if shown := ranWith(t, environ, "users", "show", "alice"); (shown.status == exitOK) != row.made {
			t.Errorf("%s: %+v, want it made: %v", name, shown, row.made)
		}
	}
}

func TestCheckLooksWhetherThereCanBeRecords(t *testing.T) {
	folder := t.TempDir()
	there := filepath.Join(folder, "there")
	writeKey(t, there, "")
	unread := filepath.Join(t.TempDir(), "pipe") // at which opening it would wait for a reader
	if err := syscall.Mkfifo(unread, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]checked{
		unread:                             {Part: "audit", Detail: "no such device or address"},
		"-":                                inOrder("audit", "to standard output"),
		there:                              inOrder("audit", "to "+there),
		filepath.Join(folder, "new"):       inOrder("audit", "to "+filepath.Join(folder, "new")+", which is made at the start"),
		folder:                             {Part: "audit", Detail: "is a directory"},
		filepath.Join(folder, "none", "a"): {Part: "audit", Detail: "no such file or directory"},
	} {
		got := AuditConfig{File: file}.check()
		if !got.OK {
			got.Do = ""
		}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) != 1 {
		t.Errorf("%v %v, want nothing made", files, err)
	}
}
