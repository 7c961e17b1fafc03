package reliability_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	audience = "softphone"
	apiKey   = "KEYofareliabilitytest"
)

// A group is people who are alike in what the service has for them.
type group string

const (
	// holders have a token kept for them, with most of its life left.
	holders group = "holder"
	// agers have one kept that is to be replaced: it is handed out only while
	// Telnyx gives no other.
	agers group = "ager"
	// newcomers have none. Each asks once.
	newcomers group = "newcomer"
)

const (
	howManyHolders = 20
	howManyAgers   = 10

	// minLife makes a token of an ager's, which lasts for agerLife, due after
	// about two seconds, and anybody else's, which last a day, after 7 minutes.
	// The ager's token may be handed out at need for two minutes.
	minLife  = 0.995
	agerLife = 7 * time.Minute
	agerDue  = 2200 * time.Millisecond
)

// setup says how a world differs from the usual one.
type setup struct {
	telnyx    telnyxtest.Options
	env       map[string]string
	replicas  int
	movable   bool     // with a clock that can be moved and a name server of ours
	tls       bool     // Telnyx has a name and a certificate
	redis     bool     // tokens are shared in one
	behind    []string // words of a program that starts the service
	newcomers int
	noAgers   bool // whose tokens would not outlast the moving of clocks
	// prepare is called before the service starts.
	prepare func(t *testing.T, w *world)
}

// world is a service and what it needs.
type world struct {
	setup
	dir         string
	clock       *clock
	began       time.Time
	issuer      *oidctest.Issuer
	telnyx      *telnyxtest.Server
	line        *line // to Telnyx
	authority   *authority
	redis       *redistest.Server
	redisLine   *line
	names       *names
	services    []*instance
	former      []*instance // that were killed
	urls        []string    // of the services, and of those in their place later
	credentials map[string]string
	bearers     map[string]string // of holders and agers
	vars        map[string]string
}

func newWorld(t *testing.T, o setup) *world {
	t.Helper()
	if o.telnyx.APIKey == "" {
		o.telnyx.APIKey = apiKey
	}
	if o.newcomers == 0 {
		o.newcomers = int((*faultLasts + time.Minute).Seconds()) * rate() / 2
	}
	dir := t.TempDir()
	clock := newClock(t, dir)
	o.telnyx.Now = clock.now
	w := &world{
		setup: o, dir: dir, clock: clock, began: time.Now(), credentials: map[string]string{}, bearers: map[string]string{},
		issuer: oidctest.StartT(t, oidctest.Options{Audience: audience, Life: 48 * time.Hour}),
		telnyx: telnyxtest.StartT(t, o.telnyx),
	}
	w.line = newLine(t, hostPort(w.telnyx.URL()))
	w.vars = map[string]string{
		"TELNYX_API_KEY":                  o.telnyx.APIKey,
		"TELNYX_BASE_URL":                 "http://" + w.line.addr + "/v2",
		"TOKENSVC_OIDC_ISSUER":            w.issuer.URL(),
		"TOKENSVC_OIDC_AUDIENCE":          audience,
		"TOKENSVC_DIRECTORY":              "file:" + w.addPeople(t),
		"TOKENSVC_VENDING_MIN_LIFE":       fmt.Sprint(minLife),
		"TOKENSVC_LIMITS_USER_PER_MINUTE": "60000",
		"TOKENSVC_LIMITS_USER_BURST":      "10000",
	}
	if !thorough() {
		w.vars["TELNYX_TIMEOUT"] = "3s"
	}
	if o.tls {
		w.authority = newAuthority(t)
		w.line.certificate.Store(w.authority.issue(t, time.Now().Add(time.Hour)))
		w.names = startNames(t)
		_, port, _ := strings.Cut(w.line.addr, ":")
		w.vars["TELNYX_BASE_URL"] = "https://" + telnyxName + ":" + port + "/v2"
		w.vars["SSL_CERT_FILE"], w.vars["TEST_NAME_SERVER"] = w.authority.file, w.names.addr()
	}
	if o.redis {
		w.redis = redistest.StartT(t)
		w.redisLine = newLine(t, w.redis.Addr())
		key := filepath.Join(dir, "cache.keys")
		writeFile(t, key, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))+"\n")
		w.vars["TOKENSVC_CACHE"], w.vars["TOKENSVC_CACHE_KEY_FILE"] = "redis://"+w.redisLine.addr, key
	}
	if o.movable {
		w.vars["TEST_CLOCK_FILE"] = w.clock.file
	}
	if o.prepare != nil {
		o.prepare(t, w)
	}
	maps.Copy(w.vars, o.env)
	for range max(o.replicas, 1) {
		p := w.start(t)
		w.services, w.urls = append(w.services, p), append(w.urls, p.Listen)
	}
	return w
}

// start starts one more service.
func (w *world) start(t *testing.T) *instance {
	t.Helper()
	program := binary
	if w.movable || w.tls {
		program = movable
	}
	return startInstance(t, program, w.vars, w.behind...)
}

// restart starts a service anew in the place, and at the addresses, of one that is gone.
func (w *world) restart(t *testing.T, n int) {
	t.Helper()
	gone := w.services[n]
	w.former = append(w.former, gone)
	w.vars["TOKENSVC_LISTEN"], w.vars["TOKENSVC_OPS_LISTEN"] = hostPort(gone.Listen), hostPort(gone.Ops)
	w.services[n] = w.start(t)
}

// addPeople gives everybody a credential, and returns the path of the users file.
func (w *world) addPeople(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("users:\n")
	for _, g := range []struct {
		group
		people int
		life   time.Duration
	}{{holders, howManyHolders, 0}, {agers, howManyAgers, agerLife}, {newcomers, w.newcomers, 0}} {
		for n := range g.people {
			c := telnyxtest.Credential{}
			if g.life > 0 {
				c.ExpiresAt = time.Now().Add(g.life)
			}
			user := g.name(n)
			w.credentials[user] = w.telnyx.AddCredential(c)
			fmt.Fprintf(&b, "  %s: %s\n", user, w.credentials[user])
			if g.group != newcomers {
				w.bearers[user] = w.issuer.Bearer(user, nil)
			}
		}
	}
	path := filepath.Join(w.dir, "users.yaml")
	writeFile(t, path, b.String())
	return path
}

func (g group) name(n int) string { return fmt.Sprintf("%s-%d", g, n) }

// groupOf is whose name it is.
func groupOf(user string) group {
	g, _, _ := strings.Cut(user, "-")
	return group(g)
}

// bearer is what somebody shows.
func (w *world) bearer(user string) string {
	if kept := w.bearers[user]; kept != "" {
		return kept
	}
	return w.issuer.Bearer(user, nil)
}

// writeFile replaces a file as a careful program does, whole.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}
