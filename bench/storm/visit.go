package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

// A visit is one user's way to a token.
type visit struct {
	user lab.User
	from netip.Addr
	due  time.Time

	told []time.Duration // how long to wait, each time
	got  time.Time       // the token; zero if never
	err  error
}

// addressOf is where user n is: everybody has an address of their own.
func addressOf(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + n>>16), byte(n >> 8), byte(n)}) //nolint:gosec // cut on purpose
}

// login asks until there is a token, and waits as long as it is told to between.
func (v *visit) login(ctx context.Context, services []*lab.Server) {
	wait := time.Until(v.due)
	for {
		if lab.Sleep(ctx, wait) != nil {
			v.err = errors.New("had no token when the storm was over")
			return
		}
		// Whichever replica the balancer picks.
		service := services[rand.IntN(len(services))] //nolint:gosec // chance is all that is wanted
		answer, err := v.ask(ctx, service)
		switch {
		case err != nil:
			v.err = err
			return
		case load.WantToken(answer) == nil:
			v.got = time.Now()
			return
		case answer.RetryAfter <= 0 || answer.Status != http.StatusServiceUnavailable && answer.Status != http.StatusTooManyRequests:
			v.err = fmt.Errorf("%s got %d %s", v.user.Name, answer.Status, answer.Body)
			return
		}
		wait = answer.RetryAfter
		v.told = append(v.told, wait)
	}
}

// ask uses a connection of its own, as a browser that has not been here does.
func (v *visit) ask(ctx context.Context, service *lab.Server) (load.Answer, error) {
	c := load.NewConnection(service.Address, v.from)
	defer c.Close()
	return c.Exchange(ctx, load.Post(service.Address, "/v1/token", v.user.Bearer, ""))
}

// failures tells of some of those who failed, and of how many there were.
func failures(visits []*visit) error {
	const shown = 3
	var some []error
	failed := 0
	for _, v := range visits {
		if v.err == nil {
			continue
		}
		if failed++; failed <= shown {
			some = append(some, v.err)
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d got no token: %w", failed, len(visits), errors.Join(some...))
}
