package rolling_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/bench/load"
	"github.com/tokensvc/tokensvc/e2e/process"
)

const (
	regulars    = 20          // who ask again and again
	longest     = time.Minute // that a crowd asks, if nobody stops it
	connections = 32          // of the crowd to the balancer
	settled     = 30          // answers that a step of a test waits for, so that it happens under load
	patience    = 30 * time.Second
)

// A crowd asks at a steady rate, every other time somebody who has not asked
// before and for whom Telnyx must be asked. Whoever is answered with anything but
// a token of their own ends it.
type crowd struct {
	stop   context.CancelFunc
	done   chan struct{}
	err    error // once it is done
	result *load.Result

	mu       sync.Mutex
	owners   map[string]string // credential by who asked
	people   map[string]string // and the other way round
	answered int
}

// names are all who ask in a crowd, in the order of their first time.
func names() []string {
	var all []string
	for n := range int(*perSecond * longest.Seconds()) {
		if n%2 == 0 {
			all = append(all, fmt.Sprintf("newcomer-%d", n/2))
		} else {
			all = append(all, fmt.Sprintf("regular-%d", n/2%regulars))
		}
	}
	return all
}

// gather has them ask, until the test has the crowd leave. The label of their
// device is their name, so that an answer says whom it is for.
func (w *world) gather(t *testing.T, claims map[string]any) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{stop: stop, done: make(chan struct{}), owners: map[string]string{}, people: map[string]string{}}
	plan := load.Plan{Address: w.balancer.addr, Connections: connections, Check: func(a load.Answer) error { return c.check(w, a) }}
	for _, name := range names() {
		plan.Requests = append(plan.Requests, load.Post(plan.Address, "/v1/token", w.issuer.Bearer(name, claims), fmt.Sprintf(`{"device":%q}`, name)))
	}
	go func() {
		defer close(c.done)
		c.result, c.err = load.Open(ctx, plan, *perSecond, longest)
	}()
	t.Cleanup(func() { stop(); <-c.done })
	c.moveOn(t)
	return c
}

// check wants a token for a credential that only who asked has, always the same.
func (c *crowd) check(w *world, a load.Answer) error {
	var got struct{ Token, Device string }
	if a.Status != 200 || json.Unmarshal(a.Body, &got) != nil {
		return fmt.Errorf("somebody was answered %d %.300s", a.Status, a.Body)
	}
	credential, ok := w.telnyx.CredentialOf(got.Token)
	if !ok {
		return fmt.Errorf("%s got what is no token", got.Device)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered++
	if had := c.owners[got.Device]; had != "" && had != credential {
		return fmt.Errorf("%s got tokens for two credentials", got.Device)
	}
	if owner := c.people[credential]; owner != "" && owner != got.Device {
		return fmt.Errorf("%s got a token for the credential of %s", got.Device, owner)
	}
	c.owners[got.Device], c.people[credential] = credential, got.Device
	return nil
}

// soFar is how many have been answered.
func (c *crowd) soFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

// moveOn waits until some more have been answered.
func (c *crowd) moveOn(t *testing.T) {
	t.Helper()
	from := c.soFar()
	process.Eventually(t, patience, "more answers", func() error {
		select {
		case <-c.done:
			t.Fatalf("the crowd is gone: %v", c.err)
		default:
		}
		if n := c.soFar() - from; n < settled {
			return fmt.Errorf("%d have been answered", n)
		}
		return nil
	})
}

// leave ends the crowd, wants that nobody in it was disappointed, and returns how
// many answers there were.
func (c *crowd) leave(t *testing.T) int {
	t.Helper()
	c.stop()
	<-c.done
	if c.err != nil && !errors.Is(c.err, context.Canceled) {
		t.Errorf("the crowd: %v", c.err)
	}
	t.Logf("%d requests of %d people, none failed; p50 %v, p99 %v, slowest %v", c.answered, len(c.owners),
		c.result.Quantile(0.5), c.result.Quantile(0.99), c.result.Quantile(1))
	return c.answered
}
