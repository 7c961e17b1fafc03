package e2e_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
)

// What the manual of operations says about backing up and restoring is done to the
// letter, with the directory in use, and lost in between.
func TestTheDirectoryIsBackedUpAndRestored(t *testing.T) {
	server := pgtest.StartT(t)
	for _, row := range []struct {
		name, database string
		lose           func(t *testing.T, folder, database string)
	}{
		{"A database in a file", "sqlite:tokensvc.db", func(t *testing.T, folder, _ string) {
			for _, name := range []string{"tokensvc.db", "tokensvc.db-wal"} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte("no database"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"PostgreSQL", inPostgres(t, server), func(t *testing.T, folder, database string) {
			script(t, folder, []string{"DATABASE=" + database}, `psql --quiet "$DATABASE" --command 'DROP SCHEMA public CASCADE' --command 'CREATE SCHEMA public'`)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := t.TempDir()
			database := strings.Replace(row.database, "sqlite:", "sqlite:"+folder+"/", 1)
			l := newBooks(t, ready, database)
			backUp, restore := scriptsUnder(t, "### "+row.name)
			env := []string{"DATABASE=" + database}
			for name, value := range l.env {
				env = append(env, name+"="+value)
			}
			s := startService(t, l.env)
			credential, _ := l.telnyx.CredentialOf(s.ask(t, l.issuer.Bearer("alice", nil)).token())
			wantDone(t, s.manage(t, http.MethodPut, "/users/main:bob", `{"name":"Bob Ng"}`))
			wantDone(t, s.manage(t, http.MethodPost, "/users/main:bob/disable", ""))
			script(t, folder, env, backUp)
			before := l.run(t, 0, "users", "list").stdout
			s.Stop(t)

			row.lose(t, folder, database)
			script(t, folder, env, restore)

			if after := l.run(t, 0, "users", "list").stdout; after != before || !strings.Contains(after, "Bob Ng") {
				t.Errorf("restored, the directory has\n%s, want\n%s", after, before)
			}
			s = startService(t, l.env)
			if got, _ := l.telnyx.CredentialOf(s.ask(t, l.issuer.Bearer("alice", nil)).token()); got != credential || got == "" {
				t.Errorf("alice gets a token of %q, want the credential from before, %q", got, credential)
			}
			if got := s.ask(t, l.issuer.Bearer("bob", nil)); got.problem().Code != "denied" {
				t.Errorf("bob, who was disabled, gets %v", got)
			}
		})
	}
}

// scriptsUnder returns the first two scripts under a heading of the manual.
func scriptsUnder(t *testing.T, heading string) (first, second string) {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash("../docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, under, found := strings.Cut(string(text), "\n"+heading+"\n")
	parts := strings.Split(under, "```")
	if !found || len(parts) < 4 || !strings.HasPrefix(parts[1], "sh\n") || !strings.HasPrefix(parts[3], "sh\n") {
		t.Fatalf("there are no two scripts under %s", heading)
	}
	return strings.TrimPrefix(parts[1], "sh\n"), strings.TrimPrefix(parts[3], "sh\n")
}

// script has a shell do it, up to the first command that fails.
func script(t *testing.T, folder string, env []string, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	shell.Dir = folder
	shell.Env = append([]string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "HOME=" + folder}, env...)
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v: %s", text, err, out)
	}
}
