package e2e_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// checkup is a lab that has nothing wrong with it, for tests that break one
// thing.
type checkup struct {
	*lab
	t      *testing.T
	config string // of the issuers, a file
	env    []string
}

const checkedSecret = "what-only-we-and-the-issuer-know"

func newCheckup(t *testing.T) *checkup {
	t.Helper()
	l := newLab(t, telnyxtest.Options{APIKey: markKey}, "alice", "bob")
	l.issuer.Register(oidctest.Client{ID: "tokensvc", Secret: checkedSecret})
	c := &checkup{lab: l, t: t, config: filepath.Join(t.TempDir(), "tokensvc.yaml")}
	for name, value := range map[string]string{"secret": checkedSecret, "proxy.secret": proxySecret, "api.key": markKey} {
		writeFile(t, c.file(name), value+"\n")
	}
	writeFile(t, c.file("users.yaml"), "users: {\"main:alice\": "+l.credentials["alice"]+", \"asked:bob\": "+l.credentials["bob"]+"}\n")
	writeFile(t, c.config, `listen: 127.0.0.1:0
ops_listen: 127.0.0.1:0
telnyx: {api_key_file: api.key, base_url: "`+l.telnyx.URL()+`"}
directory: file:users.yaml
issuers:
  - {name: main, issuer: "`+l.issuer.URL()+`", audience: softphone}
  - name: asked
    issuer: `+strings.Replace(l.issuer.URL(), "127.0.0.1", "localhost", 1)+`
    audience: softphone
    introspection: {client_id: tokensvc, client_secret_file: secret, endpoint: "`+l.issuer.URL()+`/introspect"}
  - name: sso
    proxy: {networks: [127.0.0.0/8, 10.1.0.0/16], secret_file: proxy.secret}
`)
	return c
}

func (c *checkup) file(name string) string { return filepath.Join(filepath.Dir(c.config), name) }

// report is what check says in JSON.
type report struct {
	OK    bool
	Parts []struct {
		Part, Detail, Do string
		OK               bool
	}
	status int
}

func (c *checkup) check(args ...string) report {
	c.t.Helper()
	got := feed(c.t, c.env, "", append([]string{"check", "--json", "-config", c.config}, args...)...)
	r := report{status: got.status}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.stderr != "" {
		c.t.Fatalf("status %d, %v: %s%s", got.status, err, got.stdout, got.stderr)
	}
	if r.OK != (r.status == 0) {
		c.t.Errorf("status %d, ok: %v", r.status, r.OK)
	}
	c.wantNoSecret(got)
	return r
}

func (c *checkup) wantNoSecret(got done) {
	c.t.Helper()
	for _, secret := range []string{markKey, checkedSecret, proxySecret} {
		if strings.Contains(got.stdout+got.stderr, secret) {
			c.t.Errorf("%s is shown in %s%s", secret, got.stdout, got.stderr)
		}
	}
	if strings.Contains(got.stdout, "\x1b") {
		c.t.Errorf("colours, or worse: %q", got.stdout)
	}
}

// amiss are the parts that are not in order.
func (r report) amiss() map[string]string {
	all := map[string]string{}
	for _, p := range r.Parts {
		if !p.OK {
			all[p.Part] += p.Detail + " => " + p.Do
		}
	}
	return all
}

func TestCheckWhenAllIsWell(t *testing.T) {
	c := newCheckup(t)
	r := c.check()
	var got []string
	for _, p := range r.Parts {
		got = append(got, p.Part+" "+p.Detail+p.Do)
	}
	want := []string{
		"configuration in order",
		"issuer main: discovery of " + c.issuer.URL(),
		"issuer main: keys 1 usable, for ES256",
		"issuer asked: introspection accepts our client credentials",
		"issuer sso: proxy believed from 127.0.0.0/8, 10.1.0.0/16 with the secret of its file",
		"directory file: 2 users",
		"telnyx accepts the API key; credentials in the account: 2",
		"ops_listen 127.0.0.1:0: a free port is chosen at the start",
		"listen 127.0.0.1:0: a free port is chosen at the start",
		"audit to standard output",
	}
	if diff := cmp.Diff(want, got); diff != "" || !r.OK || r.status != 0 {
		t.Errorf("status %d: %s", r.status, diff)
	}
	if n := c.telnyx.Requests(telnyxtest.List); n != 1 {
		t.Errorf("%d lists of credentials, want 1", n)
	}

	text := feed(t, append(c.env, "NO_COLOR=1"), "", "check", "-config", c.config)
	if text.status != 0 || strings.Count(text.stdout, "✓") != len(want) || strings.Contains(text.stdout, "✗") {
		t.Errorf("%+v", text)
	}
	c.wantNoSecret(text)
}

func TestCheckWithOnePartBroken(t *testing.T) {
	failing := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, markAnswer, http.StatusBadGateway) }
	onTelnyx := func(f telnyxtest.Fault) func(*checkup) {
		return func(c *checkup) { f.Mark = markAnswer; c.telnyx.Inject(f) }
	}
	for name, row := range map[string]struct {
		breaks func(c *checkup)
		part   string
		want   []string // in what is said of it
	}{
		"discovery": {
			func(c *checkup) { c.issuer.Break(failing) }, "issuer main: discovery",
			[]string{"status 502", "/.well-known/openid-configuration can be fetched"},
		},
		"the keys": {
			func(c *checkup) {
				replaceIn(c, "audience: softphone}", "audience: softphone, algorithms: [RS256]}")
			}, "issuer main: keys",
			[]string{"no key for an accepted algorithm", "issuers[].algorithms"},
		},
		"keys at another address": {
			func(c *checkup) {
				replaceIn(c, "audience: softphone}", `audience: softphone, keys: "`+c.issuer.URL()+`/none"}`)
			}, "issuer main: keys",
			[]string{"status 404", "can be fetched from here"},
		},
		"the client's secret": {
			func(c *checkup) { writeFile(c.t, c.file("secret"), "another") }, "issuer asked: introspection",
			[]string{"it does not accept our client credentials (status 401)", "client_id and the secret"},
		},
		"introspection": {
			func(c *checkup) { c.issuer.BreakIntrospection(failing) }, "issuer asked: introspection",
			[]string{"status 502", "introspection.endpoint"},
		},
		"introspection that says yes to all": {
			func(c *checkup) {
				c.issuer.BreakIntrospection(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"active":true}`)) })
			}, "issuer asked: introspection",
			[]string{"active which nobody has issued", "introspection.endpoint"},
		},
		"the API key": {
			func(c *checkup) { writeFile(c.t, c.file("api.key"), "KEYother") }, "telnyx",
			[]string{"does not accept the API key", "status 401", "the file of telnyx.api_key_file"},
		},
		"Telnyx's limit": {
			onTelnyx(telnyxtest.Fault{Status: 429, RetryAfter: "60"}), "telnyx",
			[]string{"limits the rate", "wait a minute"},
		},
		"Telnyx": {
			onTelnyx(telnyxtest.Fault{Status: 500, Shape: telnyxtest.HTML}), "telnyx",
			[]string{"telnyx is unavailable", "can be reached from here"},
		},
		"no Telnyx": {
			func(c *checkup) { c.telnyx.Close() }, "telnyx",
			[]string{"connection refused", "can be reached from here"},
		},
		"something else for Telnyx": {
			onTelnyx(telnyxtest.Fault{Status: 200, Shape: telnyxtest.HTML}), "telnyx",
			[]string{"cannot be used", "is the address of Telnyx's API"},
		},
		"an address that is taken": {
			func(c *checkup) { listenAt(c, "listen: 127.0.0.1:0\nops", "127.0.0.1") }, "listen",
			[]string{"the address is taken", "choose an address"},
		},
		"an address of another machine": {
			func(c *checkup) { replaceIn(c, "ops_listen: 127.0.0.1:0", "ops_listen: 192.0.2.1:9090") }, "ops_listen",
			[]string{"the address is not one of this machine's", "choose an address"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckup(t)
			row.breaks(c)
			r := c.check()
			amiss := r.amiss()
			if r.status != 1 || len(amiss) != 1 {
				t.Fatalf("status %d: %v", r.status, amiss)
			}
			for _, want := range row.want {
				if !strings.Contains(amiss[row.part], want) {
					t.Errorf("%q is not in %q", want, amiss)
				}
			}
			if strings.Contains(amiss[row.part], markAnswer) {
				t.Errorf("somebody else's words: %s", amiss[row.part])
			}
		})
	}
}

// replaceIn changes the configuration file.
func replaceIn(c *checkup, old, text string) {
	c.t.Helper()
	was, err := os.ReadFile(c.config)
	content := string(was)
	if err != nil || strings.Count(content, old) != 1 {
		c.t.Fatalf("%q is not there once", old)
	}
	writeFile(c.t, c.config, strings.Replace(content, old, text, 1))
}

// listenAt has somebody else listen where the setting then says.
func listenAt(c *checkup, old, host string) {
	c.t.Helper()
	l, err := new(net.ListenConfig).Listen(c.t.Context(), "tcp", host+":0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = l.Close() })
	replaceIn(c, old, strings.Replace(old, "127.0.0.1:0", l.Addr().String(), 1))
}

// What serve would not start with is all that is said, and nobody is asked.
func TestCheckOfAWrongConfiguration(t *testing.T) {
	for name, row := range map[string]struct {
		breaks func(c *checkup)
		want   []string // in the problems, in order
	}{
		"the file": {
			func(c *checkup) { replaceIn(c, "listen: 127.0.0.1:0\nops_listen", "listen: 8080\nops_listn") },
			[]string{"listen: has the wrong type", "unknown key"},
		},
		"a user": {
			func(c *checkup) {
				writeFile(c.t, c.file("users.yaml"), "users: {\"main:alice\": "+markKey+", \"main:bob\": 7}\n")
			},
			[]string{"a credential is a UUID", "a credential is a UUID"},
		},
		"the secret of the proxy": {
			func(c *checkup) { writeFile(c.t, c.file("proxy.secret"), "short") },
			[]string{"proxy.secret_file: the proxy's secret must have at least 16 bytes"},
		},
		"the file of keys": {
			func(c *checkup) { replaceIn(c, "audience: softphone}", "audience: softphone, keys: 'file:keys.json'}") },
			[]string{"no such file"},
		},
	} {
		c := newCheckup(t)
		row.breaks(c)
		r := c.check()
		if r.status != 2 || len(r.Parts) != len(row.want) {
			t.Errorf("%s: status %d: %+v", name, r.status, r.Parts)
			continue
		}
		for n, want := range row.want {
			if p := r.Parts[n]; p.Part != "configuration" || p.OK || !strings.Contains(p.Detail, want) {
				t.Errorf("%s: %+v, want %q", name, p, want)
			}
		}
		if n := c.telnyx.Connections() + c.issuer.KeyFetches() + c.issuer.Introspections(); n != 0 {
			t.Errorf("%s: somebody was asked", name)
		}
		text := feed(t, c.env, "", "check", "-config", c.config)
		if text.status != 2 || strings.Count(text.stdout, "✗") != len(row.want) || strings.Contains(text.stdout, "✓") {
			t.Errorf("%s: %+v", name, text)
		}
		c.wantNoSecret(text)
	}
	for _, args := range [][]string{{"-timeout", "0s"}, {"-timeout", "1h"}, {"-timeout", "x"}, {"all"}} {
		if got := feed(t, nil, "", append([]string{"check"}, args...)...); got.status != 2 || got.stdout != "" || got.stderr == "" {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// Whoever does not answer is waited for no longer than all of it may take.
func TestCheckEndsInTime(t *testing.T) {
	c := newCheckup(t)
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	c.issuer.Break(hang)
	c.issuer.BreakIntrospection(hang)
	c.telnyx.Inject(telnyxtest.Fault{Shape: telnyxtest.Hang})
	began := time.Now()
	r := c.check("-timeout", "500ms")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if amiss := r.amiss(); len(amiss) != 3 || !strings.Contains(amiss["telnyx"], "in time") {
		t.Errorf("%v", amiss)
	}
}

// Beside a service that runs, its addresses are taken as they must be.
func TestCheckBesideTheService(t *testing.T) {
	c := newCheckup(t)
	s := startService(t, nil, "-config", c.config)
	address := func(url string) string { return strings.TrimPrefix(url, "http://") }
	replaceIn(c, "listen: 127.0.0.1:0\nops_listen: 127.0.0.1:0", "listen: "+address(s.Listen)+"\nops_listen: "+address(s.Ops))
	if r := c.check(); !r.OK || r.status != 0 {
		t.Errorf("%+v", r.amiss())
	}
	// That one runs is no excuse for who else is in another place.
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	defer other.Close()
	replaceIn(c, "listen: "+address(s.Listen), "listen: "+address(other.URL))
	if r := c.check(); r.OK || len(r.amiss()) != 1 || !strings.Contains(r.amiss()["listen"], "the address is taken") {
		t.Errorf("%+v", r.amiss())
	}
}
