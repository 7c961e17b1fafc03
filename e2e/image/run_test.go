package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	apiKey   = "KEYofatestoftheimage"
	audience = "softphone"
)

// In a network of its own, with the image's own addresses and folder, as somebody
// without privileges, and nowhere to write but the volume.
func TestTheImageRunsWithoutPrivileges(t *testing.T) {
	settings := t.TempDir()
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	writeFile(t, filepath.Join(settings, "telnyx.key"), apiKey, 0o400)
	writeFile(t, filepath.Join(settings, "keys.json"), keySetOf(t, issuer), 0o400)
	c := start(t, setup{variables: map[string]string{
		"TELNYX_API_KEY_FILE":    "/etc/tokensvc/telnyx.key",
		"TOKENSVC_OIDC_ISSUER":   "https://login.example.com",
		"TOKENSVC_OIDC_KEYS":     "file:/etc/tokensvc/keys.json",
		"TOKENSVC_OIDC_AUDIENCE": audience,
	}, settings: settings})
	c.awaitHealth(t)

	for name, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "Groups": "", "NoNewPrivs": "1",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		if got := statusOf(t, c.pid(t))[name]; got != want {
			t.Errorf("the kernel says %s %q of it, want %q", name, got, want)
		}
	}
	serving := c.logged("serving")
	if serving["listen"] != "[::]:8080" || serving["ops_listen"] != "[::]:9090" {
		t.Errorf("it listens on %v and %v", serving["listen"], serving["ops_listen"])
	}
	if out, status := c.exec(t, "/tokensvc", "users", "add", "-credential", "5c7ac7d0-db65-4f11-98e1-eec0d1d5c6ae", "alice"); status != 0 {
		t.Errorf("nobody can be added to the directory in its volume: %s", out)
	}
	c.stop(t)
}

// A container without what the service needs is unhealthy, and its operator is told.
func TestTheImageIsUnhealthyWithoutKeys(t *testing.T) {
	c := start(t, setup{variables: map[string]string{
		"TELNYX_API_KEY":         apiKey,
		"TOKENSVC_OIDC_ISSUER":   "http://127.0.0.1:9", // in its network, nobody
		"TOKENSVC_OIDC_AUDIENCE": audience,
	}, settings: t.TempDir()})
	process.Eventually(t, startLimit, "the container serving", func() error {
		if c.logged("serving") == nil {
			return fmt.Errorf("it says %s", tail(c.says()))
		}
		return nil
	})
	if err := c.health(t); err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("its health check says %v, want that it is not ready", err)
	}
	c.stop(t)
}

// From a bearer to a login token, with a credential that is created on the way.
func TestATokenFromTheImage(t *testing.T) { vendFromTheImage(t, nil) }

// The same works with no more calls of the system's than the systemd unit leaves.
func TestATokenWithTheCallsOfTheUnit(t *testing.T) { vendFromTheImage(t, callsOfTheUnit(t)) }

func vendFromTheImage(t *testing.T, calls []string) {
	t.Helper()
	settings := t.TempDir()
	writeFile(t, filepath.Join(settings, "telnyx.key"), apiKey, 0o400)
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	telnyx := telnyxtest.StartT(t, telnyxtest.Options{APIKey: apiKey, NewCredentialDelay: -1})
	c := start(t, setup{variables: map[string]string{
		"TOKENSVC_LISTEN": "127.0.0.1:0", "TOKENSVC_OPS_LISTEN": "127.0.0.1:0", // the machine's own, here
		"TELNYX_API_KEY_FILE": "/etc/tokensvc/telnyx.key", "TELNYX_BASE_URL": telnyx.URL(),
		"TOKENSVC_OIDC_ISSUER": issuer.URL(), "TOKENSVC_OIDC_AUDIENCE": audience,
		"TOKENSVC_PROVISION_CONNECTION_ID": "1234567890", "TOKENSVC_PROVISION_INSTANCE": "image", "TOKENSVC_PROVISION_READY_AFTER": "0s",
	}, settings: settings, shareNetwork: true, calls: calls})
	process.Eventually(t, startLimit, "a token", func() error {
		serving := c.logged("serving")
		if serving == nil {
			return fmt.Errorf("it says %s", tail(c.says()))
		}
		return vend(t.Context(), fmt.Sprint("http://", serving["listen"]), issuer.Bearer("alice", nil))
	})
	if got := telnyx.Requests("create"); got != 1 {
		t.Errorf("Telnyx was asked for %d credentials, want 1", got)
	}
	c.stop(t)
	if strings.Contains(c.says(), apiKey) {
		t.Error("it wrote the API key")
	}
}

// vend asks for a token.
func vend(ctx context.Context, address, bearer string) error {
	body, err := ask(ctx, http.MethodPost, address+"/v1/token", http.Header{"Authorization": {"Bearer " + bearer}})
	if err != nil {
		return err
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" {
		return errors.New("there is no token in the answer")
	}
	return nil
}

// ask asks a server of this machine.
func ask(ctx context.Context, method, address string, header http.Header) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header = header
	client := &http.Client{Timeout: askLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", req.URL.Path, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, 64<<10))
}

// keySetOf fetches an issuer's keys.
func keySetOf(t *testing.T, issuer *oidctest.Issuer) string {
	t.Helper()
	keys, err := ask(t.Context(), http.MethodGet, issuer.URL()+"/keys", http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	return string(keys)
}
