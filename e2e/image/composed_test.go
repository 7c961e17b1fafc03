package image_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/directory/store/pgtest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// The composition's variables, secrets and commands do, with a PostgreSQL and a Redis
// of this machine: the schema is made, all that the service needs is found, and a
// person gets a token.
func TestATokenFromTheComposition(t *testing.T) {
	c := readComposition(t)
	secrets := makeSecrets(t)
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	telnyx := telnyxtest.StartT(t, telnyxtest.Options{APIKey: apiKey, NewCredentialDelay: -1})
	postgres := startPostgres(t, c.Services["postgres"], secrets)
	redis := startRedis(t, c.Services["redis"], secrets)

	service := c.Services["tokensvc"]
	env := map[string]string{}
	for name, value := range service.Environment {
		env[name] = elsewhere(interpolate(t, value, map[string]string{
			"TOKENSVC_OIDC_ISSUER": issuer.URL(), "TOKENSVC_OIDC_AUDIENCE": audience, "TOKENSVC_PROVISION_CONNECTION_ID": "1234567890",
		}), secrets, postgres, redis)
	}
	env["TELNYX_BASE_URL"], env["TOKENSVC_PROVISION_READY_AFTER"] = telnyx.URL(), "0s" // no real Telnyx here
	// migrate is given what the service is.
	runOurs(t, env, c.Services["migrate"].Command...)
	runOurs(t, env, "check", "-timeout", "30s")

	p := process.Start(t, shipped.binary, env, service.Command[1:]...)
	if err := vend(t.Context(), p.Listen, issuer.Bearer("alice", nil)); err != nil {
		t.Error(err)
	}
}

// elsewhere has what is in the containers, and by their names, where it is here.
func elsewhere(value, secrets, postgres, redis string) string {
	return strings.NewReplacer("/run/secrets", secrets, "postgres:5432", postgres, "redis:6379", redis).Replace(value)
}

// runOurs runs the program with these variables alone.
func runOurs(t *testing.T, env map[string]string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shipped.binary, args...)
	cmd.Env = []string{"SSL_CERT_DIR=/nonexistent"} // none of the machine's
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, tail(string(out)))
	}
}

// startPostgres starts a PostgreSQL with the user, the database and the password that
// the composition's makes of its variables, and returns its address.
func startPostgres(t *testing.T, s composed, secrets string) string {
	t.Helper()
	server := pgtest.StartWithT(t, pgtest.Options{Password: "nobody's"})
	password, err := os.ReadFile(elsewhere(s.Environment["POSTGRES_PASSWORD_FILE"], secrets, "", ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", s.Environment["POSTGRES_USER"], strings.TrimSpace(string(password))),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", s.Environment["POSTGRES_DB"], s.Environment["POSTGRES_USER"]),
	} {
		if err := server.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	at, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	return at.Host
}

// startRedis runs the composition's own command, with its own health check, and
// returns the address.
func startRedis(t *testing.T, s composed, secrets string) string {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	here := func(text string) string {
		text = strings.NewReplacer("port 6379", "port "+port, "-p 6379", "-p "+port, "bind * -::*", "bind 127.0.0.1").Replace(interpolate(t, text, nil))
		return elsewhere(text, secrets, "", "")
	}
	words := slices.Clone(s.Entrypoint)
	for _, word := range s.Command {
		words = append(words, here(word))
	}
	// The test's context is done before its clean-up, and would kill.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), words[0], words[1:]...)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("Redis does not end in order when it is stopped: %v", err)
		}
	})
	process.Eventually(t, startLimit, "Redis well", func() error {
		_, err := tell("", "sh", "-c", here(s.Healthcheck.Test[1]))
		return err
	})
	if line, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid), "cmdline")); err != nil || strings.Contains(string(line), "requirepass") {
		t.Errorf("the list of processes has Redis's password: %v", err)
	}
	return address
}

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
