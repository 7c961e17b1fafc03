package shared_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
)

// alone does all that a replica does with Redis, and fails the test if that does not
// end as it must when Redis is of no use: nothing is there, everything is granted,
// and it takes no longer than that, all together.
func alone(t *testing.T, r *replica, within time.Duration) {
	t.Helper()
	id, token := newID(t), newToken(t, time.Hour)
	began := time.Now()
	if _, ok := r.Claim(t.Context(), id); !ok {
		t.Error("nobody may mint")
	}
	r.Put(t.Context(), id, token, began)
	r.Forget(t.Context(), newID(t))
	if takes(t, r, id, token) {
		t.Error("a token is there")
	}
	if _, ok := r.Allow(t.Context(), "user", "alice", 60, 1); ok {
		t.Error("it knows a rate")
	}
	if _, ok := r.Calls("telnyx").Take(t.Context(), 1, time.Second); ok {
		t.Error("it counts calls")
	}
	if took := time.Since(began); took > within {
		t.Errorf("it took %v, want at most %v", took, within)
	}
}

// together does the same and fails the test if Redis is not used.
func together(t *testing.T, r *replica) {
	t.Helper()
	id, token := newID(t), newToken(t, time.Hour)
	release, ok := r.Claim(t.Context(), id)
	if _, again := r.Claim(t.Context(), id); !ok || again {
		t.Errorf("a claim is granted %t, the next %t", ok, again)
	}
	r.Put(t.Context(), id, token, time.Now())
	release()
	if release, ok := r.Claim(t.Context(), id); !ok {
		t.Error("a claim that was released is not granted")
	} else {
		release()
	}
	if !takes(t, r, id, token) {
		t.Error("a token is not there")
	}
	r.Forget(t.Context(), id)
	if takes(t, r, id, token) {
		t.Error("a token was not forgotten")
	}
	for i, want := range []bool{true, false} {
		if wait, ok := r.Allow(t.Context(), "user", id.String(), 1, 1); !ok || (wait == 0) != want {
			t.Errorf("request %d: %v, %t", i, wait, ok)
		}
		if wait, ok := r.Calls(id.String()).Take(t.Context(), 1, time.Minute); !ok || (wait == 0) != want {
			t.Errorf("call %d: %v, %t", i, wait, ok)
		}
	}
}

func TestRedisMayBeAwayAndComeBack(t *testing.T) {
	s := redistest.StartT(t)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	r := join(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	r.has(t, "false connection refused")
	alone(t, r, 100*time.Millisecond)
	for name, end := range map[string]func() error{"killed": s.Kill, "stopped": s.Stop} {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		until(t, "Redis", r.Up)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: it took %v to find it", name, took)
		}
		together(t, r)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		until(t, "Redis to go", func() bool { return !r.Up() })
		alone(t, r, 100*time.Millisecond)
	}
	if told := r.told(); strings.Count(told, "true <nil>\nfalse the connection was closed") != 2 {
		t.Errorf("it was told %s", told)
	}
}

func TestAPausedRedisCostsTheFirstFew(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey), Timeout: 200 * time.Millisecond})
	id, token := newID(t), newToken(t, time.Hour)
	r.Put(t.Context(), id, token, time.Now())
	s.Pause()
	began := time.Now()
	var callers sync.WaitGroup
	var waited atomic.Int64
	for range 3000 { // more than may wait at once
		callers.Go(func() {
			began := time.Now()
			if takes(t, r, id, token) {
				t.Error("a paused Redis answers")
			}
			if time.Since(began) > 150*time.Millisecond {
				waited.Add(1)
			}
		})
	}
	callers.Wait()
	if n := waited.Load(); n == 0 || n > 1100 {
		t.Errorf("%d waited, want some, and at most 1024", n)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took them %v", took)
	}
	until(t, "Redis to be given up", func() bool { return !r.Up() })
	r.has(t, "false it does not answer in time")
	alone(t, r, 100*time.Millisecond)
	s.Resume()
	resumed := time.Now()
	until(t, "the token", func() bool { return takes(t, r, id, token) })
	if took := time.Since(resumed); took > 5*time.Second {
		t.Errorf("it took %v to find it", took)
	}
}

func TestAPausedRedisIsFoundOutWhileNobodyAsks(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL(), Timeout: 200 * time.Millisecond})
	s.Pause()
	until(t, "Redis to be given up", func() bool { return !r.Up() })
	s.Resume()
	until(t, "Redis", r.Up)
}

func TestAFullRedisStillHasWhatItHas(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id, token := newID(t), newToken(t, time.Hour)
	r.Put(t.Context(), id, token, time.Now())
	if err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	alone(t, r, patient)
	alone(t, r, patient)
	if !r.Up() || !takes(t, r, id, token) {
		t.Error("what was there is not there any more")
	}
	if n := strings.Count(r.told(), "true it is full"); n != 1 {
		t.Errorf("that it is full was told %d times, want 1: %s", n, r.told())
	}
	if r.Forget(t.Context(), id); takes(t, r, id, token) {
		t.Error("a token is taken that was to be forgotten")
	}
	if err := s.Drain(); err != nil {
		t.Fatal(err)
	}
	together(t, r)
}

// It fails by the process ending.
func TestGarbageEndsTheConnectionAndNothingElse(t *testing.T) {
	const marked = "marked-by-the-server"
	for name, row := range map[string]struct {
		answers []string
		says    string
	}{
		"a page":                     {[]string{"HTTP/1.1 400 Bad Request\r\n\r\n<html>" + marked}, "Redis's protocol"},
		"nothing sensible":           {[]string{"\x00\x01\x02" + marked}, "Redis's protocol"},
		"an error of its own":        {[]string{"-ERR " + marked + "\r\n"}, "refuses a command"},
		"a text for a map":           {[]string{"+" + marked + "\r\n"}, "Redis's protocol"},
		"an odd map":                 {[]string{"*1\r\n$1\r\na\r\n"}, "Redis's protocol"},
		"a terabyte":                 {[]string{"$1099511627776\r\n" + marked}, "Redis's protocol"},
		"a billion elements":         {[]string{"*1000000000\r\n"}, "Redis's protocol"},
		"less than no bytes":         {[]string{"$-100\r\n"}, "Redis's protocol"},
		"arrays without end":         {[]string{strings.Repeat("*1\r\n", 100_000)}, "Redis's protocol"},
		"a line without end":         {[]string{"+" + strings.Repeat("x", 60_000)}, "Redis's protocol"},
		"another answer":             {[]string{helloOK + "+OK\r\n"}, "Redis's protocol"},
		"later, another":             {[]string{helloOK, "+PONG\r\n+PONG\r\n"}, "Redis's protocol"},
		"later, many":                {[]string{helloOK, "+PONG\r\n", strings.Repeat("+OK\r\n", 1000)}, "Redis's protocol"},
		"later, a terabyte":          {[]string{helloOK, "+PONG\r\n", "$1099511627776\r\n"}, "Redis's protocol"},
		"later, arrays without end":  {[]string{helloOK, "+PONG\r\n", strings.Repeat("*1\r\n", 100_000)}, "Redis's protocol"},
		"later, what nobody asked":   {[]string{helloOK, "+PONG\r\n", ">2\r\n+invalidate\r\n*0\r\n"}, "Redis's protocol"},
		"later, a text for a number": {[]string{helloOK, "+PONG\r\n", "+" + marked + "\r\n"}, "true <nil>"},
		"later, an array for a text": {[]string{helloOK, "+PONG\r\n", "*2\r\n+a\r\n+" + marked + "\r\n"}, "true <nil>"},
		"later, its own errors":      {[]string{helloOK, "+PONG\r\n", "-ERR " + marked + "\r\n"}, "true it refuses a command"},
		"later, a cluster's answer":  {[]string{helloOK, "+PONG\r\n", "-MOVED 3999 " + marked + ":6381\r\n"}, "true it is a part of a cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, conns := fake(t, row.answers...)
			r := join(t, shared.Config{URL: url, Keys: keys(oldKey), Timeout: time.Second})
			until(t, row.says, func() bool {
				alone(t, r, 10*time.Second)
				return strings.Contains(r.told(), row.says)
			})
			if strings.HasPrefix(row.says, "Redis") {
				until(t, "another try", func() bool { return conns() > 1 })
			}
			if strings.Contains(r.told(), marked) {
				t.Errorf("it was told %s", r.told())
			}
		})
	}
}

func TestASlowRedisIsNotUsed(t *testing.T) {
	s := redistest.StartT(t)
	url, slower := slowed(t, s.Addr())
	r := connect(t, shared.Config{URL: url, Keys: keys(oldKey), Timeout: 200 * time.Millisecond})
	slower(time.Second)
	id := newID(t)
	until(t, "it to be given up", func() bool { _, _, _ = r.Take(t.Context(), id); return !r.Up() })
	r.has(t, "false it does not answer in time")
	alone(t, r, 100*time.Millisecond)
	slower(0)
	until(t, "Redis", r.Up)
}

func TestPasswords(t *testing.T) {
	s := redistest.StartWithT(t, redistest.Options{Password: "right-password"})
	password := secret.New("wrong-password")
	var missing error
	var mu sync.Mutex
	set := func(text string, err error) {
		mu.Lock()
		defer mu.Unlock()
		password, missing = secret.New(text), err
	}
	r := join(t, shared.Config{URL: s.URL(), Keys: keys(oldKey), Password: func() (secret.Text, error) {
		mu.Lock()
		defer mu.Unlock()
		return password, missing
	}})
	r.has(t, "false it refuses the login")
	set("", errors.New("no such file"))
	r.has(t, "false the password cannot be had: no such file")
	alone(t, r, 100*time.Millisecond)
	set("right-password", nil)
	until(t, "Redis", r.Up)
	together(t, r)
	if told := r.told(); strings.Contains(told, "-password") {
		t.Errorf("it was told %s", told)
	}

	none := join(t, shared.Config{URL: s.URL()})
	none.has(t, "false it refuses the login")
	open := redistest.StartT(t)
	needless := join(t, shared.Config{URL: open.URL(), Password: func() (secret.Text, error) { return secret.New("needless"), nil }})
	needless.has(t, "false it refuses the login")
	elsewhere := join(t, shared.Config{URL: open.URL() + "/9"})
	elsewhere.has(t, "false it has no database of that number")
}

// The system's roots are read once in a process, so this is done in another one.
func TestTLS(t *testing.T) {
	s, other, plain := redistest.StartWithT(t, redistest.Options{TLS: true}), redistest.StartWithT(t, redistest.Options{TLS: true}), redistest.StartT(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInAProcessWithAnotherRoot$", "-test.v")
	child.Env = append(os.Environ(), "SSL_CERT_FILE="+s.CAFile(), "SSL_CERT_DIR="+t.TempDir(), "TLS_URLS="+strings.Join([]string{s.URL(), other.URL(), plain.URL()}, " "))
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestInAProcessWithAnotherRoot(t *testing.T) {
	urls := strings.Fields(os.Getenv("TLS_URLS"))
	if len(urls) != 3 {
		return // it is not that process
	}
	good, other, plain := urls[0], urls[1], urls[2]
	together(t, connect(t, shared.Config{URL: good, Keys: keys(oldKey)}))
	for url, says := range map[string]string{
		other: "false the certificate is signed by an unknown authority",
		strings.Replace(good, "localhost", "127.0.0.2", 1): "false connection refused",
		strings.Replace(good, "rediss", "redis", 1):        "false ", // how it hangs up differs
		strings.Replace(plain, "redis", "rediss", 1):       "false it does not answer in time",
		"redis://localhost.invalid":                        "false no such host",
	} {
		r := join(t, shared.Config{URL: url, Keys: keys(oldKey)})
		r.has(t, says)
		alone(t, r, 100*time.Millisecond)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	s := redistest.StartT(t)
	before := runtime.NumGoroutine()
	for _, end := range []func(*replica){func(r *replica) { r.stop() }, func(r *replica) { r.Close() }} {
		r := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
		together(t, r)
		s.Pause()
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { r.Take(t.Context(), newID(t)) })
		}
		end(r)
		<-r.ended
		callers.Wait()
		if r.Up() {
			t.Error("it is up")
		}
		s.Resume()
		alone(t, r, 100*time.Millisecond)
	}
	until(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}
