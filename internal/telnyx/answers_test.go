package telnyx_test

import (
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// An answer that is a success by its status and nothing else was still an
// answer, and its Error says all that any other's does.
func TestAnUnusableAnswersErrorIsWhole(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	client := newClient(t, telnyx.Config{BaseURL: server.URL()})
	id := parseID(t, server.AddCredential(telnyxtest.Credential{}))
	for _, row := range []struct {
		op     string
		id     telnyx.CredentialID
		status int
		call   func() error
	}{
		{"mint", id, 201, func() error { _, err := client.Mint(t.Context(), id); return err }},
		{"get", id, 200, func() error { _, err := client.Credential(t.Context(), id); return err }},
		{"list", telnyx.CredentialID{}, 200, func() error { _, err := client.Credentials(t.Context(), telnyx.Query{}); return err }},
		{"create", telnyx.CredentialID{}, 201, func() error {
			_, err := client.CreateCredential(t.Context(), telnyx.NewCredential{ConnectionID: "123", Name: "x"})
			return err
		}},
		{"update", id, 200, func() error { _, err := client.UpdateCredential(t.Context(), id, time.Unix(1, 0)); return err }},
		{"delete", id, 200, func() error { return client.DeleteCredential(t.Context(), id) }},
	} {
		server.Inject(telnyxtest.Fault{Status: row.status, Shape: telnyxtest.HTML})
		got := checkError(t, row.call(), telnyx.ErrBadAnswer)
		server.ClearFaults()
		if got.Op != row.op || got.Credential != row.id || got.Status != row.status || got.Attempts != 1 || !got.Uncertain {
			t.Errorf("%s: %+v, want status %d, 1 attempt, uncertain", row.op, *got, row.status)
		}
	}
}
