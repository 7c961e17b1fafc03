package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// While Telnyx hangs, those who wait for it are not in the way of whoever has a
// token already.
func TestAHangingTelnyxLeavesRoomForWhoeverHasAToken(t *testing.T) {
	const room = 4
	var cold []string
	for i := range 4 * room {
		cold = append(cold, fmt.Sprint("cold-", i))
	}
	l := newLab(t, telnyxtest.Options{}, append(cold, "alice")...)
	s := startService(t, l.with(setting{"TOKENSVC_LIMITS_IN_FLIGHT", fmt.Sprint(room)}))
	c := call(t, s)
	alice := bearing(l.issuer.Bearer("alice", nil))
	l.wantToken(t, "alice", c.send(alice))

	l.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Shape: telnyxtest.Hang})
	ctx, leave := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	answers := make(chan string, len(cold))
	for _, user := range cold {
		bearer := bearing(l.issuer.Bearer(user, nil))
		waiting.Go(func() {
			if got, err := c.try(ctx, bearer); err == nil { // else it has waited until the end
				answers <- got.problem().Code
			}
		})
	}
	for range len(cold) - room/2 {
		select {
		case code := <-answers:
			if code != "overloaded" {
				t.Errorf("a cold caller got %s, want overloaded", code)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("more cold callers wait than half of the room")
		}
	}
	for range 10 {
		l.wantToken(t, "alice", c.send(alice))
	}
	leave()
	waiting.Wait()
}
