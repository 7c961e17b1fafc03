package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// A file with a rule that cannot be read must not let in whom the rule before
// refused, nor refuse whom it let in.
func TestRulesFollowTheFileOrStay(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone"})
	upstream := telnyxtest.StartT(t, telnyxtest.Options{})
	of := func(group string) string {
		claims := map[string]any{"groups": []string{group}, "telnyx": upstream.AddCredential(telnyxtest.Credential{})}
		return issuer.Bearer(group, claims)
	}
	agent, lead := of("agents"), of("leads")
	configured := func(more string) string {
		return fmt.Sprintf("telnyx: {base_url: %q}\ndirectory: claim:telnyx\nlimits: {user_burst: 1000}\nissuers:\n- issuer: %q\n  audience: softphone\n%s\n",
			upstream.URL(), issuer.URL(), more)
	}
	const agents = "  require: {groups: {glob: 'agent*'}}"
	path := configFile(t, configured(agents))
	environ := []string{"TELNYX_API_KEY=" + telnyxtest.DefaultAPIKey}
	s, err := newService(mustLoad(t, path, environ...), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdleConnections)
	t.Cleanup(s.machine.Close)
	t.Cleanup(s.handler.Close)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.verifier.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	for !s.verifier.Ready() {
		select {
		case <-t.Context().Done():
			t.Fatal("the issuer's keys have not come")
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.followRules(path, environ)

	ask := func(bearer string) int {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil)
		r.Header.Set("Authorization", "Bearer "+bearer)
		s.handler.ServeHTTP(w, r)
		return w.Code
	}
	follow := func(name, content string, wantChanged bool, wantErr string, wantAgent, wantLead int) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		changed, err := s.reloads[0].again()
		if changed != wantChanged || err == nil != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%s: changed %v, %v, want %v, %s", name, changed, err, wantChanged, wantErr)
		}
		if a, l := ask(agent), ask(lead); a != wantAgent || l != wantLead {
			t.Errorf("%s: an agent gets %d, a lead %d, want %d, %d", name, a, l, wantAgent, wantLead)
		}
	}
	follow("the same", configured(agents), false, "", 200, 403)
	for wrong, want := range map[string]string{
		"  require: {groups: {globs: '*'}}":          ":7: issuers[0].require: has an unknown operator",
		"  require: {groups: {glob: 7}}":             ":7: issuers[0].require: glob takes",
		"  require: {groups: {glob: []}}":            ":7: issuers[0].require: glob takes",
		"  require: {groups: {any_of: []}}":          ":7: issuers[0].require: any_of takes",
		"  require: {groups: {}}":                    ":7: issuers[0].require: has a claim without an operator",
		"  require:":                                 ":7: issuers[0].require: has no value",
		"  mode: observed":                           ":7: issuers[0].mode: must be one of enforce, observe",
		"  mode: observe\n  require: {groups: ~}":    ":8: issuers[0].require: must be",
		"  mode: observe\n  audience: softphone":     ":8: issuers[0].audience: is there twice",
		"  mode: observe\n  clock_skew: 31s":         "restart",
		"  require: {auth_time: {max_age: forever}}": ":7: issuers[0].require: max_age takes",
	} {
		follow(wrong, configured(wrong), false, want, 200, 403)
	}
	follow("another rule", configured("  require: {groups: {contains: leads}}"), true, "", 403, 200)
	follow("observed", configured(agents+"\n  mode: observe"), true, "", 200, 200)
	follow("observed, and broken", configured("  require: {groups: {glob: []}}"), false, "glob takes", 200, 200)
	follow("enforced", configured(agents+"\n  mode: enforce"), true, "", 200, 403)
	follow("enforced by default", configured(agents), false, "", 200, 403)
}
