package provisioning

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/internal/crash"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

const (
	// lookAgain is how soon to look whether another replica has made what this one
	// is to make. The pause grows to lookSeldom.
	lookAgain  = 200 * time.Millisecond
	lookSeldom = time.Second
	// bookTime is for the books, to write down what was made.
	bookTime = 15 * time.Second
	// flightsOfOne bounds for how many devices of one user credentials are being made
	// at once, here. The books know of a credential when it is made, so it bounds by
	// how many MaxDevices is exceeded, too, until they are deleted.
	flightsOfOne = 8
)

// A crowd counts what is under way for each user.
type crowd struct {
	mu sync.Mutex
	of map[string]int
}

// enter counts one more for the user, unless there are that many already.
func (c *crowd) enter(user string, most int) (leave func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[user] >= most {
		return nil, false
	}
	c.of[user]++
	return func() { c.leave(user) }, true
}

func (c *crowd) leave(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[user]--; c.of[user] == 0 {
		delete(c.of, user)
	}
}

// flightsOf is how many of them there may be for a user.
func (cfg Config) flightsOf() int {
	if cfg.MaxDevices == 0 {
		return flightsOfOne
	}
	return min(cfg.MaxDevices, flightsOfOne)
}

// soon is the answer to who has to come back.
func (f *Finder) soon() error {
	return &directory.NotReadyError{RetryAfter: max(f.cfg.ReadyAfter, time.Second)}
}

// telnyxTime bounds the calls for one credential: to look for it, to make it.
func (f *Finder) telnyxTime() time.Duration { return 2 * f.cfg.CallTimeout }

// hold is for how long a credential is ours to make. It is more than that takes,
// so nobody else begins while we are at it.
func (f *Finder) hold() time.Duration { return f.telnyxTime() + 2*bookTime }

// makeOnce joins the flight that makes the credential, or starts it, and waits for
// it for as long as the caller has time. It is made in the name of who starts it.
func (f *Finder) makeOnce(ctx context.Context, by store.By, p place) (store.Credential, error) {
	leave, ok := f.enter()
	if !ok {
		return store.Credential{}, f.soon()
	}
	defer leave()
	landed := f.flights.DoChan(p.user+"\x00"+string(p.device), func() (any, error) {
		return f.fly(context.WithoutCancel(ctx), by, p)
	})
	select {
	case result := <-landed:
		c, _ := result.Val.(store.Credential)
		return c, result.Err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return store.Credential{}, f.soon()
		}
		return store.Credential{}, ctx.Err()
	}
}

// fly makes the credential once it is ours to make, unless another has made it by
// then. A panic ends here: beyond is a goroutine of the library's, in which it
// would end the process.
func (f *Finder) fly(ctx context.Context, by store.By, p place) (c store.Credential, err error) {
	defer crash.Into(&err)
	leave, ok := f.users.enter(p.user, f.cfg.flightsOf())
	if !ok {
		return c, f.soon()
	}
	defer leave()
	defer f.inFlight.Add(-1)
	if f.inFlight.Add(1) > int64(f.cfg.MaxWaiting) {
		return c, f.soon()
	}
	i := store.Intent{Name: Name(f.cfg.Instance, p.user, p.device), User: p.user, Device: p.device, Holder: f.cfg.Holder}
	c, ours, err := f.begin(ctx, i)
	if err != nil || !ours {
		return c, err
	}
	began := f.cfg.Now()
	c, adopted, err := f.make(ctx, by, i)
	f.cfg.OnCreate(f.cfg.Now().Sub(began), adopted, err)
	f.Changed(store.Change{User: p.user}) // another device of the user's may have lost its own
	return c, err
}

// begin waits until the credential is there, or is ours to make.
func (f *Finder) begin(ctx context.Context, i store.Intent) (c store.Credential, ours bool, err error) {
	// Whoever holds it may have died, so it is ours after a hold at the latest.
	ctx, cancel := context.WithTimeout(ctx, f.hold()+bookTime)
	defer cancel()
	for pause := lookAgain; ; pause = min(2*pause, lookSeldom) {
		c, err = f.cfg.Store.Begin(ctx, i, f.limits, f.hold())
		switch {
		case !errors.Is(err, store.ErrHeld):
			return c, err == nil && c.ID.IsZero(), err
		case !f.cfg.Wait || sleep(ctx, pause) != nil:
			return c, false, f.soon()
		}
	}
}
