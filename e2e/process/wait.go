package process

import (
	"context"
	"os"
	"testing"
	"time"
)

// between is how long lies between two tries of Eventually.
const between = 50 * time.Millisecond

// Eventually calls try, at once and then twenty times a second, until it returns
// nil, and fails the test with its last error when that takes too long.
func Eventually(t testing.TB, limit time.Duration, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		case <-tick.C:
		}
	}
}

// Skip skips the test for want of something on this machine, or fails it when
// NO_SKIP is set, as `make test` does: a gate that skips guards nothing. The name
// has no TOKENSVC_ prefix, whose unknown variables the binary refuses.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("NO_SKIP") != "" { //nolint:forbidigo // of tests, and only they use this
		t.Fatalf("%s, and NO_SKIP is set", why)
	}
	t.Skip(why)
}
