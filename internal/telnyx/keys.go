package telnyx

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	// MaxAPIKeys is how many API keys are looked at. One would do, and a second for
	// the time of a rotation.
	MaxAPIKeys = 8

	// rejectedFor is how long a rejected key is left alone while another is
	// accepted. One call then tries it, and no other until another minute has
	// passed.
	rejectedFor = time.Minute
	// allRejectedFor is the same while none is accepted: whoever mends a key at
	// Telnyx should not have to wait, and a crowd of callers should not have each of
	// them ask with each key.
	allRejectedFor = time.Second

	maxKeyBytes = 4 << 10
)

var errNoKey = errors.New("no API key, or one with spaces or control characters")

// A KeyState is how Telnyx took an API key when it was last tried.
type KeyState int

// The states of a key.
const (
	KeyUntried KeyState = iota
	KeyAccepted
	KeyRejected // or it is one that cannot be sent
)

// State says how the API keys fare, without showing any.
type State struct {
	// InUse is the index of the key that Telnyx accepted last, or -1 if there is
	// none: not yet, or not any more.
	InUse int
	// Keys are the states of the keys, in their order. There are none before the
	// first call.
	Keys []KeyState
}

// AllRejected reports whether Telnyx has accepted none of the keys when they were
// last tried.
func (s State) AllRejected() bool {
	return len(s.Keys) > 0 && !slices.ContainsFunc(s.Keys, func(k KeyState) bool { return k != KeyRejected })
}

// State returns how the API keys have fared in the calls so far.
func (c *Client) State() State { return c.keys.stateNow() }

// Epoch counts how often Telnyx has answered by another API key than before, for
// whoever concludes something from several answers: the other key may be another
// account's, in which every credential of this one is unknown. Answers that begin
// and end in one epoch were had by one key.
func (c *Client) Epoch() uint64 { return c.keys.epoch.Load() }

// withKeys makes an attempt with the first of the API keys and, while it is
// rejected, with the next. That is no repetition: a rejected attempt has done
// nothing. The error's Attempts are the requests made.
func (c *Client) withKeys(ctx context.Context, k call) *Error {
	var failed *Error
	var tried []string
	for len(tried) < MaxAPIKeys {
		if failed != nil && !c.keys.another(tried) {
			return failed // nor is the gate to be waited at for nothing
		}
		key, err := c.gated(ctx, k, tried)
		if err == nil {
			return nil
		}
		if key == "" && failed != nil && err.cause == errNoKey { //nolint:errorlint // our own, as it is
			return failed // there is no other key any more
		}
		failed = err
		if key != "" {
			tried = append(tried, key)
		}
		failed.Attempts = len(tried)
		if key == "" || !errors.Is(failed.Kind, ErrKeyRejected) {
			return failed
		}
	}
	return failed
}

// A keyring is the API keys in their order, and what is known of each.
type keyring struct {
	list func() []secret.Text
	told func(State)

	mu      sync.Mutex
	keys    []apiKey
	current string // the key by which Telnyx has answered last, or may have
	epoch   atomic.Uint64
	refused uint64 // how many attempts were
}

type apiKey struct {
	text     string
	sendable bool
	state    KeyState
	// Of a rejected key: when it was last tried, and keyring.refused when it was last
	// rejected.
	tried    time.Time
	rejected uint64
}

// A turn is leave to try a key.
type turn struct {
	key     string
	refused uint64 // keyring.refused when it began
}

func newKeyring(cfg Config) *keyring {
	told := cfg.OnKeys
	if told == nil {
		told = func(State) {}
	}
	return &keyring{list: cfg.APIKeys, told: told}
}

// next returns the key to try after those that a call has tried already.
func (r *keyring) next(tried []string) (turn, bool) {
	listed := r.list()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(listed)
	now := time.Now()
	i := r.find(tried, now)
	if i < 0 {
		return turn{}, false
	}
	return r.choose(&r.keys[i], now), true
}

// another reports whether there is such a key at this moment.
func (r *keyring) another(tried []string) bool {
	listed := r.list()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take(listed)
	return r.find(tried, time.Now()) >= 0
}

// find returns the place of the key to try, or -1. A key that was rejected is skipped
// until it is time to try it again, for which one call is chosen. If all were rejected
// just now, whoever has tried none tries the one that was tried longest ago. It needs
// r.mu.
func (r *keyring) find(tried []string, now time.Time) int {
	pause, oldest := rejectedFor, -1
	if r.state().AllRejected() {
		pause = allRejectedFor
	}
	for i, k := range r.keys {
		switch {
		case !k.sendable || slices.Contains(tried, k.text):
		case k.state != KeyRejected || now.Sub(k.tried) >= pause:
			return i
		case oldest < 0 || k.tried.Before(r.keys[oldest].tried):
			oldest = i
		}
	}
	if len(tried) > 0 {
		return -1
	}
	return oldest
}

// choose has a key be tried at this moment. It needs r.mu.
func (r *keyring) choose(k *apiKey, now time.Time) turn {
	if k.state == KeyRejected {
		k.tried = now // for whoever comes next
	}
	return turn{k.text, r.refused}
}

// take takes up a changed list, in which all may be tried anew. It needs r.mu.
func (r *keyring) take(listed []secret.Text) {
	listed = listed[:min(len(listed), MaxAPIKeys)]
	same := slices.EqualFunc(r.keys, listed, func(k apiKey, t secret.Text) bool { return k.text == t.Reveal() })
	if same {
		return
	}
	before := r.keys
	r.keys = make([]apiKey, len(listed))
	for i, t := range listed {
		k := apiKey{text: t.Reveal(), sendable: sendable(t.Reveal())}
		switch {
		case !k.sendable:
			k.state = KeyRejected
		case slices.ContainsFunc(before, func(b apiKey) bool { return b.text == k.text && b.state == KeyAccepted }):
			k.state = KeyAccepted
		}
		r.keys[i] = k
	}
}

// sendable reports whether a key can stand in an Authorization header.
func sendable(key string) bool { return printable(key, maxKeyBytes) && !strings.Contains(key, " ") }

// learn takes note of what an attempt shows of its key.
func (r *keyring) learn(t turn, failed *Error) {
	var news State
	changed := false
	switch {
	// A 403 may be about what was asked for: the next key is tried, and this one is the
	// first for all others.
	case failed != nil && failed.Status == http.StatusUnauthorized:
		news, changed = r.reject(t.key)
	case failed == nil, errors.Is(failed.Kind, ErrCredentialRejected) && failed.Code != "":
		news, changed = r.accept(t)
	default:
		r.perhaps(t.key)
	}
	if changed {
		r.told(news)
	}
}

func (r *keyring) reject(key string) (State, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.state()
	r.refused++
	for i := range r.keys {
		if k := &r.keys[i]; k.text == key {
			k.state, k.tried, k.rejected = KeyRejected, time.Now(), r.refused
		}
	}
	return r.changed(before)
}

// accept also counts the epochs. An answer to what was asked before the key was
// rejected is late: the key by which Telnyx answers now is another.
func (r *keyring) accept(t turn) (State, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.state()
	late := false
	for i := range r.keys {
		if k := &r.keys[i]; k.text == t.key {
			late = k.state == KeyRejected && k.rejected > t.refused
			if !late {
				k.state = KeyAccepted
			}
		}
	}
	switch {
	case r.current == t.key:
	case r.current == "":
		r.current = t.key
	default:
		r.epoch.Add(1)
		if !late {
			r.current = t.key
		}
	}
	return r.changed(before)
}

// perhaps is for an attempt that says nothing of its key. It may have done something,
// so the first epoch is this key's.
func (r *keyring) perhaps(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = cmp.Or(r.current, key)
}

// changed returns the state, and whether it is another than before. It needs r.mu.
func (r *keyring) changed(before State) (State, bool) {
	now := r.state()
	return now, now.InUse != before.InUse || !slices.Equal(now.Keys, before.Keys)
}

func (r *keyring) stateNow() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state()
}

// state needs r.mu.
func (r *keyring) state() State {
	s := State{InUse: -1, Keys: make([]KeyState, len(r.keys))}
	for i, k := range r.keys {
		s.Keys[i] = k.state
		if k.text == r.current && k.state == KeyAccepted && s.InUse < 0 {
			s.InUse = i
		}
	}
	return s
}
