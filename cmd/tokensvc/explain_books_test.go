package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
)

// What a directory cannot tell is not said to be nothing, and why somebody has no
// credential is said as it is.
func TestExplainOfADatabase(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone"})
	books := func(path string, more ...string) []string {
		return inDatabase(append(more, "TOKENSVC_OIDC_ISSUER="+issuer.URL(), "TOKENSVC_OIDC_AUDIENCE=softphone", "TOKENSVC_DIRECTORY=sqlite:"+path)...)
	}
	folder := t.TempDir()
	there, old, empty := filepath.Join(folder, "there.db"), filepath.Join(folder, "old.db"), filepath.Join(folder, "empty.db")
	for _, path := range []string{there, old} {
		if got := ranWith(t, books(path), "users", "add", "alice"); got.status != exitOK {
			t.Fatal(got)
		}
	}
	db, err := sql.Open("sqlite", old)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"DELETE FROM tokensvc_schema WHERE version_id > 0", "DROP TABLE credentials"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	writeKey(t, empty, "")
	listed := []string{"TOKENSVC_PROVISION_CONNECTION_ID=1234", "TOKENSVC_PROVISION_INSTANCE=blue", "TOKENSVC_PROVISION_USERS=listed"}
	rule := "TOKENSVC_OIDC_REQUIRE={groups: [agents]}"
	const unlisted = "bob is not in the directory, and provision.users is listed: tokensvc users add main:bob"
	for what, c := range map[string]struct {
		environ      []string
		user         string
		outcome, do  string
		says, saysNo string
	}{
		"not listed":           {books(there, listed...), "bob", "no_credential", "main:" + unlisted, "main:bob is not in the directory", "for the device"},
		"not listed, no file":  {books(there+"x", listed...), "bob", "no_credential", "main:" + unlisted, "main:bob is not in the directory", "for the device"},
		"listed":               {books(there, listed...), "alice", "issued", "", "none yet for the device default", "listed"},
		"nothing is created":   {books(there), "bob", "no_credential", "give main:bob a credential", "none for the device default", "listed"},
		"not migrated":         {books(old, listed...), "alice", "directory_unavailable", "tokensvc migrate", "cannot be told", "none for the device"},
		"not migrated, denied": {books(old, rule), "alice", "denied", "the rule", "cannot be told", "none for the device"},
		"an empty file":        {books(empty), "alice", "directory_unavailable", "tokensvc migrate", "cannot be told", "none for the device"},
		"no answer":            {append(books(there), "TOKENSVC_DIRECTORY=postgres://somebody@"+freeAddress(t)+"/books"), "alice", "directory_unavailable", "tokensvc check", "cannot be told", "none for the device"},
	} {
		t.Run(what, func(t *testing.T) {
			explained := func(flags ...string) string {
				var out, errs bytes.Buffer
				in := strings.NewReader(issuer.Bearer(c.user, nil))
				status := run(t.Context(), terminal{environ: c.environ, in: in, out: &out, err: &errs}, append([]string{"explain"}, flags...))
				if (status == exitOK) != (c.outcome == "issued") || errs.Len() > 0 {
					t.Errorf("status %d, %s", status, errs.String())
				}
				return out.String()
			}
			if text := explained(); !strings.Contains(text, c.says) || strings.Contains(text, c.saysNo) || !strings.Contains(text, c.do) {
				t.Errorf("says\n%swant %q and %q, and no %q", text, c.says, c.do, c.saysNo)
			}
			var e struct{ Outcome, Do string }
			if err := json.Unmarshal([]byte(explained("-json")), &e); err != nil || e.Outcome != c.outcome || !strings.Contains(e.Do, c.do) {
				t.Errorf("%v %+v", err, e)
			}
		})
	}
}
