package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
)

const (
	// telnyxLimit is one that nobody meets here, so that calls are counted as they
	// are where Telnyx has a limit.
	telnyxLimit = 50_000
	// settle is how long replicas have to open what they need.
	settle = 3 * time.Second
	// forget is longer than the service believes what it has read of the directory.
	forget = 2500 * time.Millisecond
)

// bench is one run.
type bench struct {
	users    int
	replicas []int
	idle     time.Duration
	binary   string

	lab      *lab.Lab
	upstream *lab.Upstream
	books    *books
	cache    *cache
	services []*lab.Server
	still    counts // what goes by in a second when nobody logs in
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.users < 1 {
		return errors.New("there must be users")
	}
	if b.lab, err = lab.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	if b.binary == "" {
		if b.binary, err = b.lab.Tokensvc(ctx); err != nil {
			return err
		}
	}
	b.upstream, err = b.lab.Upstream(ctx, lab.UpstreamOptions{
		Users: b.users*len(b.replicas) + slowUsers*len(delays), Algorithm: "RS256", Limit: telnyxLimit,
	})
	if err != nil {
		return err
	}
	if b.books, err = openBooks(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.books.close(ctx)) }()
	if b.cache, err = openCache(ctx, b.lab); err != nil {
		return err
	}
	defer b.cache.client.Close()
	lab.PrintMachine(ctx, os.Stdout)
	return errors.Join(b.all(ctx), b.slowLine(ctx))
}

// all measures every number of replicas, each with people of its own.
func (b *bench) all(ctx context.Context) error {
	everybody, err := b.upstream.Users(ctx, b.users*len(b.replicas))
	if err != nil {
		return err
	}
	again, err := b.upstream.Users(ctx, len(everybody)) // the same, each with another bearer
	if err != nil {
		return err
	}
	var idles []idle
	var costs []cost
	for n, replicas := range b.replicas {
		i, some, err := b.measure(ctx, replicas, everybody[n*b.users:(n+1)*b.users], again[n*b.users:(n+1)*b.users])
		if err != nil {
			return fmt.Errorf("%d replicas: %w", replicas, err)
		}
		idles, costs = append(idles, i), append(costs, some...)
	}
	printIdle(os.Stdout, idles)
	printCosts(os.Stdout, costs)
	return nil
}

// start starts so many replicas on one directory.
func (b *bench) start(ctx context.Context, replicas int, directory string, more ...string) error {
	for n := range replicas {
		env := append([]string{
			"TOKENSVC_DIRECTORY=" + directory, "TOKENSVC_PROVISION_CONNECTION_ID=1234567890",
			"TOKENSVC_PROVISION_INSTANCE=scale", "TOKENSVC_PROVISION_READY_AFTER=0s", "TOKENSVC_LOG_LEVEL=error",
		}, b.cache.env...)
		service, err := b.lab.Service(ctx, fmt.Sprintf("tokensvc-%d", n+1), b.binary, b.upstream, nil, append(env, more...)...)
		if err != nil {
			return err
		}
		b.services = append(b.services, service)
	}
	return lab.Sleep(ctx, settle)
}

func (b *bench) stop() (err error) {
	for _, s := range b.services {
		err = errors.Join(err, s.Stop())
	}
	b.services = nil
	return err
}

// measure measures so many replicas: idle, and what these users cost in every way
// in which one can log in, with one bearer and with another.
func (b *bench) measure(ctx context.Context, replicas int, users, again []lab.User) (i idle, costs []cost, err error) {
	if err := b.start(ctx, replicas, b.books.address); err != nil {
		return i, nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	if i, err = b.watchIdle(ctx); err != nil {
		return i, nil, err
	}
	steps := []struct {
		what   string
		users  []lab.User
		beside int // how many replicas further than the first time
		night  bool
	}{
		{"first login: credential created, token minted", users, 0, false},
		{"on another replica: token taken from Redis", users, 1, false},
		{"again on the first: token kept, bearer known", users, 0, false},
		{"the same with a new bearer", again, 0, false},
		{"next day: a new token is minted", users, 0, true},
	}
	for _, s := range steps {
		if replicas == 1 && s.beside > 0 {
			continue
		}
		if s.night {
			if err := b.night(ctx, replicas); err != nil {
				return i, nil, err
			}
		}
		c, err := b.login(ctx, s.users, s.beside)
		if err != nil {
			return i, nil, fmt.Errorf("%s: %w", s.what, err)
		}
		c.what, c.replicas = s.what, replicas
		costs = append(costs, c)
		if err := lab.Sleep(ctx, forget); err != nil {
			return i, nil, err
		}
	}
	i.connections, err = b.books.connections(ctx)
	return i, costs, err
}

// night is after which nobody has a token any more.
func (b *bench) night(ctx context.Context, replicas int) error {
	if err := errors.Join(b.stop(), b.cache.empty(ctx)); err != nil {
		return err
	}
	return b.start(ctx, replicas, b.books.address)
}
