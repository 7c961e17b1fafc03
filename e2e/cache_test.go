package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	sealingKey    = "TUFSS0VELXNlYWxpbmctbm90LWEtcmVhbC1rZXktMDA="
	newSealingKey = "TUFSS0VELXNlYWxpbmctdGhlLW5leHQta2V5LTAwMDA="
	redisPassword = "MARKED-redis-password"
)

// shared is a lab with a Redis, which its replicas share.
type sharedLab struct {
	*lab
	redis *redistest.Server
	keys  string // path of the file
}

// newShared makes one whose Redis speaks TLS and wants a password.
func newShared(t *testing.T, o telnyxtest.Options, users ...string) *sharedLab {
	t.Helper()
	l := &sharedLab{
		lab:   newLab(t, o, users...),
		redis: redistest.StartWithT(t, redistest.Options{Password: redisPassword, TLS: true}),
		keys:  filepath.Join(t.TempDir(), "sealing.keys"),
	}
	writeFile(t, l.keys, sealingKey+"\n")
	password := filepath.Join(t.TempDir(), "redis.password")
	writeFile(t, password, redisPassword+"\n")
	l.env = l.with(
		setting{"TOKENSVC_CACHE", l.redis.URL()},
		setting{"TOKENSVC_CACHE_KEY_FILE", l.keys},
		setting{"TOKENSVC_CACHE_PASSWORD_FILE", password},
		setting{"SSL_CERT_FILE", l.redis.CAFile()},
	)
	return l
}

// replica starts a service that has reached the Redis.
func (l *sharedLab) replica(t *testing.T, settings ...setting) *service {
	t.Helper()
	s := startService(t, l.with(settings...))
	s.hide(sealingKey)
	s.hide(redisPassword)
	process.Eventually(t, 10*time.Second, "the Redis reached", func() error {
		if n := len(s.Logged("the shared cache answers")); n == 0 {
			return fmt.Errorf("the log does not say so")
		}
		return nil
	})
	return s
}

func TestManyCallersOfTwoReplicasCostOneMint(t *testing.T) {
	l := newShared(t, telnyxtest.Options{Latency: 300 * time.Millisecond}, "alice")
	bearer := l.issuer.Bearer("alice", nil)
	var asking sync.WaitGroup
	tokens := make(chan string, 128)
	for _, s := range []*service{l.replica(t), l.replica(t)} {
		s.hide(bearer)
		for range 64 {
			asking.Go(func() {
				got, err := call(t, s).try(t.Context(), bearing(bearer))
				if err != nil || got.status != http.StatusOK {
					t.Errorf("%v, %v", got, err)
				}
				tokens <- got.token()
			})
		}
	}
	asking.Wait()
	close(tokens)
	different := map[string]bool{}
	for token := range tokens {
		different[token] = true
	}
	if n := l.telnyx.Requests(telnyxtest.Token); n != 1 || len(different) != 1 {
		t.Errorf("%d mints, %d different tokens, want 1 and 1", n, len(different))
	}
}

func TestARestartedReplicaFindsWhatWasShared(t *testing.T) {
	l := newShared(t, telnyxtest.Options{}, "alice")
	bearer := l.issuer.Bearer("alice", nil)
	first := l.replica(t).ask(t, bearer)
	l.telnyx.Inject(telnyxtest.Fault{Shape: telnyxtest.Reset})
	again := l.replica(t)
	got := again.ask(t, bearer)
	if got.status != http.StatusOK || got.token() != first.token() {
		t.Errorf("got %v, want the token that another replica had minted", got)
	}
	if line := again.request(t, got.header.Get("X-Request-Id")); line["source"] != "shared" {
		t.Errorf("logged %v, want the source shared", line)
	}
}

// No secret and no person is to be found in the Redis, whoever reads all of it.
func TestNothingInTheRedisSaysAnything(t *testing.T) {
	l := newShared(t, telnyxtest.Options{TokenMark: marked}, "alice")
	s := l.replica(t, setting{"TOKENSVC_LIMITS_SCOPE", "shared"})
	bearer := l.issuer.Bearer("alice", nil)
	token := s.ask(t, bearer).token()
	if err := l.redis.Tell("CONFIG", "SET", "rdbcompression", "no"); err != nil { // which a dump would have else
		t.Fatal(err)
	}
	names, err := l.redis.Ask("KEYS", "*")
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(names)
	for _, name := range strings.Fields(strings.Trim(all, "[]")) {
		dump, err := l.redis.Ask("DUMP", name)
		if err != nil {
			t.Fatal(err)
		}
		all += fmt.Sprint(dump)
	}
	payload := strings.Split(token, ".")[1]
	for what, secret := range map[string]string{
		"the token": token, "its payload": payload, "the bearer": bearer, "the API key": apiKey, "the person": "alice", "the sealing key": sealingKey, "a mark": marked,
	} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is in the Redis", what)
		}
	}
	if !strings.Contains(all, "token") || len(all) < len(token) {
		t.Errorf("the Redis holds only %q: is the token in it at all?", all)
	}
}

func TestTheSealingKeyIsRotatedWithoutARestart(t *testing.T) {
	l := newShared(t, telnyxtest.Options{}, "alice", "bob")
	s := l.replica(t)
	alice := s.ask(t, l.issuer.Bearer("alice", nil)).token()
	for _, step := range []string{sealingKey + "\n" + newSealingKey, newSealingKey + "\n" + sealingKey} {
		s.whenChanged(t, "keys of the cache read again", func() { replaceFile(t, l.keys, step) })
	}
	bob := s.ask(t, l.issuer.Bearer("bob", nil)).token()

	other := l.replica(t) // which has both keys
	for user, token := range map[string]string{"alice": alice, "bob": bob} {
		if got := other.ask(t, l.issuer.Bearer(user, nil)); got.token() != token {
			t.Errorf("%s got %v, want the shared token", user, got)
		}
	}
	replaceFile(t, l.keys, newSealingKey)
	last := l.replica(t)
	if got := last.ask(t, l.issuer.Bearer("bob", nil)); got.token() != bob {
		t.Errorf("bob got %v, want the shared token", got)
	}
	if got := last.ask(t, l.issuer.Bearer("alice", nil)); got.status != http.StatusOK || got.token() == alice {
		t.Errorf("alice got %v, want a token that is not sealed with the key that is gone", got)
	}
}

// Users' rates are counted by all replicas together, if so wanted.
func TestSharedLimitsAreEverybodysOwnOnAllReplicas(t *testing.T) {
	l := newShared(t, telnyxtest.Options{}, "alice", "bob")
	settings := []setting{{"TOKENSVC_LIMITS_SCOPE", "shared"}, {"TOKENSVC_LIMITS_USER_BURST", "4"}, {"TOKENSVC_LIMITS_USER_PER_MINUTE", "1"}}
	one, other := l.replica(t, settings...), l.replica(t, settings...)
	alice := l.issuer.Bearer("alice", nil)
	for n, s := range []*service{one, other, one, other} {
		if got := s.ask(t, alice); got.status != http.StatusOK {
			t.Errorf("request %d: %v, want a token", n, got)
		}
	}
	wantProblem(t, one.ask(t, alice), http.StatusTooManyRequests, "rate_limited")
	wantProblem(t, other.ask(t, alice), http.StatusTooManyRequests, "rate_limited")
	l.wantToken(t, "bob", other.ask(t, l.issuer.Bearer("bob", nil)))

	if err := l.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	// Each replica counts by itself then, and has counted nothing of alice's yet.
	if got := one.ask(t, alice); got.status != http.StatusOK {
		t.Errorf("with the Redis killed: %v, want a token", got)
	}
}

func TestNoCacheMintsAnewWithinTheCallersRate(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	s := startService(t, l.with(setting{"TOKENSVC_LIMITS_USER_BURST", "3"}, setting{"TOKENSVC_LIMITS_USER_PER_MINUTE", "1"}))
	bearer := bearing(l.issuer.Bearer("alice", nil))
	c := call(t, s)
	first := c.send(bearer)
	fresh := c.send(bearer, header("Cache-Control", "no-cache"))
	l.wantToken(t, "alice", fresh)
	if first.token() == fresh.token() {
		t.Error("the kept token, want one that was minted for this request")
	}
	if kept := c.send(bearer); kept.token() != fresh.token() {
		t.Error("the next request got the token before")
	}
	wantProblem(t, c.send(bearer, header("Cache-Control", "no-cache")), http.StatusTooManyRequests, "rate_limited")
}

func TestWithoutACacheEveryRequestIsAMint(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	s := startService(t, l.with(setting{"TOKENSVC_CACHE", "none"}))
	bearer := l.issuer.Bearer("alice", nil)
	if one, other := s.ask(t, bearer).token(), s.ask(t, bearer).token(); one == other || one == "" {
		t.Error("one token for two requests, or none")
	}
}

func TestCheckOfTheSharedCache(t *testing.T) {
	c := newCheckup(t)
	redis := redistest.StartWithT(t, redistest.Options{Password: redisPassword})
	writeFile(t, c.file("sealing.keys"), sealingKey+"\n"+newSealingKey)
	writeFile(t, c.file("redis.password"), redisPassword)
	c.append("cache: " + redis.URL() + "\ncache_key_file: sealing.keys\ncache_password_file: redis.password\n")

	wantParts(t, c.check(), nil)
	writeFile(t, c.file("redis.password"), "another")
	wantParts(t, c.check(), map[string]string{"cache": "refuses the login"})
	writeFile(t, c.file("redis.password"), redisPassword)
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	wantParts(t, c.check(), map[string]string{"cache": "connection refused"})
}

// wantParts wants only these parts to be amiss, with this in what is said of them.
func wantParts(t *testing.T, r report, want map[string]string) {
	t.Helper()
	got := r.amiss()
	for part, text := range want {
		if !strings.Contains(got[part], text) {
			t.Errorf("%s: %q, want %q in it", part, got[part], text)
		}
		delete(got, part)
	}
	if len(got) > 0 {
		t.Errorf("amiss are %v too", maps.Clone(got))
	}
}

// append adds lines to the configuration.
func (c *checkup) append(lines string) {
	c.t.Helper()
	writeFile(c.t, c.config, readFile(c.t, c.config)+lines)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A user of the Redis who may do most of it is found out: the service would only be
// slow, and say so once a minute.
func TestCheckOfACacheThatRefuses(t *testing.T) {
	c := newCheckup(t)
	redis := redistest.StartT(t)
	writeFile(t, c.file("sealing.keys"), sealingKey)
	c.append("cache: " + redis.URL() + "\ncache_key_file: sealing.keys\n")
	wantParts(t, c.check(), nil)
	for _, command := range []string{"set", "getrange", "eval", "evalsha"} {
		if err := redis.Tell("ACL", "SETUSER", "default", "+@all", "-"+command); err != nil {
			t.Fatal(err)
		}
		if err := redis.Tell("SCRIPT", "FLUSH"); err != nil {
			t.Fatal(err)
		}
		wantParts(t, c.check(), map[string]string{"cache": "its ACL does not let"})
	}
	if err := redis.Tell("ACL", "SETUSER", "default", "+@all"); err != nil {
		t.Fatal(err)
	}
	if err := redis.Fill(); err != nil {
		t.Fatal(err)
	}
	wantParts(t, c.check(), map[string]string{"cache": "it is full"})
}

// Telnyx limits the account, so replicas keep to the limit together.
func TestTwoReplicasKeepToTelnyxsLimitTogether(t *testing.T) {
	const people = 120
	users := make([]string, people)
	for i := range users {
		users[i] = fmt.Sprintf("user%d", i)
	}
	l := newShared(t, telnyxtest.Options{RateLimit: 20}, users...)
	one, other := l.replica(t), l.replica(t)
	var asking sync.WaitGroup
	for i, user := range users {
		s := []*service{one, other}[i%2]
		bearer := l.issuer.Bearer(user, nil)
		s.hide(bearer)
		asking.Go(func() { askUntilIssued(t, callAlone(t, s), bearer) })
	}
	asking.Wait()
	// Each of them learns of the other from what Telnyx says is left, too: that the
	// Redis counted is what this is about. An answer of it that takes longer than a
	// tenth of a second, as on a busy machine one may, is not waited for.
	stats, err := l.redis.Ask("INFO", "commandstats")
	if err != nil {
		t.Fatal(err)
	}
	var counted int
	if _, after, ok := strings.Cut(fmt.Sprint(stats), "cmdstat_rpush:calls="); ok {
		if _, err := fmt.Sscanf(after, "%d,", &counted); err != nil {
			t.Fatal(err)
		}
	}
	if calls := l.telnyx.Requests(telnyxtest.Token); counted < calls*9/10 {
		t.Errorf("the Redis counted %d of %d calls", counted, calls)
	}
	if n := l.telnyx.Limited(); n > people/20 {
		t.Errorf("%d of %d calls were over the limit", n, l.telnyx.Requests(telnyxtest.Token))
	}
	if n := l.telnyx.Requests(telnyxtest.Token); n > people*11/10 {
		t.Errorf("%d calls for %d people", n, people)
	}
}

// askUntilIssued does as it is told: it comes back when Retry-After says.
func askUntilIssued(t *testing.T, c *caller, bearer string) {
	for range 10 {
		got, err := c.try(t.Context(), bearing(bearer))
		if err != nil {
			t.Error(err)
			return
		}
		if got.status == http.StatusOK {
			return
		}
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		if got.problem().Code != "upstream_limited" || err != nil {
			t.Errorf("got %v, Retry-After %q: want to be told when to come back", got, got.header.Get("Retry-After"))
			return
		}
		<-time.After(time.Duration(seconds) * time.Second)
	}
	t.Error("told to come back ten times")
}
