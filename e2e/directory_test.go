package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // the driver

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	adminToken = "MARKED-admin-token-of-32-bytes-or-more"
	instance   = "e2e"

	// seconds is how soon what is changed on one replica holds on all of them.
	seconds = 2 * time.Second
)

// newBooks makes a lab whose directory is this database, in which credentials are
// created at the first login, and which is managed with adminToken.
func newBooks(t *testing.T, o telnyxtest.Options, database string, settings ...setting) *lab {
	t.Helper()
	l := newLab(t, o)
	token := filepath.Join(t.TempDir(), "admin.token")
	writeFile(t, token, adminToken+"\n")
	l.env = l.with(append([]setting{
		{"TOKENSVC_DIRECTORY", database},
		{"TOKENSVC_PROVISION_CONNECTION_ID", "1234567890"},
		{"TOKENSVC_PROVISION_INSTANCE", instance},
		{"TOKENSVC_PROVISION_READY_AFTER", "0s"},
		{"TOKENSVC_ADMIN_TOKEN_FILE", token},
	}, settings...)...)
	return l
}

// ready is a Telnyx whose new credentials are usable at once.
var ready = telnyxtest.Options{NewCredentialDelay: -1}

// inFile is the directory of a database in a file of the test's own.
func inFile(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "books.db") }

// inPostgres makes a database on the server, migrated by this binary.
func inPostgres(t *testing.T, server *pgtest.Server) string {
	t.Helper()
	url := server.NewDatabase(t)
	l := newBooks(t, ready, url)
	l.run(t, 0, "migrate")
	return url
}

// run runs a command of the binary in the lab's environment, and wants that exit
// status.
func (l *lab) run(t *testing.T, status int, args ...string) done {
	t.Helper()
	var env []string
	for name, value := range l.env {
		env = append(env, name+"="+value)
	}
	got := runBinary(t, env, args...)
	if got.status != status {
		t.Fatalf("tokensvc %s: status %d, want %d\n%s%s", strings.Join(args, " "), got.status, status, got.stdout, got.stderr)
	}
	return got
}

// manage sends a request to the admin API.
func (s *service) manage(t *testing.T, method, path, body string) answer {
	t.Helper()
	s.hide(adminToken)
	c := &caller{t, s.client, s.Ops}
	changes := []change{asking(method, "/admin/v1"+path), bearing(adminToken)}
	if body != "" {
		changes = append(changes, sendingJSON(body))
	}
	return c.send(changes...)
}

// wantDone wants a request to the admin API to have succeeded.
func wantDone(t *testing.T, got answer) {
	t.Helper()
	if got.status/100 != 2 {
		t.Fatalf("got %v, want it done", got)
	}
}

// wantIssued wants an answer to be a token, and returns the credential it is of.
func (l *lab) wantIssued(t *testing.T, got answer) string {
	t.Helper()
	credential, ok := l.telnyx.CredentialOf(got.token())
	if got.status != http.StatusOK || !ok {
		t.Fatalf("got %v, want a token", got)
	}
	return credential
}

// issuedWithin wants a bearer to be given a token within a time.
func (l *lab) issuedWithin(t *testing.T, limit time.Duration, s *service, bearer string) {
	t.Helper()
	process.Eventually(t, limit, "a token", func() error {
		if got := s.ask(t, bearer); got.status != http.StatusOK {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
}

// refusedWithin wants a user to be refused by a service within a time.
func (l *lab) refusedWithin(t *testing.T, limit time.Duration, s *service, user, code string) {
	t.Helper()
	c := call(t, s)
	process.Eventually(t, limit, user+" to be refused", func() error {
		if got := c.send(bearing(l.issuer.Bearer(user, nil))); got.problem().Code != code {
			return fmt.Errorf("got %d %s", got.status, got.problem().Code)
		}
		return nil
	})
}

// goneWithin wants a credential to be gone at Telnyx within a time.
func (l *lab) goneWithin(t *testing.T, limit time.Duration, credential string) {
	t.Helper()
	process.Eventually(t, limit, "the credential to be gone at Telnyx", func() error {
		for _, c := range l.telnyx.Credentials() {
			if c.ID == credential {
				return errors.New("it is there")
			}
		}
		return nil
	})
}

func TestTheFirstLoginCreatesACredential(t *testing.T) {
	l := newBooks(t, telnyxtest.Options{NewCredentialDelay: time.Second}, inFile(t), setting{"TOKENSVC_PROVISION_READY_AFTER", "1s"})
	s := startService(t, l.env)
	c := call(t, s)
	alice := bearing(l.issuer.Bearer("alice", nil))

	seen := c.send(asking(http.MethodGet, "/v1/whoami"), alice)
	if seen.status != http.StatusOK || !strings.Contains(seen.body, `"would_create":true`) || len(l.telnyx.Credentials()) != 0 {
		t.Fatalf("whoami says %v and there are %d credentials; want it to say that one would be created, and none", seen, len(l.telnyx.Credentials()))
	}
	began := time.Now()
	first := l.wantIssued(t, c.send(alice))
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("it took %v, want Telnyx's second to be waited for", took)
	}
	if again := l.wantIssued(t, c.send(alice)); again != first {
		t.Error("the second login is with another credential")
	}
	if mobile := l.wantIssued(t, c.send(alice, sendingJSON(`{"device":"mobile"}`))); mobile == first {
		t.Error("the mobile has the same credential")
	}
	for _, made := range l.telnyx.Credentials() {
		if !strings.HasPrefix(made.Name, "tokensvc:"+instance+":") || strings.Contains(made.Name, "alice") {
			t.Errorf("it is called %q", made.Name)
		}
	}
}

func TestTheFirstLoginMayBeToldToComeBack(t *testing.T) {
	l := newBooks(t, telnyxtest.Options{NewCredentialDelay: time.Second}, inFile(t),
		setting{"TOKENSVC_PROVISION_READY_AFTER", "1s"}, setting{"TOKENSVC_PROVISION_FIRST_LOGIN", "retry"})
	s := startService(t, l.env)
	bearer := l.issuer.Bearer("alice", nil)
	got := s.ask(t, bearer)
	wantProblem(t, got, http.StatusServiceUnavailable, "provisioning")
	if got.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q, want 1", got.header.Get("Retry-After"))
	}
	l.issuedWithin(t, 5*time.Second, s, bearer)
}

// Telnyx says "about five seconds", so it may be more.
func TestANewCredentialThatTakesLongerIsNotRefused(t *testing.T) {
	l := newBooks(t, telnyxtest.Options{NewCredentialDelay: 2 * time.Second}, inFile(t))
	s := startService(t, l.env)
	bearer := l.issuer.Bearer("alice", nil)
	got := s.ask(t, bearer)
	wantProblem(t, got, http.StatusServiceUnavailable, "provisioning")
	if got.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After is %q, want 2", got.header.Get("Retry-After"))
	}
	l.issuedWithin(t, 10*time.Second, s, bearer)
}

// Who administers does so where operators are, and whoever has the token has nothing of it
// elsewhere.
func TestTheAdminAPIIsNotOnThePublicListener(t *testing.T) {
	l := newBooks(t, ready, inFile(t))
	s := startService(t, l.env)
	wantDone(t, s.manage(t, http.MethodGet, "/users", ""))
	req := newRequest(t, http.MethodGet, s.Listen+"/admin/v1/users", nil)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	wantRefusal(t, do(t, httpClient, req), notFound)
}

func TestFiftyFirstLoginsOverTwoReplicasMakeOneCredential(t *testing.T) {
	const crowd = 50
	l := newBooks(t, telnyxtest.Options{NewCredentialDelay: -1, Latency: 200 * time.Millisecond}, inPostgres(t, pgtest.StartT(t)))
	callers := []*caller{call(t, startService(t, l.env)), call(t, startService(t, l.env))}
	alice := bearing(l.issuer.Bearer("alice", nil))
	var waiting sync.WaitGroup
	answers := make([]answer, crowd)
	for i := range answers {
		waiting.Go(func() {
			var err error
			if answers[i], err = callers[i%2].try(t.Context(), alice); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	made := l.telnyx.Credentials()
	if len(made) != 1 || l.telnyx.Requests(telnyxtest.Create) != 1 {
		t.Fatalf("%d credentials by %d requests, want 1", len(made), l.telnyx.Requests(telnyxtest.Create))
	}
	for _, got := range answers {
		if of := l.wantIssued(t, got); of != made[0].ID {
			t.Errorf("a token is of %s, want %s", of, made[0].ID)
		}
	}
}

func TestWhoeverIsDisabledOnOneReplicaIsRefusedOnAll(t *testing.T) {
	t.Parallel() // it waits, mostly
	l := newBooks(t, ready, inPostgres(t, pgtest.StartT(t)))
	one, other := startService(t, l.env), startService(t, l.env)
	alice := l.issuer.Bearer("alice", nil)
	credential := l.wantIssued(t, one.ask(t, alice))
	l.wantIssued(t, other.ask(t, alice)) // and both have her token

	wantDone(t, one.manage(t, http.MethodPost, "/users/alice/disable", ""))
	wantProblem(t, one.ask(t, alice), http.StatusForbidden, "denied")
	l.refusedWithin(t, seconds, other, "alice", "denied")
	l.goneWithin(t, 10*time.Second, credential)

	wantDone(t, other.manage(t, http.MethodPost, "/users/alice/enable", ""))
	if fresh := l.wantIssued(t, other.ask(t, alice)); fresh == credential {
		t.Error("she has the old credential again")
	}
}

func TestOneReplicaFinishesWhatAnotherBegan(t *testing.T) {
	t.Parallel() // it waits, mostly
	l := newBooks(t, ready, inPostgres(t, pgtest.StartT(t)), setting{"TELNYX_TIMEOUT", "1s"})
	one, other := startService(t, l.env), startService(t, l.env)
	credential := l.wantIssued(t, one.ask(t, l.issuer.Bearer("alice", nil)))
	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Delete, Shape: telnyxtest.Hang})
	other.Signal(t, syscall.SIGSTOP) // so that it is the first that begins
	wantDone(t, one.manage(t, http.MethodPost, "/users/alice/disable", ""))
	process.Eventually(t, 10*time.Second, "the deletion to begin", func() error {
		if l.telnyx.Requests(telnyxtest.Delete) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	one.kill(t)
	l.telnyx.ClearFaults()
	other.Signal(t, syscall.SIGCONT)
	l.refusedWithin(t, seconds, other, "alice", "denied")
	l.goneWithin(t, 30*time.Second, credential)
}

// kill ends the service as a power cut does.
func (s *service) kill(t *testing.T) {
	t.Helper()
	s.Kill(t)
}

// A restart begins where the last run was killed.
func TestADeletionSurvivesAKill(t *testing.T) {
	t.Parallel() // it waits, mostly
	l := newBooks(t, ready, inFile(t))
	s := startService(t, l.env)
	credential := l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil)))
	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Delete, Status: http.StatusServiceUnavailable})
	wantDone(t, s.manage(t, http.MethodPost, "/users/alice/disable", ""))
	s.awaitLogged(t, 0, "credential not deleted yet")
	s.kill(t)
	l.telnyx.ClearFaults()
	s = startService(t, l.env)
	wantProblem(t, s.ask(t, l.issuer.Bearer("alice", nil)), http.StatusForbidden, "denied")
	l.goneWithin(t, 30*time.Second, credential)
}

func TestADatabaseThatGoesAwayAndComesBack(t *testing.T) {
	t.Parallel() // it waits, mostly
	server := pgtest.StartT(t)
	l := newBooks(t, ready, inPostgres(t, server))
	s := startService(t, l.env)
	alice, bob := l.issuer.Bearer("alice", nil), l.issuer.Bearer("bob", nil)
	first := l.wantIssued(t, s.ask(t, alice))
	for name, stop := range map[string]func() error{"stopped": server.Stop, "killed": server.Kill} {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		l.refusedWithin(t, 10*time.Second, s, "alice", "directory_unavailable") // when her short life in memory is over
		wantProblem(t, s.ask(t, bob), http.StatusServiceUnavailable, "directory_unavailable")
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		l.issuedWithin(t, 15*time.Second, s, alice)
		if again := l.wantIssued(t, s.ask(t, alice)); again != first {
			t.Errorf("%s: she has another credential", name)
		}
	}
}

func TestTenReplicasStartAtOnce(t *testing.T) {
	server := pgtest.StartT(t)
	l := newBooks(t, ready, server.NewDatabase(t))
	var migrating sync.WaitGroup
	for range 10 {
		migrating.Go(func() { l.run(t, 0, "migrate") })
	}
	migrating.Wait()
	var all []*service
	for range 10 {
		all = append(all, launchService(t, l.env))
	}
	for _, s := range all {
		s.AwaitReady(t)
	}
	credential := l.wantIssued(t, all[0].ask(t, l.issuer.Bearer("alice", nil)))
	for _, s := range all[1:] {
		if of := l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil))); of != credential {
			t.Errorf("a token is of %s, want %s", of, credential)
		}
	}
}

func TestWhichDatabasesServeRefuses(t *testing.T) {
	server := pgtest.StartT(t)
	newer := inPostgres(t, server)
	execute(t, newer, "INSERT INTO tokensvc_schema (version_id, is_applied) VALUES (9999, true)")
	nothing := filepath.Join(t.TempDir(), "books.db")
	writeFile(t, nothing, strings.Repeat("this is no database ", 100))
	for _, row := range []struct{ says, database, want string }{
		{"one that is newer", newer, "newer schema"},
		{"one that nobody has migrated", server.NewDatabase(t), "tokensvc migrate"},
		{"a file that is none", "sqlite:" + nothing, "not a database"},
		{"a folder", "sqlite:" + t.TempDir(), "is a directory"},
		{"a folder that is not there", "sqlite:" + filepath.Join(t.TempDir(), "none", "books.db"), "no such file"},
	} {
		l := newBooks(t, ready, row.database)
		if got := l.run(t, 2, "serve"); !strings.Contains(got.stderr, row.want) {
			t.Errorf("%s: it says %q, want a word of %q", row.says, got.stderr, row.want)
		}
	}
}

// execute executes a statement in a database.
func execute(t *testing.T, url, statement string) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(context.WithoutCancel(t.Context()))
	if _, err := connection.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// executeInFile executes a statement in a database that is a file.
func executeInFile(t *testing.T, directory, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", strings.TrimPrefix(directory, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// What goes wrong between Telnyx and the directory leaves nothing behind.
func TestNoOrphanIsLeftWhateverFailsAtTelnyx(t *testing.T) {
	l := newBooks(t, ready, inFile(t))
	s := startService(t, l.env)
	faults := []telnyxtest.Fault{
		{Op: telnyxtest.List, Status: 500},
		{Op: telnyxtest.List, Status: 429},
		{Op: telnyxtest.Create, Status: 422},
		{Op: telnyxtest.Create, Status: 500},
		{Op: telnyxtest.Create, Status: 500, After: true}, // it was created, and nobody was told so
		{Op: telnyxtest.Create, Shape: telnyxtest.Reset},
		{Op: telnyxtest.Create, Shape: telnyxtest.Reset, After: true},
		{Op: telnyxtest.Token, Status: 500},
	}
	for n, fault := range faults {
		user := fmt.Sprintf("user%d", n)
		l.telnyx.Inject(fault)
		if got := s.ask(t, l.issuer.Bearer(user, nil)); got.status < 500 {
			t.Errorf("%+v: got %v, want it to fail", fault, got)
		}
		l.telnyx.ClearFaults()
		l.issuedWithin(t, 15*time.Second, s, l.issuer.Bearer(user, nil))
	}
	if made := l.telnyx.Credentials(); len(made) != len(faults) {
		t.Errorf("there are %d credentials, want one for each of %d users", len(made), len(faults))
	}
}

// A process that dies between Telnyx's work and our record has said nothing to
// anybody; the credential is found by its name.
func TestAKillBetweenTelnyxAndTheDirectoryLeavesOneCredential(t *testing.T) {
	t.Parallel() // it waits, mostly
	l := newBooks(t, ready, inFile(t), setting{"TELNYX_TIMEOUT", "1s"})
	s := startService(t, l.env)
	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Create, Shape: telnyxtest.Hang, After: true})
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = call(t, s).try(context.WithoutCancel(t.Context()), bearing(l.issuer.Bearer("alice", nil))) // it is killed
	}()
	process.Eventually(t, 10*time.Second, "the credential at Telnyx", func() error {
		if len(l.telnyx.Credentials()) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	s.kill(t)
	<-asked
	l.telnyx.ClearFaults()
	s = startService(t, l.env)
	made := l.telnyx.Credentials()[0].ID
	l.issuedWithin(t, time.Minute, s, l.issuer.Bearer("alice", nil)) // when the hold of who died is over
	if of := l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil))); of != made || len(l.telnyx.Credentials()) != 1 {
		t.Errorf("she has %s of %d, want the one that was made, %s", of, len(l.telnyx.Credentials()), made)
	}
}

func TestReconcileTellsWhatIsAmissAndRepairsIt(t *testing.T) {
	l := newBooks(t, ready, inFile(t))
	s := startService(t, l.env)
	kept := l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil)))
	gone := l.wantIssued(t, s.ask(t, l.issuer.Bearer("bob", nil)))
	l.telnyx.RemoveCredential(gone)
	l.telnyx.AddCredential(telnyxtest.Credential{Name: "somebody else's"})
	if got := l.run(t, 3, "reconcile"); !strings.Contains(got.stdout, gone) || strings.Contains(got.stdout, kept) {
		t.Errorf("it reports\n%s\nwant %s in it, and not %s", got.stdout, gone, kept)
	}
	l.run(t, 0, "reconcile", "-apply")
	l.refreshed(t, s, "bob", gone)
	if got := l.run(t, 0, "reconcile"); strings.Contains(got.stdout, gone) {
		t.Errorf("it still reports\n%s", got.stdout)
	}
	if len(l.telnyx.Credentials()) != 3 {
		t.Errorf("there are %d credentials, want alice's, bob's new one and somebody else's", len(l.telnyx.Credentials()))
	}
}

// refreshed wants a user to have another credential than the old one soon.
func (l *lab) refreshed(t *testing.T, s *service, user, old string) {
	t.Helper()
	process.Eventually(t, seconds, "another credential of "+user, func() error {
		if of := l.wantIssued(t, s.ask(t, l.issuer.Bearer(user, nil))); of == old {
			return errors.New("it is the old one")
		}
		return nil
	})
}
