package handler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// finderOf is a directory that has one thing to say.
type finderOf func() (telnyx.CredentialID, error)

func (f finderOf) Find(context.Context, directory.Query) (telnyx.CredentialID, error) { return f() }

func (f finderOf) DeviceOf(context.Context, directory.Query, telnyx.CredentialID) (directory.Device, error) {
	_, err := f()
	return directory.DefaultDevice, err
}

func TestWhatADirectoryMaySayIsAnOutcome(t *testing.T) {
	for name, row := range map[string]struct {
		err                   error
		status                int
		outcome, detail, wait string
	}{
		"nobody's credential": {
			directory.ErrNoCredential, http.StatusForbidden, "no_credential",
			"You are known, but no telephony credential is assigned to you for this device.", "",
		},
		"one device too many": {
			fmt.Errorf("finding: %w", directory.ErrTooManyDevices), http.StatusForbidden, "no_credential",
			"You have as many devices as you may have.", "",
		},
		"a disabled user": {
			fmt.Errorf("finding: %w", directory.ErrDisabled), http.StatusForbidden, "denied", "Your access has been withdrawn.", "",
		},
		"a credential that was just made": {
			fmt.Errorf("finding: %w", &directory.NotReadyError{RetryAfter: 2500 * time.Millisecond}), http.StatusServiceUnavailable, "provisioning",
			"Your telephony credential has just been created and cannot be used yet.", "3",
		},
		"no directory": {
			directory.ErrUnavailable, http.StatusServiceUnavailable, "directory_unavailable", "Your telephony credential cannot be looked up now.", "2",
		},
	} {
		h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
			c.Directory = finderOf(func() (telnyx.CredentialID, error) { return telnyx.CredentialID{}, row.err })
		})
		bearer, _ := h.person("alice")
		got := h.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+bearer)
		var told struct{ Detail string }
		h.must(json.Unmarshal(got.body, &told))
		if got.status != row.status || got.code != row.outcome || told.Detail != row.detail || got.header.Get("Retry-After") != row.wait {
			t.Errorf("%s: %d, Retry-After %q, %s", name, got.status, got.header.Get("Retry-After"), got.body)
		}
	}
}

func TestWhatIsIssuedIsTold(t *testing.T) {
	type vended struct {
		credential string
		at         time.Time
	}
	var told []vended
	now := time.Now()
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.Now = func() time.Time { return now }
		c.Issued = func(id telnyx.CredentialID, at time.Time) { told = append(told, vended{id.String(), at}) }
	})
	bearer, credential := h.person("alice")
	if got := h.call(http.MethodGet, "/v1/whoami", "Authorization", "Bearer "+bearer); got.status != http.StatusOK {
		t.Errorf("whoami: %d %s", got.status, got.body)
	}
	h.serve(http.MethodPost, "/v1/token") // without a bearer
	if len(told) != 0 {
		t.Errorf("told of %v, though nobody got a token", told)
	}
	r := h.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+bearer)
	if r.status != http.StatusOK || len(told) != 1 || told[0] != (vended{credential, now}) {
		t.Errorf("%d %s: told of %v, want %s at %v", r.status, r.code, told, credential, now)
	}
}

func TestWhoLosesACredentialWhileATokenIsMintedDoesNotGetIt(t *testing.T) {
	other, err := telnyx.ParseCredentialID("5c7ac7d0-db65-4f11-98e1-eec0d1d5c6ae")
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		id      telnyx.CredentialID // zero: the same
		err     error
		status  int
		outcome string
		byID    string // the outcome for who asks by id
	}{
		"who is disabled":            {err: directory.ErrDisabled, status: http.StatusForbidden, outcome: "denied", byID: "denied"},
		"who has none any more":      {err: directory.ErrNoCredential, status: http.StatusForbidden, outcome: "no_credential", byID: "not_found"},
		"who would be made one":      {err: directory.ErrNotCreated, status: http.StatusForbidden, outcome: "no_credential", byID: "not_found"},
		"who has another":            {id: other, status: http.StatusServiceUnavailable, outcome: "provisioning", byID: "not_found"},
		"of whom nobody can tell":    {err: directory.ErrUnavailable, status: http.StatusOK},
		"who has the same as before": {status: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			var credential telnyx.CredentialID
			var asked []directory.Query
			before := 1 // questions to the directory until the token is minted
			h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
				c.Directory = asking(func(q directory.Query) (telnyx.CredentialID, error) {
					asked = append(asked, q)
					if len(asked) <= before || row.id.IsZero() && row.err == nil {
						return credential, nil
					}
					return row.id, row.err
				})
			})
			bearer, id := h.person("alice")
			credential, err = telnyx.ParseCredentialID(id)
			h.must(err)
			got := h.call(http.MethodPost, "/v1/token", "Authorization", "Bearer "+bearer)
			if got.status != row.status || got.code != row.outcome {
				t.Errorf("%d %s", got.status, got.code)
			}
			if len(asked) != 2 || !asked[0].Create || asked[1].Create || asked[1].User != asked[0].User || asked[1].Device != asked[0].Device {
				t.Errorf("the directory is asked %+v", asked)
			}
			asked, before = nil, 2
			if got, refused := h.operate(bearer, id, "Cache-Control", "no-cache"); refused.Meta.Outcome != row.byID {
				t.Errorf("by id %d %s, want %q", got.status, refused.Meta.Outcome, row.byID)
			}
		})
	}
}

// asking is a directory that says what a function does.
type asking func(directory.Query) (telnyx.CredentialID, error)

func (a asking) Find(_ context.Context, q directory.Query) (telnyx.CredentialID, error) { return a(q) }

func (a asking) DeviceOf(_ context.Context, q directory.Query, _ telnyx.CredentialID) (directory.Device, error) {
	_, err := a(q)
	return directory.DefaultDevice, err
}

func TestAKeptTokenIsLookedUpOnce(t *testing.T) {
	var credential telnyx.CredentialID
	asked := 0
	h := build(t, telnyxtest.Options{}, func(c *handler.Config) {
		c.Directory = finderOf(func() (telnyx.CredentialID, error) { asked++; return credential, nil })
	})
	bearer, id := h.person("alice")
	var err error
	credential, err = telnyx.ParseCredentialID(id)
	h.must(err)
	for want := 2; want <= 4; want++ { // the first is minted
		if status, _, outcome := h.ask(bearer); status != http.StatusOK || asked != want {
			t.Errorf("%d %s, asked %d times, want %d", status, outcome, asked, want)
		}
	}
}
