package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	wanting  = "11111111-0000-4000-8000-%012d" // an id that is nowhere
	instance = "test"
)

// account is an account of Telnyx's, and an empty directory beside it.
func account(t *testing.T) (*telnyxtest.Server, []string) {
	t.Helper()
	upstream := telnyxtest.StartT(t, telnyxtest.Options{Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	return upstream, inDatabase(
		"TOKENSVC_DIRECTORY=sqlite:"+filepath.Join(t.TempDir(), "books.db"),
		"TELNYX_BASE_URL="+upstream.URL(), "TELNYX_API_KEY="+telnyxtest.DefaultAPIKey,
		"TOKENSVC_PROVISION_CONNECTION_ID=1234567890", "TOKENSVC_PROVISION_INSTANCE="+instance,
	)
}

// record puts credentials into the directory, each of a user of its own.
func record(t *testing.T, environ []string, ids ...string) {
	t.Helper()
	list := filepath.Join(t.TempDir(), "people.csv")
	text := "user,credential_id\n"
	for _, id := range ids {
		text += id + "," + id + "\n"
	}
	if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ranWith(t, environ, "users", "import", list); got.status != exitOK {
		t.Fatalf("%+v", got)
	}
}

func nowhere(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf(wanting, i))
	}
	return ids
}

func wantSaid(t *testing.T, got ran, status int, says ...string) {
	t.Helper()
	for _, text := range says {
		if !strings.Contains(got.out, text) {
			t.Errorf("it does not say %q:\n%s", text, got.out)
		}
	}
	if got.status != status {
		t.Errorf("status %d, want %d: %s", got.status, status, got.err)
	}
}

func TestReconcileSaysWhatItRepaired(t *testing.T) {
	upstream, environ := account(t)
	record(t, environ, append(nowhere(2), upstream.AddCredential(telnyxtest.Credential{}))...)
	upstream.AddCredential(telnyxtest.Credential{Name: provisioning.Name(instance, "main:gone", "default"), ConnectionID: "1234567890"})
	for range 3 {
		upstream.AddCredential(telnyxtest.Credential{})
	}
	const found = "5 credentials at Telnyx: 1 in the directory, 3 others left alone; 1 orphans, 2 gone, 0 expired\n"
	wantSaid(t, ranWith(t, environ, "reconcile"), exitAmiss, "✗ "+found, "do: tokensvc reconcile -apply repairs this\n")
	wantSaid(t, ranWith(t, environ, "reconcile", "-apply"), exitOK, "✓ "+found,
		"2 taken out of the directory, 0 given back to their users, 1 to be deleted at Telnyx (0 still waiting)\n")
	wantSaid(t, ranWith(t, environ, "reconcile"), exitOK, "✓ 4 credentials at Telnyx: 1 in the directory, 3 others left alone; 0 orphans, 0 gone, 0 expired\n")
}

func TestReconcileSaysWhatToCheckBeforeItIsForced(t *testing.T) {
	upstream, environ := account(t)
	record(t, environ, append(nowhere(11), upstream.AddCredential(telnyxtest.Credential{}))...)
	const do = "do: see that the API key is of the account that the directory's credentials are in; if it is, tokensvc reconcile -apply -force repairs this\n"
	wantSaid(t, ranWith(t, environ, "reconcile"), exitAmiss, "11 gone", do)
	refused := ranWith(t, environ, "reconcile", "-apply")
	wantSaid(t, refused, exitAmiss, "11 gone", do)
	if strings.Contains(refused.out, "taken out") || !strings.Contains(refused.err, "11 of 12 records are not at Telnyx: ") {
		t.Errorf("%+v", refused)
	}
	var said struct {
		OK, Applied bool
		Retired     *int
		Young       *int
		Do          string
	}
	got := ranWith(t, environ, "reconcile", "-apply", "-json")
	if err := json.Unmarshal([]byte(got.out), &said); err != nil || got.status != exitAmiss || said.OK || said.Applied || said.Retired == nil || said.Young == nil || !strings.Contains(said.Do, "-force") {
		t.Errorf("%v, %+v", err, got)
	}
	wantSaid(t, ranWith(t, environ, "reconcile", "-apply", "-force"), exitOK, "11 taken out of the directory")
}

func TestReconcileAsksWhetherAnotherServiceHasTheInstance(t *testing.T) {
	upstream, environ := account(t)
	record(t, environ, upstream.AddCredential(telnyxtest.Credential{}))
	for i := range 11 {
		upstream.AddCredential(telnyxtest.Credential{Name: provisioning.Name(instance, fmt.Sprint(i), "default")})
	}
	wantSaid(t, ranWith(t, environ, "reconcile", "-apply"), exitAmiss, "11 orphans", "no other service on the account has this provision.instance; if so, tokensvc reconcile -apply -force")
	if n := len(upstream.Credentials()); n != 12 {
		t.Errorf("%d credentials are left", n)
	}
}
