package telnyx

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A watchman is a gate that lets attempts through until its errors begin, and
// writes down what it sees.
type watchman struct {
	errs    []error // of each Enter in turn; none beyond
	entered []CredentialID
	left    []Attempt
}

func (w *watchman) Enter(_ context.Context, about CredentialID) error {
	n := len(w.entered)
	w.entered = append(w.entered, about)
	if n < len(w.errs) {
		return w.errs[n]
	}
	return nil
}

func (w *watchman) Leave(a Attempt) { w.left = append(w.left, a) }

func guarded(t *testing.T, w *watchman, steps ...step) (*Client, *script) {
	t.Helper()
	client, script := play(t, steps...)
	client.gate = w
	return client, script
}

func TestTheGateSeesEveryAttempt(t *testing.T) {
	limits := []string{"x-ratelimit-limit", "300", "x-ratelimit-remaining", "17", "x-ratelimit-reset", "1"}
	for _, row := range []struct {
		name  string
		op    string
		steps []step
		want  []Attempt
	}{
		{"success", "mint", []step{done}, []Attempt{{About: someID, Status: 200}}},
		{"about no credential", "list", []step{done}, []Attempt{{Status: 200}}},
		{"a 503, then a 429, then success", "mint", []step{status(503), status(429, "Retry-After", "2"), done}, []Attempt{
			{About: someID, Kind: ErrUnavailable, Status: 503}, {About: someID, Kind: ErrLimited, RetryAfter: 2 * time.Second, Status: 429}, {About: someID, Status: 200},
		}},
		{"limits in a refusal", "create", []step{status(422, limits...)}, []Attempt{
			{Kind: ErrCredentialRejected, Status: 422, Limit: 300, Remaining: 17, Reset: time.Second},
		}},
		{"no connection", "create", []step{nil, done}, []Attempt{{Kind: ErrUnavailable}, {Status: 201}}},
		{"no answer", "create", []step{hang}, []Attempt{{Kind: ErrTimeout}}},
		{"nonsense", "get", []step{status(200, limits...)}, []Attempt{
			{About: someID, Kind: ErrBadAnswer, Status: 200, Limit: 300, Remaining: 17, Reset: time.Second},
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var w watchman
				client, _ := guarded(t, &w, row.steps...)
				operations[row.op](t.Context(), client)
				if !slices.Equal(w.left, row.want) || len(w.entered) != len(row.want) {
					t.Errorf("%d let in, and seen to leave: %+v\nwant %+v", len(w.entered), w.left, row.want)
				}
			})
		})
	}
}

func TestACallerWhoLeavesSaysNothingOfTelnyx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watchman
		client, _ := guarded(t, &w, hang)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		operations["mint"](ctx, client)
		if !slices.Equal(w.left, []Attempt{{About: someID, Kind: context.Canceled}}) {
			t.Errorf("left: %+v", w.left)
		}
	})
}

func TestAPanicLeavesTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watchman
		client, _ := guarded(t, &w, done)
		func() {
			defer func() { _ = recover() }()
			_ = client.do(t.Context(), call{
				op: "get", credential: someID, method: http.MethodGet, path: credentialPath(someID),
				accept: okOnly, maxBody: 1 << 10, decode: func([]byte) error { panic("a bug") },
			})
			t.Error("there was no panic")
		}()
		if len(w.left) != 1 || !errors.Is(w.left[0].Kind, context.Canceled) {
			t.Errorf("left: %+v", w.left)
		}
	})
}

func TestAWithheldAttemptIsNotMade(t *testing.T) {
	inLine := errors.New("in line")
	for _, row := range []struct {
		name       string
		errs       []error
		steps      []step
		requests   int
		kind       error
		retryAfter time.Duration
	}{
		{"the first", []error{Withheld(ErrLimited, 3*time.Second, inLine)}, []step{done}, 0, ErrLimited, 3 * time.Second},
		{"a repeated one", []error{nil, Withheld(ErrUnavailable, time.Second, inLine)}, []step{status(500), done}, 1, ErrUnavailable, time.Second},
		{"for ages", []error{Withheld(ErrTimeout, time.Hour, inLine)}, []step{done}, 0, ErrTimeout, MaxRetryAfter},
		{"for less than nothing", []error{Withheld(ErrTimeout, -time.Hour, inLine)}, []step{done}, 0, ErrTimeout, 0},
		{"by a gate that does not say why", []error{errors.New("MARKED")}, []step{done}, 0, ErrUnavailable, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watchman{errs: row.errs}
				client, script := guarded(t, &w, row.steps...)
				err := operations["mint"](t.Context(), client)
				e, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(e.Kind, row.kind) || e.RetryAfter != row.retryAfter || e.Attempts != row.requests || !e.WasWithheld() {
					t.Errorf("got %+v", err)
				}
				if n := int(script.count.Load()); n != row.requests || len(w.left) != row.requests {
					t.Errorf("%d requests, %d seen to leave, want %d", n, len(w.left), row.requests)
				}
				if strings.Contains(err.Error(), "MARKED") || e.Op != "mint" || e.Credential != someID {
					t.Errorf("it says %v", err)
				}
			})
		})
	}
}

func TestAWithheldAttemptCostsNoBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchman{errs: slices.Repeat([]error{Withheld(ErrUnavailable, 0, nil)}, 50)}
		client, _ := guarded(t, &w, status(503), done)
		for range 50 {
			operations["mint"](t.Context(), client)
		}
		if err := operations["mint"](t.Context(), client); err != nil || len(w.left) != 2 {
			t.Errorf("got %v after %d attempts, want a retry that succeeds", err, len(w.left))
		}
	})
}

func TestACallersEndAtTheGateIsTheCalls(t *testing.T) {
	for name, row := range map[string]struct{ ends, kind error }{
		"gone":    {context.Canceled, context.Canceled},
		"too old": {context.DeadlineExceeded, ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watchman{errs: []error{row.ends}}
				client, _ := guarded(t, &w, done)
				ctx, cancel := context.WithDeadline(t.Context(), time.Now())
				if errors.Is(row.ends, context.Canceled) {
					ctx, cancel = context.WithCancel(t.Context())
				}
				cancel()
				if err := operations["mint"](ctx, client); !errors.Is(err, row.kind) {
					t.Errorf("got %v, want %v", err, row.kind)
				}
			})
		})
	}
}

func TestWhatTheLimitHeadersMaySay(t *testing.T) {
	for _, row := range []struct {
		limit, remaining, reset string
		want                    Attempt
	}{
		{"300", "299", "1", Attempt{Limit: 300, Remaining: 299, Reset: time.Second}},
		{" 60 ", "0", "60", Attempt{Limit: 60, Reset: time.Minute}},
		{"", "5", "5", Attempt{}},
		{"0", "0", "1", Attempt{}},
		{"-1", "5", "5", Attempt{}},
		{"1e3", "5", "5", Attempt{}},
		{"300, 300;w=60", "5", "5", Attempt{}},
		{"99999999999999999999", "5", "5", Attempt{}},
		{"10000001", "5", "5", Attempt{}},
		{"10000000", "5", "5", Attempt{Limit: MaxLimit, Remaining: 5, Reset: 5 * time.Second}},
		{"300", "", "1", Attempt{Limit: 300, Remaining: 300, Reset: time.Second}}, // unknown is not none
		{"300", "many", "1", Attempt{Limit: 300, Remaining: 300, Reset: time.Second}},
		{"300", "301", "1", Attempt{Limit: 300, Remaining: 300, Reset: time.Second}},
		{"300", "-1", "1", Attempt{Limit: 300, Remaining: 300, Reset: time.Second}},
		{"300", "1", "300", Attempt{Limit: 300, Remaining: 1, Reset: MaxRetryAfter}},
		{"300", "1", "1764028833", Attempt{Limit: 300, Remaining: 1}}, // a date
		{"300", "1", "0.5", Attempt{Limit: 300, Remaining: 1}},
		{"300", "1", "", Attempt{Limit: 300, Remaining: 1}},
	} {
		h := http.Header{}
		h.Set("X-RateLimit-Limit", row.limit)
		h.Set("X-RateLimit-Remaining", row.remaining)
		h.Set("X-RateLimit-Reset", row.reset)
		var got Attempt
		if got.readLimits(h); got != row.want {
			t.Errorf("%q, %q, %q: got %+v, want %+v", row.limit, row.remaining, row.reset, got, row.want)
		}
	}
}

// A lock lets so many attempts in, and then nobody.
type lock struct{ lets int }

func (l *lock) Enter(ctx context.Context, _ CredentialID) error {
	if l.lets--; l.lets >= 0 {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l *lock) Leave(Attempt) {}

// Whose time ends in line for another attempt is told what came of the one that was
// made: Telnyx has answered that.
func TestTimeThatEndsBeforeARetryIsNotTelnyxs(t *testing.T) {
	for lets, want := range map[int]error{0: ErrTimeout, 1: ErrLimited} {
		synctest.Test(t, func(t *testing.T) {
			client, _ := play(t, status(429), done)
			client.gate = &lock{lets}
			if err := operations["mint"](t.Context(), client); !errors.Is(err, want) {
				t.Errorf("%d attempts let in: got %v, want %v", lets, err, want)
			}
		})
	}
}
