package shared_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	realm = "https://api.telnyx.com/v2"
	// patient is a time-out for what is to succeed, on a machine that has other
	// things to do.
	patient = 5 * time.Second
)

// until waits until done says so.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// replica is a Redis as one replica sees it, and what it was told of it.
type replica struct {
	*shared.Redis
	mu      sync.Mutex
	refused map[string]int
	states  []string
	ended   chan struct{}
	stop    context.CancelFunc
}

// join makes a replica that runs until the test ends, and does not wait for Redis.
func join(t *testing.T, cfg shared.Config) *replica {
	t.Helper()
	r := &replica{refused: map[string]int{}, ended: make(chan struct{})}
	if cfg.Realm == "" {
		cfg.Realm = realm
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = patient
	}
	cfg.OnRefused = func(reason string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.refused[reason]++
	}
	cfg.OnState = func(up bool, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.states = append(r.states, fmt.Sprintf("%t %v", up, err))
	}
	var err error
	if r.Redis, err = shared.Open(cfg); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		r.Run(ctx)
	}()
	t.Cleanup(func() {
		r.stop()
		<-r.ended
		r.Close()
	})
	return r
}

// connect is join, and waits until Redis is there.
func connect(t *testing.T, cfg shared.Config) *replica {
	t.Helper()
	r := join(t, cfg)
	until(t, "Redis", r.Up)
	return r
}

func (r *replica) refusals(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[reason]
}

func (r *replica) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.states, "\n")
}

// has waits until it was told of something, by a part of its text.
func (r *replica) has(t *testing.T, what string) {
	t.Helper()
	until(t, what, func() bool { return strings.Contains(r.told(), what) })
}

func keys(all ...string) func() []secret.Text {
	texts := make([]secret.Text, len(all))
	for i, k := range all {
		texts[i] = secret.New(k)
	}
	return func() []secret.Text { return texts }
}

var (
	oldKey = strings.Repeat("o", 32)
	newKey = strings.Repeat("n", 32)
)

func newID(t *testing.T) telnyx.CredentialID {
	t.Helper()
	var b [16]byte
	rand.Read(b[:])
	id, err := telnyx.ParseCredentialID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newToken makes a token of the size of Telnyx's.
func newToken(t *testing.T, life time.Duration) telnyx.LoginToken {
	t.Helper()
	part := b64
	var signature [300]byte
	rand.Read(signature[:])
	jwt := part(`{"alg":"HS512"}`) + "." + part(fmt.Sprintf(`{"exp":%d}`, time.Now().Add(life).Unix())) + "." + part(string(signature[:]))
	token, err := telnyx.ParseLoginToken(jwt)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// takes returns whether a replica takes that very token.
func takes(t *testing.T, r *replica, id telnyx.CredentialID, want telnyx.LoginToken) bool {
	t.Helper()
	got, _, ok := r.Take(t.Context(), id)
	if ok && got.JWT.Reveal() != want.JWT.Reveal() {
		t.Error("it takes another token")
	}
	return ok
}

func ask(t *testing.T, s *redistest.Server, args ...string) any {
	t.Helper()
	answer, err := s.Ask(args...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestWhatIsRefused(t *testing.T) {
	for name, row := range map[string]struct {
		cfg  shared.Config
		says string
	}{
		"no URL":             {shared.Config{Realm: realm}, "URL"},
		"not a Redis":        {shared.Config{URL: "postgres://h", Realm: realm}, "URL"},
		"no realm":           {shared.Config{URL: "redis://h"}, "Realm"},
		"a negative timeout": {shared.Config{URL: "redis://h", Realm: realm, Timeout: -1}, "Timeout"},
		"a long timeout":     {shared.Config{URL: "redis://h", Realm: realm, Timeout: time.Minute}, "Timeout"},
		"no key":             {shared.Config{URL: "redis://h", Realm: realm, Keys: keys()}, "Keys"},
		"a short key":        {shared.Config{URL: "redis://h", Realm: realm, Keys: keys(oldKey, "short")}, "Keys"},
	} {
		if _, err := shared.Open(row.cfg); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want it to name %s", name, err, row.says)
		}
	}
	if _, err := shared.Open(shared.Config{URL: "redis://h", Realm: realm}); err != nil {
		t.Error(err)
	}
}

func TestATokenIsSharedSealed(t *testing.T) {
	s := redistest.StartT(t)
	cfg := shared.Config{URL: s.URL() + "/1", Keys: keys(oldKey)}
	a, b := connect(t, cfg), connect(t, cfg)
	id, token, since := newID(t), newToken(t, time.Hour), time.Now().Add(-time.Second).Truncate(time.Millisecond)
	if takes(t, b, id, token) {
		t.Fatal("it takes what nobody put")
	}
	a.Put(t.Context(), id, token, since)
	got, when, ok := b.Take(t.Context(), id)
	if !ok || got.JWT.Reveal() != token.JWT.Reveal() || !got.ExpiresAt.Equal(token.ExpiresAt) || !when.Equal(since) {
		t.Errorf("got a token %v, of %v until %v", ok, when, got.ExpiresAt)
	}
	if takes(t, b, newID(t), token) {
		t.Error("another credential's token is taken")
	}
	stored := everything(t, s)
	for _, part := range strings.Split(token.JWT.Reveal(), ".") {
		if strings.Contains(stored, part) {
			t.Error("the token is in Redis in the clear")
		}
	}
	if !strings.Contains(stored, id.String()) { // else this proves little
		t.Errorf("there is no entry in %q", stored)
	}
	if len(b.refused) != 0 {
		t.Errorf("refused %v", b.refused)
	}
}

// everything returns the names and the texts of all entries of the server's database
// 1, and fails if one of them has no end.
func everything(t *testing.T, s *redistest.Server) string {
	t.Helper()
	const script = `
redis.call('SELECT', 1)
local all = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
	if redis.call('PTTL', name) < 0 then return redis.error_reply('no end: ' .. name) end
	all[#all + 1] = name
	if redis.call('TYPE', name).ok == 'string' then all[#all + 1] = redis.call('GET', name) end
	if redis.call('TYPE', name).ok == 'list' then all[#all + 1] = table.concat(redis.call('LRANGE', name, 0, -1), ' ') end
end
return table.concat(all, '\n')`
	text, _ := ask(t, s, "EVAL", script, "0").(string)
	return text
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
