// Package audit_test holds the built service to what docs/audit.md promises of its
// records, while everything goes wrong that can.
package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tokensvc/tokensvc/bench/load"
	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

var decisions = flag.Int("decisions", 100_000, "how many there are in the longest test")

// binary is the service, with a clock that panics where a test wants it to.
var binary string

func TestMain(m *testing.M) {
	process.Main(0, func(dir string) (code int, err error) {
		overlay, err := process.Overlay(dir, "testdata/clock.go")
		if err != nil {
			return 0, err
		}
		if binary, err = process.Build(dir, overlay); err != nil {
			return 0, err
		}
		return m.Run(), nil
	})
}

const (
	claim    = "telnyx"
	audience = "softphone"
	crowd    = 32 // callers at once
	people   = 50
)

// world is a service with its records, and people who want tokens of it.
type world struct {
	*process.Process
	t       *testing.T
	folder  string
	records string
	bearers []string
	forged  string
}

// start starts a service whose environment has these variables too.
func start(t *testing.T, env map[string]string, behind ...string) *world {
	t.Helper()
	w := &world{t: t, folder: t.TempDir()}
	w.records = filepath.Join(w.folder, "audit.jsonl")
	issuer := oidctest.StartT(t, oidctest.Options{Audience: audience})
	upstream := telnyxtest.StartT(t, telnyxtest.Options{})
	for i := range people {
		w.bearers = append(w.bearers, issuer.Bearer(fmt.Sprint("user-", i), map[string]any{claim: upstream.AddCredential(telnyxtest.Credential{})}))
	}
	at := strings.LastIndexByte(w.bearers[0], '.') + 20
	w.forged = w.bearers[0][:at] + strings.Repeat("A", len(w.bearers[0])-at)
	all := map[string]string{
		"TELNYX_API_KEY": telnyxtest.DefaultAPIKey, "TELNYX_BASE_URL": upstream.URL(),
		"TOKENSVC_OIDC_ISSUER": issuer.URL(), "TOKENSVC_OIDC_AUDIENCE": audience, "TOKENSVC_DIRECTORY": "claim:" + claim,
		"TOKENSVC_LIMITS_USER_PER_MINUTE": "60000", "TOKENSVC_LIMITS_USER_BURST": "10000",
		"TOKENSVC_AUDIT_FILE": w.records,
	}
	for name, value := range env {
		all[name] = value
	}
	w.Process = process.Command{Binary: binary, Env: all, Behind: behind}.Launch(t)
	w.AwaitReady(t)
	return w
}

// request is one by somebody, or by nobody or a forger at times.
func (w *world) request(n int) []byte {
	bearer := w.bearers[n%people]
	switch n % 10 {
	case 3:
		bearer = w.forged
	case 7:
		bearer = "none"
	}
	host := strings.TrimPrefix(w.Listen, "http://")
	return bytes.Replace(load.Post(host, "/v1/token", bearer, ""), []byte("Accept:"), fmt.Appendf(nil, "X-Request-Id: r%d\r\nAccept:", n), 1)
}

// answers are the outcomes that callers were told, by the request's id.
type answers struct {
	mu       sync.Mutex
	outcomes map[string]string
}

func (a *answers) count(outcome string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.outcomes {
		if o == outcome {
			n++
		}
	}
	return n
}

// take notes an answer down.
func (a *answers) take(got load.Answer) error {
	var body struct {
		Token, Code string
		RequestID   string `json:"request_id"`
	}
	if err := json.Unmarshal(got.Body, &body); err != nil {
		return fmt.Errorf("%w: %d %.200s", err, got.Status, got.Body)
	}
	if body.Token != "" {
		body.Code = "issued"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.outcomes == nil {
		a.outcomes = map[string]string{}
	}
	if _, twice := a.outcomes[body.RequestID]; twice {
		return fmt.Errorf("%s was answered twice", body.RequestID)
	}
	a.outcomes[body.RequestID] = body.Code
	return nil
}

// ask makes the requests from one number up to another. What is answered is in what it
// returns, also if the service goes away meanwhile.
func (w *world) ask(into *answers, from, to int) error {
	plan := load.Plan{Address: strings.TrimPrefix(w.Listen, "http://"), From: netip.Addr{}, Connections: crowd, Check: into.take}
	for n := from; n < to; n++ {
		plan.Requests = append(plan.Requests, w.request(n))
	}
	_, err := load.Once(context.WithoutCancel(w.t.Context()), plan)
	return err
}

// recorded are the outcomes in the records of these files, by the request's id. Each has
// one.
func (w *world) recorded(files ...string) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var r struct {
				Outcome   string
				RequestID string `json:"request_id"`
				What      string
			}
			if err := json.Unmarshal(line, &r); err != nil {
				w.t.Errorf("%v: %q", err, line)
			}
			if r.What != "token" {
				continue
			}
			if _, twice := all[r.RequestID]; twice {
				w.t.Errorf("%s has two records", r.RequestID)
			}
			all[r.RequestID] = r.Outcome
		}
	}
	return all
}

// wantSame wants a record of each answer, with its outcome.
func (w *world) wantSame(a *answers, recorded map[string]string) {
	w.t.Helper()
	wrong := 0
	for id, outcome := range a.outcomes {
		if recorded[id] != outcome {
			if wrong++; wrong < 5 {
				w.t.Errorf("%s was answered %s, and recorded as %q", id, outcome, recorded[id])
			}
		}
	}
	if wrong > 0 {
		w.t.Errorf("%d of %d answers have no such record", wrong, len(a.outcomes))
	}
}

// verify runs `tokensvc audit verify`.
func (w *world) verify(files ...string) (status int, said string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), binary, append([]string{"audit", "verify"}, files...)...)
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		w.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// wantWhole wants verify to find so many records, and nothing amiss.
func (w *world) wantWhole(records int, files ...string) {
	w.t.Helper()
	status, said := w.verify(files...)
	if status != 0 || !strings.Contains(said, fmt.Sprintf("✓ %d records in 1 run: 0 missing, 0 lost\n", records)) {
		w.t.Errorf("status %d, want 0 and %d records:\n%s", status, records, said)
	}
}
