package shared_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
)

func TestReplicasShareARate(t *testing.T) {
	s := redistest.StartT(t)
	a, b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)}), connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	const perMinute, burst = 60, 5
	for i := range 2 * burst {
		wait, ok := []*replica{a, b}[i%2].Allow(t.Context(), "user", "acme:alice", perMinute, burst)
		if !ok || (wait == 0) != (i < burst) || wait > time.Second {
			t.Errorf("request %d: wait %v, %t", i+1, wait, ok)
		}
	}
	for name, other := range map[string][2]string{"another": {"user", "acme:bob"}, "of another kind": {"address", "acme:alice"}} {
		if wait, ok := a.Allow(t.Context(), other[0], other[1], perMinute, burst); !ok || wait != 0 {
			t.Errorf("%s: wait %v, %t", name, wait, ok)
		}
	}
	until(t, "the next", func() bool { wait, _ := a.Allow(t.Context(), "user", "acme:alice", perMinute, burst); return wait == 0 })
	if wait, _ := b.Allow(t.Context(), "user", "acme:alice", perMinute, burst); wait == 0 {
		t.Error("two for one")
	}
}

func TestAWaitIsTrue(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL()})
	if wait, ok := r.Allow(t.Context(), "user", "alice", 600, 1); wait != 0 || !ok {
		t.Fatal("the first must wait")
	}
	for range 5 {
		wait, _ := r.Allow(t.Context(), "user", "alice", 600, 1)
		if wait == 0 {
			continue
		}
		<-time.After(wait)
		if again, _ := r.Allow(t.Context(), "user", "alice", 600, 1); again != 0 {
			t.Errorf("after %v it is to wait for %v", wait, again)
		}
	}
}

func TestNamesAreNotInRedis(t *testing.T) {
	s := redistest.StartT(t)
	for name, cfg := range map[string]shared.Config{
		"with a key":    {URL: s.URL() + "/1", Keys: keys(oldKey)},
		"without a key": {URL: s.URL() + "/1"},
	} {
		r := connect(t, cfg)
		r.Allow(t.Context(), "user", "acme:alice", 60, 5)
		r.Calls("telnyx").Take(t.Context(), 5, time.Second)
		stored := everything(t, s)
		if strings.Contains(stored, "alice") || !strings.Contains(stored, "tokensvc:rate:") {
			t.Errorf("%s: in Redis there is %q", name, stored)
		}
	}
	// Without the key nobody finds a name by trying all there are.
	names, _ := ask(t, s, "EVAL", "redis.call('SELECT', 1) return redis.call('KEYS', 'tokensvc:rate:*')", "0").([]any)
	if len(names) != 2 {
		t.Errorf("the name is hidden in the same way with and without a key: %v", names)
	}
}

func TestWhatSomebodyWroteIntoARateDoesNotLast(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL()})
	r.Allow(t.Context(), "user", "alice", 1, 1)
	names, _ := ask(t, s, "KEYS", "tokensvc:rate:*").([]any)
	name, _ := names[0].(string)
	for _, text := range []string{"", "nonsense", "-1", "9e99", "inf", "nan"} {
		ask(t, s, "SET", name, text)
		until(t, "a request to be allowed after "+text, func() bool { wait, ok := r.Allow(t.Context(), "user", "alice", 6000, 1); return ok && wait == 0 })
	}
}

func TestReplicasCountCallsTogether(t *testing.T) {
	s := redistest.StartT(t)
	a, b := connect(t, shared.Config{URL: s.URL()}), connect(t, shared.Config{URL: s.URL()})
	const most, span = 20, 700 * time.Millisecond
	type call struct{ before, after time.Time }
	var mu sync.Mutex
	var let []call
	var refused atomic.Int64
	end := time.Now().Add(3 * time.Second)
	var callers sync.WaitGroup
	for i := range 8 {
		calls := []*replica{a, b}[i%2].Calls("telnyx")
		callers.Go(func() {
			for time.Now().Before(end) {
				before := time.Now()
				wait, ok := calls.Take(t.Context(), most, span)
				switch {
				case !ok || wait < 0 || wait > span:
					t.Errorf("wait %v, %t", wait, ok)
					return
				case wait == 0:
					mu.Lock()
					let = append(let, call{before, time.Now()})
					mu.Unlock()
				default:
					refused.Add(1)
					<-time.After(min(wait, 5*time.Millisecond))
				}
			}
		})
	}
	callers.Wait()
	// Each was counted between its two times.
	for _, first := range let {
		n := 0
		for _, c := range let {
			if !c.before.Before(first.after) && c.after.Before(first.before.Add(span)) {
				n++
			}
		}
		if n > most {
			t.Fatalf("%d in a span, want at most %d", n, most)
		}
	}
	if n := len(let); n < 4*most || n > 6*most || refused.Load() == 0 {
		t.Errorf("%d were let through in 3 s, want about %d", n, int(3*time.Second/span+1)*most)
	}
	if wait, ok := a.Calls("another").Take(t.Context(), 1, time.Minute); wait != 0 || !ok {
		t.Error("others are counted too")
	}
}

func TestWhenThereWillBeRoomIsTrue(t *testing.T) {
	s := redistest.StartT(t)
	calls := connect(t, shared.Config{URL: s.URL()}).Calls("telnyx")
	const span = 2 * time.Second
	for range 3 {
		calls.Take(t.Context(), 3, span)
		<-time.After(200 * time.Millisecond)
	}
	wait, ok := calls.Take(t.Context(), 3, span)
	if !ok || wait <= 0 || wait > span {
		t.Fatalf("wait %v, %t", wait, ok)
	}
	// For one to have room when only one may be counted, the last must be too old.
	if less, _ := calls.Take(t.Context(), 1, span); less < wait+300*time.Millisecond || less > span {
		t.Errorf("wait %v, with less room %v", wait, less)
	}
	<-time.After(wait)
	if again, _ := calls.Take(t.Context(), 3, span); again != 0 {
		t.Errorf("after %v it is to wait for %v", wait, again)
	}
}

func TestTheCountIsBounded(t *testing.T) {
	s := redistest.StartT(t)
	calls := connect(t, shared.Config{URL: s.URL()}).Calls("telnyx")
	for name, row := range map[string]struct {
		most int
		span time.Duration
	}{"none": {0, time.Second}, "too many": {100_001, time.Second}, "no time": {1, 0}} {
		if _, ok := calls.Take(t.Context(), row.most, row.span); ok {
			t.Errorf("%s: it can be told", name)
		}
	}
	const most = 5000
	fill := func() {
		names, _ := ask(t, s, "KEYS", "tokensvc:calls:*").([]any)
		name, _ := names[0].(string)
		ask(t, s, "EVAL", `
local time = redis.call('TIME')
for i = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2] - ARGV[1] + i)) end`, "1", name, "4999")
	}
	calls.Take(t.Context(), most, time.Minute)
	fill()
	if wait, ok := calls.Take(t.Context(), most, time.Minute); !ok || wait == 0 {
		t.Errorf("one more than %d is let through", most)
	}
	// Who counts over a short span finds them too old; for the others they still count.
	<-time.After(20 * time.Millisecond)
	if wait, ok := calls.Take(t.Context(), most, 10*time.Millisecond); !ok || wait != 0 {
		t.Errorf("wait %v, %t", wait, ok)
	}
	names, _ := ask(t, s, "KEYS", "tokensvc:calls:*").([]any)
	name, _ := names[0].(string)
	if n := ask(t, s, "LLEN", name); n != int64(most+1) {
		t.Errorf("%v are still counted", n)
	}
	if wait, ok := calls.Take(t.Context(), most, time.Minute); !ok || wait == 0 {
		t.Errorf("who counts over a short span has the others forget: wait %v, %t", wait, ok)
	}
}

func TestWhatSomebodyWroteIntoTheCountDoesNotLast(t *testing.T) {
	s := redistest.StartT(t)
	calls := connect(t, shared.Config{URL: s.URL()}).Calls("telnyx")
	calls.Take(t.Context(), 1, time.Minute)
	names, _ := ask(t, s, "KEYS", "tokensvc:calls:*").([]any)
	name, _ := names[0].(string)
	for _, text := range []string{"", "nonsense", "9e99", "inf", "9007199254740991"} { // the last is of the year 2255
		ask(t, s, "RPUSH", name, text)
		if wait, ok := calls.Take(t.Context(), 1, time.Minute); !ok || wait != 0 {
			t.Errorf("after %q: wait %v, %t", text, wait, ok)
		}
	}
	ask(t, s, "LPUSH", name, "nonsense")
	if wait, ok := calls.Take(t.Context(), 2, time.Minute); !ok || wait != 0 {
		t.Errorf("before: wait %v, %t", wait, ok)
	}
}
