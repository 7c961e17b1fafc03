package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	firstKey  = "KEYfirst-never-to-be-seen"
	secondKey = "KEYsecond-never-to-be-seen"
	newKey    = "KEYnew-never-to-be-seen"
)

// rotated is a service with two API keys, each in a file.
type rotated struct {
	*lab
	s             *service
	c             *caller
	first, second string // the files
	next          atomic.Int64
}

func startRotated(t *testing.T, users int) *rotated {
	t.Helper()
	var all []string
	for i := range users {
		all = append(all, fmt.Sprint("user-", i))
	}
	r := &rotated{lab: newLab(t, telnyxtest.Options{Latency: 20 * time.Millisecond}, all...)}
	r.telnyx.AcceptKeys(firstKey, secondKey)
	r.first, r.second = secretFile(t, firstKey+"\n"), secretFile(t, secondKey+"\n")
	delete(r.env, "TELNYX_API_KEY")
	r.s = startService(t, r.with(setting{"TELNYX_API_KEY_FILES", r.first + "," + r.second}))
	for _, key := range []string{firstKey, secondKey, newKey} {
		r.s.hide(key)
	}
	r.c = call(t, r.s)
	return r
}

// cold is somebody for whom Telnyx must be asked.
func (r *rotated) cold() (user string, bearer change) {
	user = fmt.Sprint("user-", r.next.Add(1))
	return user, bearing(r.issuer.Bearer(user, nil))
}

func (r *rotated) wantCold(t *testing.T, status int, code string) {
	t.Helper()
	_, bearer := r.cold()
	wantRefusal(t, r.c.send(bearer), refusal{status: status, code: code})
}

// wantTelnyx wants /readyz to say how Telnyx is, and the service to be ready.
func (r *rotated) wantTelnyx(t *testing.T, want string) {
	t.Helper()
	got := do(t, r.s.client, newRequest(t, http.MethodGet, r.s.Ops+"/readyz", nil))
	var said struct{ Parts map[string]string }
	if err := json.Unmarshal([]byte(got.body), &said); err != nil || got.status != http.StatusOK || said.Parts["telnyx"] != want {
		t.Errorf("/readyz says %v, want 200 and telnyx %q", got, want)
	}
}

func (s *service) wantMetrics(t *testing.T, lines ...string) {
	t.Helper()
	metrics := do(t, httpClient, newRequest(t, http.MethodGet, s.Ops+"/metrics", nil)).body
	for _, line := range lines {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("the metrics do not say %s", line)
		}
	}
}

// A key is revoked while everybody logs in, its file is replaced later, and nobody
// notices either.
func TestAKeyIsRotatedInMidLoad(t *testing.T) {
	const workers = 16
	r := startRotated(t, 20_000)
	r.wantTelnyx(t, "not asked yet")
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range workers {
		load.Go(func() {
			for !t.Failed() {
				select {
				case <-stop:
					return
				default:
				}
				user, bearer := r.cold()
				got, err := r.c.try(t.Context(), bearer)
				if err != nil {
					t.Error(err)
					return
				}
				r.wantToken(t, user, got)
			}
		})
	}
	more := func(n int) {
		t.Helper()
		until := r.telnyx.Requests(telnyxtest.Token) + n
		process.Eventually(t, 20*time.Second, "more logins", func() error {
			if t.Failed() || r.telnyx.Requests(telnyxtest.Token) >= until {
				return nil
			}
			return errors.New("there are none")
		})
	}
	more(200)
	r.s.wantMetrics(t, "tokensvc_telnyx_key_in_use 0", `tokensvc_telnyx_key_accepted{key="0"} 1`)
	r.telnyx.AcceptKeys(secondKey)
	more(500)
	if n := r.telnyx.Unauthorized(); n < 1 || n > workers {
		t.Errorf("%d requests came with the dead key, want at most those of %d callers under way", n, workers)
	}
	r.wantTelnyx(t, "ok")
	r.s.wantMetrics(t, "tokensvc_telnyx_key_in_use 1", `tokensvc_telnyx_key_accepted{key="0"} 0`, `tokensvc_telnyx_key_accepted{key="1"} 1`)
	if n := len(r.s.Logged("Telnyx does not accept API key 0 of 0 to 1; another is used")); n != 1 {
		t.Errorf("the log says so %d times, want once", n)
	}

	r.telnyx.AcceptKeys(newKey, secondKey)
	r.s.whenChanged(t, "API key 0 read again", func() { replaceFile(t, r.first, newKey) })
	more(200)
	r.s.wantMetrics(t, "tokensvc_telnyx_key_in_use 0", `tokensvc_telnyx_key_accepted{key="0"} 1`)
	close(stop)
	load.Wait()
}

// With no key that Telnyx accepts, whoever has a token goes on, the others are told
// that somebody must look, and whoever looks sees that it is no outage.
func TestARejectedKeyIsNoOutage(t *testing.T) {
	r := startRotated(t, 20)
	alice, hers := r.cold()
	r.wantToken(t, alice, r.c.send(hers))
	r.wantTelnyx(t, "ok")

	r.telnyx.AcceptKeys(newKey)
	r.wantCold(t, http.StatusBadGateway, "upstream_rejected")
	r.wantToken(t, alice, r.c.send(hers))
	r.wantTelnyx(t, "does not accept any of the API keys")
	r.s.wantMetrics(t, "tokensvc_telnyx_key_in_use -1", `tokensvc_telnyx_key_accepted{key="0"} 0`, `tokensvc_telnyx_key_accepted{key="1"} 0`)
	if n := len(r.s.Logged("Telnyx does not accept any of the API keys")); n != 1 {
		t.Errorf("the log says so %d times, want once", n)
	}

	r.telnyx.Inject(telnyxtest.Fault{Status: http.StatusServiceUnavailable})
	r.wantCold(t, http.StatusServiceUnavailable, "upstream_unavailable")
	r.wantToken(t, alice, r.c.send(hers))
	r.wantTelnyx(t, "cannot be reached")

	r.telnyx.ClearFaults()
	r.s.whenChanged(t, "API key 1 read again", func() { replaceFile(t, r.second, newKey) })
	bob, his := r.cold()
	r.wantToken(t, bob, r.c.send(his))
	r.wantTelnyx(t, "ok")
	r.s.wantMetrics(t, "tokensvc_telnyx_key_in_use 1")
}

// A key in a list that is not there, or is there twice, is said at the start.
func TestKeyFilesThatAreNotInOrder(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	delete(l.env, "TELNYX_API_KEY")
	there := secretFile(t, marked)
	for files, want := range map[string]string{
		there + "," + there + ".none": "TELNYX_API_KEY_FILES: there is no such file; this is about element 2\n",
		there + "," + there:           "TELNYX_API_KEY_FILES: must be a list of 1 to 8 paths of files, no two the same\n",
	} {
		var env []string
		for name, value := range l.with(setting{"TELNYX_API_KEY_FILES", files}) {
			env = append(env, name+"="+value)
		}
		if got := runBinary(t, env, "serve"); got.status != 2 || got.stderr != want {
			t.Errorf("status %d, %q, want 2 and %q", got.status, got.stderr, want)
		}
	}
}

// Whoever rotates keys sees of each whether Telnyx accepts it.
func TestCheckTriesEachKey(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	l.telnyx.AcceptKeys(secondKey)
	delete(l.env, "TELNYX_API_KEY")
	var env []string
	for name, value := range l.with(setting{"TELNYX_API_KEY_FILES", secretFile(t, firstKey) + "," + secretFile(t, secondKey)},
		setting{"TOKENSVC_LISTEN", "127.0.0.1:0"}, setting{"TOKENSVC_OPS_LISTEN", "127.0.0.1:0"}) {
		env = append(env, name+"="+value)
	}
	got := runBinary(t, env, "check")
	for _, line := range []string{
		"✗ telnyx: API key 0       telnyx: list: telnyx does not accept the API key, status 401, code 10009",
		"do: put a key that Telnyx's portal shows as active into its file, or take the file out of telnyx.api_keys",
		"✓ telnyx: API key 1       accepts the API key; credentials in the account: 1",
	} {
		if !strings.Contains(got.stdout, line+"\n") {
			t.Errorf("check says\n%s\nand not\n%s", got.stdout, line)
		}
	}
	if got.status != 1 || strings.Contains(got.stdout+got.stderr, firstKey) {
		t.Errorf("status %d, or it shows a key", got.status)
	}
}
