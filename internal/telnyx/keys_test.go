package telnyx

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// A portal is where keys are made and revoked, and who sees which keys come.
type portal struct {
	mu      sync.Mutex
	refused map[string]int // by key, with that status
	came    []string
	listed  []secret.Text
	then    func(w http.ResponseWriter, r *http.Request, key string) // after the key was accepted
}

// open returns a client whose keys are listed, of a Telnyx that accepts them all.
func (p *portal) open(t *testing.T, keys ...string) *Client {
	t.Helper()
	p.refused = map[string]int{}
	p.list(keys...)
	client, _ := play(t, p.serve)
	client.keys.list = func() []secret.Text {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.listed
	}
	return client
}

func (p *portal) serve(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	p.came = append(p.came, key)
	code, then := p.refused[key], p.then
	p.mu.Unlock()
	switch {
	case code != 0:
		w.WriteHeader(code)
	case then != nil:
		then(w, r, key)
	default:
		done(w, r)
	}
}

func (p *portal) list(keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listed = nil
	for _, k := range keys {
		p.listed = append(p.listed, secret.New(k))
	}
}

func (p *portal) refuse(code int, keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range keys {
		p.refused[k] = code
	}
}

// want calls, and compares the keys that come.
func (p *portal) want(t *testing.T, client *Client, op string, kind error, keys ...string) *Error {
	t.Helper()
	p.mu.Lock()
	p.came = nil
	p.mu.Unlock()
	err := operations[op](t.Context(), client)
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", op, err, kind)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.came, keys) {
		t.Errorf("%s: the keys %v came, want %v", op, p.came, keys)
	}
	e, _ := errors.AsType[*Error](err)
	if e != nil && e.Attempts != len(keys) {
		t.Errorf("%s: %d attempts are told, want %d", op, e.Attempts, len(keys))
	}
	return e
}

func TestTheNextKeyIsForWhenOneIsRejected(t *testing.T) {
	// Whether a 403 is about the key or about what is asked for is not documented, so it
	// makes nobody else's call go another way.
	for code, next := range map[int][]string{http.StatusUnauthorized: {"B"}, http.StatusForbidden: {"A", "B"}} {
		for op := range operations {
			synctest.Test(t, func(t *testing.T) {
				var p portal
				client := p.open(t, "A", "B")
				p.want(t, client, op, nil, "A")
				p.refuse(code, "A")
				began := time.Now()
				p.want(t, client, op, nil, "A", "B")
				p.want(t, client, op, nil, next...)
				if took := time.Since(began); took > 0 || client.budget.left < budgetMax {
					t.Errorf("%s: after %v, with %v retries left: another key is no retry", op, took, client.budget.left)
				}
			})
		}
	}
}

// One credential for which Telnyx answers 403 is nobody else's trouble, though the
// other key is dead.
func TestAForbiddenCredentialTakesNoKeyFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.want(t, client, "mint", nil, "A")
		p.refuse(http.StatusUnauthorized, "B")
		p.refuse(http.StatusForbidden, "A")
		p.want(t, client, "mint", ErrKeyRejected, "A", "B")
		p.refuse(0, "A")
		p.want(t, client, "mint", nil, "A")
	})
}

func TestARejectedKeyIsTriedAgainOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.refuse(http.StatusUnauthorized, "A")
		p.want(t, client, "mint", nil, "A", "B")
		pass(rejectedFor - time.Second)
		p.want(t, client, "mint", nil, "B")
		pass(time.Second)
		p.want(t, client, "mint", nil, "A", "B")
		p.want(t, client, "mint", nil, "B")
		p.refuse(0, "A")
		pass(rejectedFor)
		p.want(t, client, "mint", nil, "A")
		p.want(t, client, "mint", nil, "A")
	})
}

// A crowd of callers is not what finds out whether a key is accepted again.
func TestOneCallTriesARejectedKeyAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.refuse(http.StatusUnauthorized, "A")
		p.want(t, client, "mint", nil, "A", "B")
		pass(rejectedFor)
		p.then = func(w http.ResponseWriter, r *http.Request, _ string) {
			pass(50 * time.Millisecond)
			done(w, r)
		}
		p.came = nil
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				if err := operations["mint"](t.Context(), client); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if n := countOf(p.came, "A"); n != 1 || len(p.came) != 65 {
			t.Errorf("of %d requests %d were with the rejected key, want 65 and 1", len(p.came), n)
		}
	})
}

// pass has the bubble's clock go on.
func pass(d time.Duration) { <-time.After(d) }

func countOf(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// One is revoked while 64 callers keep at it. Those who are on their way meet the
// dead key, once each; nobody else does.
func TestAKeyThatIsRevokedInMidLoadFailsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.then = func(w http.ResponseWriter, r *http.Request, _ string) {
			pass(50 * time.Millisecond)
			done(w, r)
		}
		time.AfterFunc(time.Second, func() { p.refuse(http.StatusUnauthorized, "A") })
		const callers, until = 64, 5 * time.Second
		began := time.Now()
		var calling sync.WaitGroup
		for range callers {
			calling.Go(func() {
				for time.Since(began) < until {
					if err := operations["mint"](t.Context(), client); err != nil {
						t.Error(err)
					}
				}
			})
		}
		calling.Wait()
		last := slices.Index(p.came, "B")
		if n := countOf(p.came[last:], "A"); n > callers || countOf(p.came, "B") < 1000 {
			t.Errorf("after the first with the good key, %d came with the dead one, and %d with the good one", n, countOf(p.came, "B"))
		}
		before := client.Epoch() // late answers count, too
		p.want(t, client, "mint", nil, "B")
		if e := client.Epoch(); before == 0 || e != before || client.State().InUse != 1 {
			t.Errorf("epoch %d, then %d, %+v, want the second key and no more changes", before, e, client.State())
		}
	})
}

func TestWhenAllKeysAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B", "C")
		p.refuse(http.StatusUnauthorized, "A", "B", "C")
		if e := p.want(t, client, "create", ErrKeyRejected, "A", "B", "C"); e.Uncertain || e.Status != http.StatusUnauthorized {
			t.Errorf("got %+v", *e)
		}
		if s := client.State(); !s.AllRejected() || s.InUse != -1 {
			t.Errorf("got %+v", s)
		}
		// A storm of callers asks with one key each, in turn.
		pass(time.Millisecond)
		for _, key := range []string{"A", "B", "C", "A"} {
			p.want(t, client, "mint", ErrKeyRejected, key)
			pass(time.Millisecond)
		}
		// Whoever mends one is not kept waiting.
		pass(allRejectedFor)
		p.refuse(0, "C")
		p.want(t, client, "mint", nil, "A", "B", "C")
		p.want(t, client, "mint", nil, "C")
	})
}

func TestAChangedListIsTakenUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.refuse(http.StatusUnauthorized, "A", "B")
		p.want(t, client, "mint", ErrKeyRejected, "A", "B")
		p.list("A", "B", "C")
		p.want(t, client, "mint", nil, "A", "B", "C")
		p.want(t, client, "mint", nil, "C")
		p.list("D", "C")
		p.want(t, client, "mint", nil, "D")
	})
}

// In the middle of a call, between one key and the next.
func TestAListThatIsReplacedInMidCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		asked := client.keys.list
		var once sync.Once
		p.refuse(http.StatusUnauthorized, "A", "B")
		client.keys.list = func() []secret.Text {
			listed := asked()
			once.Do(func() { p.list("C") })
			return listed
		}
		p.want(t, client, "mint", nil, "A", "C")
	})
}

func TestAKeyThatCannotBeSentIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "", "A KEY", "A\nB", "B")
		p.want(t, client, "mint", nil, "B")
		want := State{InUse: 3, Keys: []KeyState{KeyRejected, KeyRejected, KeyRejected, KeyAccepted}}
		if s := client.State(); s.InUse != want.InUse || !slices.Equal(s.Keys, want.Keys) {
			t.Errorf("got %+v, want %+v", s, want)
		}
		pass(rejectedFor)
		p.want(t, client, "mint", nil, "B")
	})
}

// A retry is with the key that was found, and there are as many as ever.
func TestAnotherKeyCostsNoRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.refuse(http.StatusUnauthorized, "A")
		p.refuse(http.StatusServiceUnavailable, "B")
		p.want(t, client, "mint", ErrUnavailable, "A", "B", "B", "B")
	})
}

// What says nothing of a key changes nothing: not an outage, not a page of somebody
// else's in Telnyx's place.
func TestWhatSaysNothingOfAKey(t *testing.T) {
	for name, answer := range map[string]step{
		"an outage": status(503), "a limit": status(429, "Retry-After", "60"), "a redirect": status(302), "a 404 of somebody else's": status(404),
		"a page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		synctest.Test(t, func(t *testing.T) {
			var p portal
			client := p.open(t, "A", "B")
			p.refuse(http.StatusUnauthorized, "A")
			p.want(t, client, "mint", nil, "A", "B")
			p.refuse(0, "A")
			p.then = func(w http.ResponseWriter, r *http.Request, _ string) { answer(w, r) }
			pass(rejectedFor)
			_ = operations["mint"](t.Context(), client) // which tries A
			if s := client.State(); s.Keys[0] != KeyRejected || client.Epoch() != 0 {
				t.Errorf("%s: %+v, epoch %d", name, s, client.Epoch())
			}
		})
	}
}

const unknownBody = `{"errors":[{"code":"10005"}]}`

// Epochs are for whoever concludes something from what Telnyx does not know.
func TestAnEpochIsOfOneKey(t *testing.T) {
	unknown := func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(unknownBody))
	}
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		steps := []struct {
			what  string
			do    func()
			keys  []string
			epoch uint64
		}{
			{"the first key is no change", func() {}, []string{"A"}, 0},
			{"nor is the same again", func() {}, []string{"A"}, 0},
			{"another is", func() { p.refuse(401, "A") }, []string{"A", "B"}, 1},
			{"none is no change", func() { p.refuse(401, "B") }, []string{"B"}, 1},
			{"and the same after none neither", func() { p.refuse(0, "B"); pass(allRejectedFor) }, []string{"A", "B"}, 1},
			{"the first again is", func() { p.refuse(0, "A"); pass(rejectedFor) }, []string{"A"}, 2},
			{"another place in the list is none", func() { p.list("B", "A"); p.refuse(401, "B") }, []string{"B", "A"}, 2},
			{"another text in its place is", func() { p.list("C") }, []string{"C"}, 3},
		}
		for _, s := range steps {
			s.do()
			p.then = nil
			if strings.Contains(s.what, "another") {
				p.then = unknown // counts as much
			}
			kind := error(nil)
			switch {
			case p.then != nil:
				kind = ErrCredentialRejected
			case s.what == "none is no change":
				kind = ErrKeyRejected
			}
			p.want(t, client, "get", kind, s.keys...)
			if e := client.Epoch(); e != s.epoch {
				t.Errorf("%s: epoch %d, want %d", s.what, e, s.epoch)
			}
		}
	})
}

// A service that starts with a dead key before a good one is in one epoch.
func TestTheFirstEpochIsOfTheFirstKeyThatIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.refuse(http.StatusUnauthorized, "A")
		p.want(t, client, "list", nil, "A", "B")
		if e := client.Epoch(); e != 0 {
			t.Errorf("epoch %d", e)
		}
	})
}

// An answer by the first key that comes after the second took over is in no epoch
// of one key, and brings the first one back for nobody.
func TestALateAnswerByARejectedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.then = func(w http.ResponseWriter, r *http.Request, key string) {
			if key == "A" {
				pass(time.Second)
			}
			done(w, r)
		}
		var late sync.WaitGroup
		late.Go(func() {
			if err := operations["get"](t.Context(), client); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		p.refuse(http.StatusUnauthorized, "A")
		p.want(t, client, "mint", nil, "A", "B")
		before := client.Epoch()
		late.Wait()
		if client.Epoch() == before {
			t.Error("the late answer is of the epoch in which the other key answers")
		}
		if s := client.State(); s.InUse != 1 || s.Keys[0] != KeyRejected {
			t.Errorf("got %+v, want the second in use", s)
		}
		p.want(t, client, "mint", nil, "B")
	})
}

// A deletion whose fate is unknown is not taken for done because another account
// does not know the credential.
func TestADeletionIsNotDoneBecauseAnotherKeyDoesNotKnowIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		p.refuse(http.StatusServiceUnavailable, "A")
		p.then = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(unknownBody))
		}
		first := client.keys.list
		var asked atomic.Int32
		client.keys.list = func() []secret.Text {
			if asked.Add(1) == 2 {
				p.refuse(http.StatusUnauthorized, "A")
			}
			return first()
		}
		p.want(t, client, "delete", ErrCredentialRejected, "A", "A", "B")
	})
}

func TestWhoeverIsToldOfTheKeysIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		var told []State
		client.keys.told = func(s State) { told = append(told, s) }
		p.want(t, client, "mint", nil, "A")
		p.want(t, client, "mint", nil, "A")
		p.refuse(http.StatusUnauthorized, "A", "B")
		p.want(t, client, "mint", ErrKeyRejected, "A", "B")
		p.want(t, client, "mint", ErrKeyRejected, "A")
		p.refuse(0, "B")
		pass(allRejectedFor)
		p.want(t, client, "mint", nil, "A", "B")
		want := []State{
			{0, []KeyState{KeyAccepted, KeyUntried}},
			{-1, []KeyState{KeyRejected, KeyUntried}},
			{-1, []KeyState{KeyRejected, KeyRejected}},
			{1, []KeyState{KeyRejected, KeyAccepted}},
		}
		if !slices.EqualFunc(told, want, func(a, b State) bool { return a.InUse == b.InUse && slices.Equal(a.Keys, b.Keys) }) {
			t.Errorf("told of %+v", told)
		}
	})
}

// Every key that is tried is an attempt that the gate lets in, and nobody waits there
// without one.
func TestTheGateIsPassedOnceForEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p portal
		client := p.open(t, "A", "B")
		gate := &watchman{errs: []error{nil, nil, nil, nil, Withheld(ErrLimited, time.Second, errors.New("busy"))}}
		client.gate = gate
		p.refuse(http.StatusUnauthorized, "A")
		p.want(t, client, "mint", nil, "A", "B")
		p.refuse(http.StatusUnauthorized, "B")
		p.want(t, client, "mint", ErrKeyRejected, "B")
		pass(allRejectedFor)
		p.refuse(0, "B")
		// The gate has no room any more between the first key and the second.
		p.want(t, client, "mint", ErrLimited, "A")
		if entered, left := len(gate.entered), len(gate.left); entered != 5 || left != 4 {
			t.Errorf("%d went to the gate, and %d came from it; want 5 and 4", entered, left)
		}
	})
}
