package manual_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
)

// What deploy.md calls the reader's own, besides what every page does.
const (
	composeDatabase = "postgres://tokensvc@postgres:5432/tokensvc?sslmode=disable"
	composeCache    = "redis://redis:6379"
	clusterCache    = "rediss://tokensvc@redis.example.com:6379"
)

// surround gives containers a database and a cache, and the session the programs
// that make containers. The password is the database's.
func surround(t *testing.T, s *session, password string) (here *surroundings, redis *redistest.Server) {
	t.Helper()
	w := newWorld(t, s)
	vars := w.variables(t, s)
	delete(vars, "TOKENSVC_DIRECTORY")
	vars["TOKENSVC_PROVISION_READY_AFTER"] = "0s"
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	redis = redistest.StartT(t)
	database := pgtest.StartWithT(t, pgtest.Options{Password: password}).NewDatabase(t)
	here = &surroundings{
		Binary: binary, Folder: filepath.Join(s.temp, "containers"), Variables: vars, Ops: vars["TOKENSVC_OPS_LISTEN"],
		Database: strings.Replace(database, "@", ":"+password+"@", 1), Cache: redis.Addr(),
		Names: []string{issuerSaid, w.issuer.URL(), composeDatabase, database, databaseSaid, database},
	}
	s.env["STAND_IN"], s.env[standInIn] = self, filepath.Join(s.temp, "surroundings")
	s.env["TELNYX_API_KEY"] = apiKey
	if err := os.Mkdir(here.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.end(t) })
	return here, redis
}

// end ends the container that went on, if there was one.
func (s surroundings) end(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Folder, "pid"))
	if os.IsNotExist(err) {
		return
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Error(err)
		return
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended before
}

func (s *session) tellStandIns(t *testing.T, here *surroundings) {
	t.Helper()
	text, err := json.Marshal(here)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.env[standInIn], text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkout gives the session the repository's deploy.
func (s *session) checkout(t *testing.T) {
	t.Helper()
	deploy := filepath.Join(repository, "deploy")
	if err := os.CopyFS(filepath.Join(s.folder, "deploy"), os.DirFS(deploy)); err != nil {
		t.Fatal(err)
	}
	// Nothing of this checkout's own.
	for _, own := range []string{"secrets", ".env", "charttest"} {
		if err := os.RemoveAll(filepath.Join(s.folder, "deploy", own)); err != nil {
			t.Fatal(err)
		}
	}
}

// withCompose is a machine that has docker compose, and the checkout.
func withCompose(t *testing.T, s *session) {
	t.Helper()
	here, redis := surround(t, s, "aPasswordThatIsReplaced")
	here.Names = append(here.Names, composeCache, redis.URL())
	here.Passwords = map[string]string{"database": "postgres_password", "cache": "redis_password"}
	s.tellStandIns(t, here)
	s.checkout(t)
}

// withACluster is a machine that has helm and kubectl, the checkout, and what the
// reader has of PostgreSQL, Redis and Telnyx.
func withACluster(t *testing.T, s *session) {
	t.Helper()
	const databasePassword, cachePassword = "theDatabasesPassword", "theCachesPassword"
	here, redis := surround(t, s, databasePassword)
	if err := redis.Tell("ACL", "SETUSER", "tokensvc", "on", ">"+cachePassword, "~*", "+@all"); err != nil {
		t.Fatal(err)
	}
	here.Names = append(here.Names, clusterCache, strings.Replace(redis.URL(), "redis://", "redis://tokensvc@", 1))
	here.Template = filepath.Join(s.temp, "template")
	// Helm is in a module of its own.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", here.Template, "./template")
	build.Dir = filepath.Join(repository, "deploy", "charttest")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s.tellStandIns(t, here)
	s.checkout(t)
	for name, content := range map[string]string{"telnyx.key": apiKey, "database.password": databasePassword, "redis.password": cachePassword} {
		s.write(t, name, fmt.Sprintln(content))
	}
}
