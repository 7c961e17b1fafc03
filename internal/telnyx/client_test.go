package telnyx_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func newClient(t testing.TB, cfg telnyx.Config) *telnyx.Client {
	t.Helper()
	if cfg.APIKeys == nil {
		cfg.APIKeys = key(telnyxtest.DefaultAPIKey)
	}
	c, err := telnyx.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// key is a list of the keys.
func key(texts ...string) func() []secret.Text {
	return func() []secret.Text {
		var all []secret.Text
		for _, k := range texts {
			all = append(all, secret.New(k))
		}
		return all
	}
}

func parseID(t testing.TB, text string) telnyx.CredentialID {
	t.Helper()
	id, err := telnyx.ParseCredentialID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestMintGivesATokenOfTheCredential(t *testing.T) {
	now := time.Now()
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	client := newClient(t, telnyx.Config{BaseURL: server.URL()})
	day := server.AddCredential(telnyxtest.Credential{})
	hour := server.AddCredential(telnyxtest.Credential{ExpiresAt: now.Add(time.Hour)})

	for id, life := range map[string]time.Duration{day: 24 * time.Hour, hour: time.Hour} {
		token, err := client.Mint(t.Context(), parseID(t, id))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := server.CredentialOf(token.JWT.Reveal()); !ok || got != id {
			t.Errorf("the token is for %q, want %q", got, id)
		}
		if late := token.ExpiresAt.Sub(now.Add(life)); late.Abs() > 5*time.Second {
			t.Errorf("the token expires at %v, want %v from now", token.ExpiresAt, life)
		}
		if n := len(token.JWT.Reveal()); n < 550 || n > 630 {
			t.Errorf("the token has %d bytes, want about 590", n)
		}
	}
}

func TestACredentialsLife(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{NewCredentialDelay: -1})
	client := newClient(t, telnyx.Config{BaseURL: server.URL()})
	expires := time.Date(2042, 6, 18, 21, 32, 38, 0, time.UTC)

	made, err := client.CreateCredential(t.Context(), telnyx.NewCredential{ConnectionID: "123", Name: "alice default", ExpiresAt: expires})
	if err != nil {
		t.Fatal(err)
	}
	if made.Name != "alice default" || made.ResourceID != "connection:123" || !made.ExpiresAt.Equal(expires) || made.Expired || made.CreatedAt.IsZero() {
		t.Errorf("created %+v", made)
	}
	got, err := client.Credential(t.Context(), made.ID)
	if err != nil {
		t.Fatal(err)
	}
	page, err := client.Credentials(t.Context(), telnyx.Query{Name: "alice default"})
	if err != nil {
		t.Fatal(err)
	}
	want := telnyx.Page{Credentials: []telnyx.Credential{made}, Number: 1, Size: 20, TotalPages: 1, TotalResults: 1}
	if diff := cmp.Diff(want, page, cmp.Comparer(sameID)); diff != "" || got != made {
		t.Errorf("get %+v; list differs:\n%s", got, diff)
	}
	made.ExpiresAt, made.UpdatedAt = expires.AddDate(1, 0, 0), time.Time{}
	changed, err := client.UpdateCredential(t.Context(), made.ID, made.ExpiresAt)
	if changed.UpdatedAt = (time.Time{}); err != nil || changed != made {
		t.Errorf("updated: %+v, %v, want %+v", changed, err, made)
	}
	server.ExpireCredential(made.ID.String())
	if _, err := client.UpdateCredential(t.Context(), made.ID, expires); !errors.Is(err, telnyx.ErrCredentialRejected) {
		t.Errorf("updating an expired credential: %v", err)
	}
	if err := client.DeleteCredential(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Mint(t.Context(), made.ID); !errors.Is(err, telnyx.ErrCredentialRejected) {
		t.Errorf("minting for a deleted credential: %v", err)
	}
}

func sameID(a, b telnyx.CredentialID) bool { return a == b }
