package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun runs go test itself, on a module with one package for each row.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := func(body string) string {
		return "package p\n\nimport (\"fmt\"; \"testing\")\n\nvar _ = fmt.Sprint\n\n" + body
	}
	write("go.mod", "module m\n\ngo 1.26\n")
	write("empty/p.go", "package p\n")
	write("good/p_test.go", source(`func TestA(t *testing.T) { fmt.Println("chatter"); t.Log("more") }`))
	write("skips/p_test.go", source(`func TestA(t *testing.T) { t.Run("deep", func(t *testing.T) { t.Skip("no node") }) }`))
	write("fails/p_test.go", source(`func TestA(t *testing.T) { t.Error("wrong") }
func TestB(t *testing.T) { t.Log("chatter") }`))
	write("panics/p_test.go", source(`func TestA(t *testing.T) { panic("oh") }`))
	write("broken/p_test.go", source(`func TestA(t *testing.T) { undeclared() }`))
	t.Chdir(dir)

	tests := []struct {
		packages string
		status   int
		err      string   // in run's error, empty for none
		shows    []string // in what is printed
		hides    []string
	}{
		{"good empty", 0, "", []string{"ok  \tm/good\t", "?   \tm/empty\t[no test files]"}, []string{"chatter", "more", "PASS", "=== RUN"}},
		{"good skips", 1, "m/skips TestA/deep", []string{"no node", "ok  \tm/skips\t"}, []string{"chatter"}},
		{"good fails", 1, "", []string{"wrong", "--- FAIL: TestA", "FAIL\tm/fails\t", "ok  \tm/good\t"}, []string{"chatter", "TestB"}},
		{"skips fails", 1, "", []string{"no node", "wrong"}, nil},
		{"panics", 1, "", []string{"panic: oh", "FAIL\tm/panics\t"}, nil},
		{"good broken", 1, "", []string{"undefined: undeclared", "FAIL\tm/broken [build failed]", "ok  \tm/good\t"}, nil},
		{"empty", 1, "no package has tests", nil, nil},
		{"nowhere", 1, "", []string{"nowhere"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.packages, func(t *testing.T) {
			args := []string{"-count=1"}
			for p := range strings.FieldsSeq(tt.packages) {
				args = append(args, "./"+p)
			}
			var out, errOut bytes.Buffer
			status, err := run(&out, &errOut, args)
			if status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
			for _, s := range tt.shows {
				if !strings.Contains(out.String(), s) {
					t.Errorf("does not print %q", s)
				}
			}
			for _, s := range tt.hides {
				if strings.Contains(out.String(), s) {
					t.Errorf("prints %q", s)
				}
			}
			if t.Failed() {
				t.Logf("printed:\n%s%s", out.String(), errOut.String())
			}
		})
	}
}
