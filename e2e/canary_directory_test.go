package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// A database has a password, and what Telnyx says of a credential has another: of
// both, and of the admin token, nothing is shown, written down or passed on.
func TestADatabaseShowsNoSecret(t *testing.T) {
	const database, sip = "MARKED-database-password", "MARKED-sip-password"
	server := pgtest.StartWithT(t, pgtest.Options{Password: database})
	file := filepath.Join(t.TempDir(), "password")
	writeFile(t, file, database+"\n")
	l := newBooks(t, telnyxtest.Options{NewCredentialDelay: -1, SIPPassword: sip}, server.NewDatabase(t),
		setting{"TOKENSVC_DIRECTORY_PASSWORD_FILE", file}, setting{"TOKENSVC_LOG_LEVEL", "debug"},
		setting{"TOKENSVC_PROVISION_FIRST_LOGIN", "retry"}, setting{"TOKENSVC_PROVISION_READY_AFTER", "1s"})
	var shown []string
	show := func(d done) { shown = append(shown, d.stdout, d.stderr) }
	show(l.run(t, 0, "migrate"))
	s := startService(t, l.env)
	s.hide(database)
	s.hide(sip)

	alice, bob := l.issuer.Bearer("alice", nil), l.issuer.Bearer("bob", nil)
	wantProblem(t, s.ask(t, alice), http.StatusServiceUnavailable, "provisioning")
	l.issuedWithin(t, 5*time.Second, s, alice)
	credential := l.telnyx.Credentials()[0].ID
	wantDone(t, s.manage(t, http.MethodPut, "/users/bob", "{}"))
	taken := s.manage(t, http.MethodPut, "/users/bob/devices/default", `{"credential_id":"`+credential+`"}`)
	wantProblem(t, taken, http.StatusConflict, "conflict")
	changed := (&caller{t, s.client, s.Ops}).send(asking(http.MethodDelete, "/admin/v1/users/bob"), bearing(adminToken), header("If-Match", `"999"`))
	wantProblem(t, changed, http.StatusPreconditionFailed, "precondition_failed")
	for _, args := range [][]string{
		{"users", "export"}, {"users", "show", "alice"}, {"users", "list", "-json"}, {"users", "events"},
		{"reconcile"}, {"reconcile", "-json", "-apply"}, {"check", "-json"},
	} {
		show(l.run(t, 0, args...))
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	away := s.ask(t, bob)
	wantProblem(t, away, http.StatusServiceUnavailable, "directory_unavailable")
	show(l.run(t, 1, "users", "list"))
	show(l.run(t, 1, "reconcile"))
	shown = append(shown, s.Output(), metrics(t, s), taken.body, changed.body, away.body, filesIn(t, server.Dir()))
	for _, text := range shown {
		for _, secret := range []string{sip, adminToken, alice, bob} {
			if strings.Contains(text, secret) {
				t.Errorf("%.12s… is in %.200s…", secret, text)
			}
		}
	}
	for _, text := range shown[:len(shown)-1] { // the server knows it, of course
		if strings.Contains(text, database) {
			t.Errorf("the database's password is in %.200s…", text)
		}
	}
}

// filesIn is all that is in the files of a folder.
func filesIn(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		all.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(all.String(), "main:alice") {
		t.Error("alice is not in the database's files, so this proves nothing")
	}
	return all.String()
}
