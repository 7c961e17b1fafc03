package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/authz"
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
	s, err := newService(mustLoad(t, path, environ...), zerolog.Nop(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdleConnections)
	t.Cleanup(s.machine.Close)
	t.Cleanup(s.handler.Close)
	verifying(t, s)
	s.followRules(path, environ)

	ask := func(bearer string) int {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/token", nil)
		r.Header.Set("Authorization", "Bearer "+bearer)
		s.handler.ServeHTTP(w, r)
		return w.Code
	}
	follow := func(name, content string, wantChanged bool, wantErr string, wantAgent, wantLead int) {
		t.Helper()
		writeKey(t, path, content)
		o := s.followed[0].read()
		if o.changed != wantChanged || o.refused == nil != (wantErr == "") || o.refused != nil && !strings.Contains(o.refused.Error(), wantErr) {
			t.Errorf("%s: changed %v, %v, want %v, %s", name, o.changed, o.refused, wantChanged, wantErr)
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
		"  mode: observe":                            "issuers[0].require: is gone",
		"  require: {auth_time: {max_age: forever}}": ":7: issuers[0].require: max_age takes",
	} {
		follow(wrong, configured(wrong), false, want, 200, 403)
	}
	follow("another rule", configured("  require: {groups: {contains: leads}}"), true, "", 403, 200)
	follow("observed", configured(agents+"\n  mode: observe"), true, "", 200, 200)
	follow("observed, and another key", configured(agents+"\n  mode: observe\n  clock_skew: 31s"), false, "", 200, 200)
	follow("observed, and broken", configured("  require: {groups: {glob: []}}"), false, "glob takes", 200, 200)
	follow("enforced", configured(agents+"\n  mode: enforce"), true, "", 200, 403)
	follow("enforced by default", configured(agents), false, "", 200, 403)
	follow("observed, and the rule is gone", configured("  mode: observe"), false, "is gone", 200, 403)
	follow("observed again", configured(agents+"\n  mode: observe"), true, "", 200, 200)
	follow("its mode is gone", configured(agents), true, "", 200, 403)
	follow("no rule, which is meant", configured("  require: {}"), true, "", 200, 200)
}

// verifying runs what fetches the issuers' keys, until they are there.
func verifying(t *testing.T, s *service) {
	t.Helper()
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
}

// Whoever is no admin any more by the file is none, and no half of a file makes
// everybody one.
func TestRulesForAdminsFollowTheFileOrStay(t *testing.T) {
	issuer := oidctest.StartT(t, oidctest.Options{Audience: "softphone"})
	another := oidctest.StartT(t, oidctest.Options{Audience: "softphone"})
	folder := t.TempDir()
	configured := func(address, admin string) string {
		return fmt.Sprintf("directory: sqlite:%s/books.db\nissuers:\n- {name: main, issuer: %q, audience: softphone}\n%s\n", folder, address, admin)
	}
	const byAdmins = "admin: {issuer: main, require: {groups: [admins, owners]}}"
	path := configFile(t, configured(issuer.URL(), byAdmins))
	environ := []string{"TELNYX_API_KEY=" + telnyxtest.DefaultAPIKey}
	s, err := newService(mustLoad(t, path, environ...), zerolog.Nop(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.closeBooks)
	t.Cleanup(s.handler.Close)
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	verifying(t, s)
	s.followRules(path, environ)

	ask := func(group string) int {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/admin/v1/users", nil)
		r.Header.Set("Authorization", "Bearer "+issuer.Bearer("alice", map[string]any{"groups": []string{group}}))
		s.ops.ServeHTTP(w, r)
		return w.Code
	}
	for _, row := range []struct {
		says, content  string
		changed        bool
		refused        string
		waiting        []string
		admins, owners int
	}{
		{"the same", configured(issuer.URL(), byAdmins), false, "", nil, 200, 200},
		{"a group less", configured(issuer.URL(), "admin: {issuer: main, require: {groups: [owners]}}"), true, "", nil, 403, 200},
		{"ends before require", configured(issuer.URL(), "admin:\n  issuer: main"), false, "admin.require: is required", nil, 403, 200},
		{"nothing required", configured(issuer.URL(), "admin: {issuer: main, require: {}}"), false, "admin.require: ", nil, 403, 200},
		{"a mistake", configured(issuer.URL(), "admin: {issuer: main, require: {groups: {globs: '*'}}}"), false, "unknown operator", nil, 403, 200},
		{"ends before admin", configured(issuer.URL(), ""), false, "", []string{"admin.issuer"}, 403, 200},
		{"its issuer elsewhere", configured(another.URL(), byAdmins), false, "", []string{"issuers[0].issuer"}, 403, 200},
		{"as at first", configured(issuer.URL(), byAdmins), true, "", nil, 200, 200},
	} {
		writeKey(t, path, row.content)
		o := s.followed[len(s.followed)-1].read()
		if o.changed != row.changed || o.refused == nil != (row.refused == "") || !slices.Equal(o.waiting, row.waiting) ||
			o.refused != nil && !strings.Contains(o.refused.Error(), row.refused) {
			t.Errorf("%s: %+v, want %+v", row.says, o, row)
		}
		if a, b := ask("admins"), ask("owners"); a != row.admins || b != row.owners || ask("agents") != 403 {
			t.Errorf("%s: an admin gets %d, an owner %d, want %d, %d", row.says, a, b, row.admins, row.owners)
		}
	}
}

const twoIssuers = `directory: claim:a
issuers:
- {name: acme, issuer: https://a.example.com, audience: x, require: {groups: agents}}
- {name: partner, issuer: https://b.example.com, audience: x}
`

// What rules are in force once a file is read again, in a word for each issuer.
func TestRulesOfAFileThatIsReadAgain(t *testing.T) {
	const acme, partner = "- {name: acme, issuer: https://a.example.com, audience: x", "- {name: partner, issuer: https://b.example.com, audience: x"
	for _, row := range []struct {
		says    string
		issuers []string
		want    string // "acme's rules, partner's rules", or "refused"; with ? for those that are only observed
	}{
		{"nothing new", []string{acme + ", require: {groups: agents}}", partner + "}"}, "agents, none"},
		{"another rule", []string{acme + ", require: {groups: leads}}", partner + "}"}, "leads, none"},
		{"in another order", []string{partner + "}", acme + ", require: {groups: leads}}"}, "leads, none"},
		{"a first rule", []string{acme + ", require: {groups: agents}}", partner + ", require: {groups: x}}"}, "agents, x"},
		{"no rules any more", []string{acme + "}", partner + ", require: {groups: x}}"}, "refused"},
		{"none, and that is meant", []string{acme + ", require: {}}", partner + "}"}, "none, none"},
		{"none where there were none", []string{acme + ", require: {groups: agents}}", partner + ", require: {}}"}, "agents, none"},
		{"an issuer less", []string{partner + ", require: {groups: x}}"}, "agents, x"},
		{"an issuer elsewhere", []string{"- {name: acme, issuer: https://c.example.com, audience: x, require: {groups: leads}}", partner + "}"}, "agents, none"},
		{"an issuer of another name", []string{"- {name: other, issuer: https://a.example.com, audience: x}", partner + "}"}, "agents, none"},
		{"a mode", []string{acme + ", require: {groups: leads}, mode: observe}", partner + ", mode: observe}"}, "leads?, none?"},
		{"a mode, and no rules any more", []string{acme + ", mode: observe}", partner + "}"}, "refused"},
		{"an issuer more", []string{acme + ", require: {groups: leads}}", partner + "}", "- {name: new, issuer: https://c.example.com, audience: x}"}, "leads, none"},
	} {
		running := mustLoad(t, configFile(t, twoIssuers), enough[0]).Issuers
		next := mustLoad(t, configFile(t, "directory: claim:a\nissuers:\n"+strings.Join(row.issuers, "\n")), enough[0])
		issuers, err := withRules(running, next.Issuers)
		got := "refused"
		if err == nil {
			var each []string
			for _, i := range issuers {
				rules := "none"
				if len(i.Require) > 0 {
					rules, _ = i.Require[0].AnyOf[0].(string)
				}
				if i.Mode == authz.ModeObserve {
					rules += "?"
				}
				each = append(each, rules)
			}
			got = strings.Join(each, ", ")
		}
		if got != row.want {
			t.Errorf("%s: %s (%v), want %s", row.says, got, err, row.want)
		}
	}
}

func TestKeysThatDiffer(t *testing.T) {
	base := mustLoad(t, configFile(t, twoIssuers), enough[0])
	for text, want := range map[string][]string{
		twoIssuers: nil,
		strings.ReplaceAll(twoIssuers, "agents", "leads"):                                          nil, // that is a rule
		twoIssuers + "limits: {in_flight: 7}\ntrusted_proxies: [10.0.0.0/8]\nlog: {level: warn}\n": {"trusted_proxies", "limits.in_flight", "log.level"},
		strings.ReplaceAll(twoIssuers, "audience: x}", "audience: y}"):                             {"issuers[1].audience"},
		strings.ReplaceAll(twoIssuers, "claim:a", "claim:b"):                                       {"directory"},
		twoIssuers + "- {name: new, issuer: https://c.example.com, audience: x}\n":                 {"issuers"},
		strings.ReplaceAll(twoIssuers, "agents}", "agents}, mode: observe"):                        nil, // how rules are meant
		twoIssuers + "limits: {in_flight: 1024}\ncors: {origins: []}\n":                            nil, // as by default
	} {
		next, problems := loadAlone(configFile(t, text), enough[:1])
		if got := differing(base, next); !slices.Equal(got, want) || len(problems) > 0 {
			t.Errorf("%s: %v %v, want %v", text, got, problems, want)
		}
	}
}

// Everything of an issuer's that takes a restart is told, and none of the files
// that it names is opened for that: there are none.
func TestKeysOfAnIssuerThatDiffer(t *testing.T) {
	const entry = "directory: claim:a\nissuers:\n- {name: a, issuer: https://a.example.com, audience: x}\n"
	running := mustLoad(t, configFile(t, entry+"- {name: b, issuer: https://b.example.com, audience: x}\n"), enough[0])
	for added, want := range map[string]string{
		"issuer: https://b.example.com, audience: x, introspection: {client_id: b, client_secret_file: none, endpoint: https://b.example.com/i, cache: 1m}": "client_id client_secret_file endpoint cache",
		"issuer: https://b.example.com, audience: x, introspection: {client_id: b, private_key_file: none}":                                                 "client_id private_key_file",
		"issuer: https://b.example.com, audience: x, source: 'header:X-Token', audience_claim: azp, keys: file:none":                                        "source audience_claim keys",
		"proxy: {networks: [10.0.0.0/8], secret_file: none, secret_header: X-Secret, headers: {sub: X-User, email: X-Email}, lists: [email]}":               "issuer audience networks secret_file secret_header headers lists",
	} {
		next, problems := loadAlone(configFile(t, entry+"- {name: b, "+added+"}\n"), enough[:1])
		var got []string
		for _, key := range differing(running, next) {
			got = append(got, key[strings.LastIndex(key, ".")+1:])
		}
		if strings.Join(got, " ") != want || len(problems) > 0 {
			t.Errorf("%s: %v %v, want %s", added, got, problems, want)
		}
	}
	next, problems := loadAlone(configFile(t, "public_url: https://t.example.com\ndpop_nonce_key_file: none\nproxy_listen: :81\n"+
		"proxy_tls: {cert_file: none, key_file: none, client_ca_file: none}\n"+entry+
		"- {name: b, proxy: {networks: [10.0.0.0/8], client_names: [b]}}\n"), enough[:1])
	want := []string{
		"proxy_listen", "proxy_tls.cert_file", "proxy_tls.key_file", "proxy_tls.client_ca_file", "public_url", "dpop_nonce_key_file",
		"issuers[1].issuer", "issuers[1].audience", "issuers[1].proxy.networks", "issuers[1].proxy.client_names",
	}
	if got := differing(running, next); !slices.Equal(got, want) || len(problems) > 0 {
		t.Errorf("%v %v, want %v", got, problems, want)
	}
}
