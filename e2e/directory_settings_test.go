package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func TestSharedDevicesHaveOneCredential(t *testing.T) {
	l := newBooks(t, ready, inFile(t), setting{"TOKENSVC_DEVICES", "shared"})
	c := call(t, startService(t, l.env))
	alice := bearing(l.issuer.Bearer("alice", nil))
	first := l.wantIssued(t, c.send(alice))
	if mobile := l.wantIssued(t, c.send(alice, sendingJSON(`{"device":"mobile"}`))); mobile != first {
		t.Error("the mobile has a credential of its own")
	}
}

func TestOneDeviceTooMany(t *testing.T) {
	for _, row := range []struct {
		mode   string
		status int
	}{{"refuse", http.StatusForbidden}, {"replace", http.StatusOK}} {
		t.Run(row.mode, func(t *testing.T) {
			database := inFile(t)
			l := newBooks(t, ready, database, setting{"TOKENSVC_MAX_DEVICES", "1"}, setting{"TOKENSVC_AT_MAX_DEVICES", row.mode})
			s := startService(t, l.env)
			c := call(t, s)
			alice := bearing(l.issuer.Bearer("alice", nil))
			first := l.wantIssued(t, c.send(alice))
			wantProblem(t, c.send(alice, sendingJSON(`{"device":"mobile"}`)), http.StatusForbidden, "no_credential") // the first is in use
			s.Stop(t)
			executeInFile(t, database, "UPDATE credentials SET created_at = 1, vended_at = 1")
			s = startService(t, l.env)
			c = call(t, s)
			got := c.send(alice, sendingJSON(`{"device":"mobile"}`))
			if row.status == http.StatusOK {
				l.wantIssued(t, got)
				l.goneWithin(t, 10*time.Second, first)
				return
			}
			wantProblem(t, got, row.status, "no_credential")
			if !strings.Contains(got.problem().Detail, "as many devices as you may have") || len(l.telnyx.Credentials()) != 1 {
				t.Errorf("%q, and %d credentials", got.problem().Detail, len(l.telnyx.Credentials()))
			}
		})
	}
}

func TestOnlyWhoIsListedIsGivenACredential(t *testing.T) {
	l := newBooks(t, ready, inFile(t), setting{"TOKENSVC_PROVISION_USERS", "listed"})
	s := startService(t, l.env)
	wantProblem(t, s.ask(t, l.issuer.Bearer("alice", nil)), http.StatusForbidden, "no_credential")
	l.run(t, 0, "users", "add", "alice")
	l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil)))
}

func TestTheDirectoryIsComparedWithTelnyxBySchedule(t *testing.T) {
	l := newBooks(t, ready, inFile(t))
	s := startService(t, l.env)
	gone := l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil)))
	l.wantIssued(t, s.ask(t, l.issuer.Bearer("bob", nil))) // so that it is the right account
	l.telnyx.RemoveCredential(gone)
	s.Stop(t)
	env := l.with(setting{"TOKENSVC_RECONCILE_EVERY", "1h"}, setting{"TOKENSVC_RECONCILE_MODE", "apply"})
	s = startService(t, env)
	if line := s.awaitLogged(t, 0, "directory compared with Telnyx"); fmt.Sprint(line["gone"]) != "1" {
		t.Errorf("it logs %v, want one that is gone", line)
	}
	l.refreshed(t, s, "alice", gone)
}

func TestACredentialIsRenewedAheadOfItsExpiry(t *testing.T) {
	database := inFile(t)
	l := newBooks(t, ready, database, setting{"TOKENSVC_PROVISION_EXPIRES_AFTER", "1h"})
	s := startService(t, l.env)
	credential := l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil)))
	s.Stop(t)
	soon := time.Now().Add(5 * time.Minute)
	executeInFile(t, database, fmt.Sprintf("UPDATE credentials SET expires_at = %d", soon.UnixMilli()))
	s = startService(t, l.env)
	process.Eventually(t, 20*time.Second, "the renewal", func() error {
		for _, c := range l.telnyx.Credentials() {
			if c.ID == credential && l.telnyx.Requests(telnyxtest.Update) == 1 && c.ExpiresAt.After(time.Now().Add(50*time.Minute)) {
				return nil
			}
		}
		return errors.New("it expires as before")
	})
	if of := l.wantIssued(t, s.ask(t, l.issuer.Bearer("alice", nil))); of != credential {
		t.Error("she has another one")
	}
}

func TestPeopleOfAnIssuerMayManageTheDirectory(t *testing.T) {
	l := newBooks(t, ready, inFile(t), setting{"TOKENSVC_ADMIN_ISSUER", "main"}, setting{"TOKENSVC_ADMIN_REQUIRE", "{groups: admins}"})
	s := startService(t, l.env)
	ops := &caller{t, s.client, s.Ops}
	admin := bearing(l.issuer.Bearer("root", map[string]any{"groups": []string{"admins"}}))
	put := []change{asking(http.MethodPut, "/admin/v1/users/alice"), sendingJSON(`{"name":"Alice"}`)}
	if got := ops.send(append(put, admin)...); got.status != http.StatusCreated {
		t.Fatalf("an admin gets %v", got)
	}
	wantProblem(t, ops.send(append(put, bearing(l.issuer.Bearer("mallory", nil)))...), http.StatusForbidden, "denied")
	wantProblem(t, ops.send(put...), http.StatusUnauthorized, "unauthenticated")
	if got := l.run(t, 0, "users", "events", "alice"); !strings.Contains(got.stdout, "admin main:root") {
		t.Errorf("the events are\n%s", got.stdout)
	}
}

// Whose token was kept matters to nobody who has the credential next.
func TestAKeptTokenGoesWithItsOwner(t *testing.T) {
	l := newBooks(t, ready, inFile(t))
	s := startService(t, l.env)
	first := s.ask(t, l.issuer.Bearer("alice", nil))
	credential := l.wantIssued(t, first)
	l.run(t, 0, "users", "remove", "alice", "-device", "default", "-keep-credentials")
	l.run(t, 0, "users", "add", "bob", "-credential", credential)
	process.Eventually(t, seconds, "a token of bob's own", func() error {
		got := s.ask(t, l.issuer.Bearer("bob", nil))
		if of := l.wantIssued(t, got); of != credential {
			t.Fatalf("it is of %s, want %s", of, credential)
		}
		if got.token() == first.token() {
			return errors.New("it is alice's")
		}
		return nil
	})
}
