package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

const connections = 4 // to each replica

// counts is what everything has done so far, in between, or in a second.
type counts struct {
	telnyx     float64 // calls
	commands   float64 // of Redis
	redisBytes float64
	statements float64 // of PostgreSQL
	redis      float64 // processor time, in microseconds, and so on
	postgres   float64
	service    float64
	seconds    float64
}

// count reads them.
func (b *bench) count(ctx context.Context) (c counts, err error) {
	u, err := b.upstream.Counts(ctx)
	if err != nil {
		return c, err
	}
	cache, err := b.cache.done(ctx)
	if err != nil {
		return c, err
	}
	statements, err := b.books.statements(ctx)
	if err != nil {
		return c, err
	}
	c = counts{
		telnyx: float64(u.Mints + u.Lists + u.Creates), commands: cache.commands, redisBytes: cache.bytes, statements: float64(statements),
		redis: micros(cache.busy), postgres: micros(b.books.busy()), seconds: float64(time.Now().UnixMilli()) / 1000,
	}
	for _, s := range b.services {
		busy, err := s.CPU()
		if err != nil {
			return c, err
		}
		c.service += micros(busy)
	}
	return c, nil
}

func micros(d time.Duration) float64 { return float64(d.Microseconds()) }

// plus adds another so many times.
func (c counts) plus(o counts, times float64) counts {
	return counts{
		c.telnyx + times*o.telnyx, c.commands + times*o.commands, c.redisBytes + times*o.redisBytes, c.statements + times*o.statements,
		c.redis + times*o.redis, c.postgres + times*o.postgres, c.service + times*o.service, c.seconds + times*o.seconds,
	}
}

// by is a share of them.
func (c counts) by(n float64) counts { return counts{}.plus(c, 1/n) }

// idle is what so many replicas do in a second when nobody logs in.
type idle struct {
	replicas    int
	connections int // to PostgreSQL, after people have logged in
	second      counts
}

func (b *bench) watchIdle(ctx context.Context) (idle, error) {
	before, err := b.count(ctx)
	if err != nil {
		return idle{}, err
	}
	if err := lab.Sleep(ctx, b.idle); err != nil {
		return idle{}, err
	}
	after, err := b.count(ctx)
	spent := after.plus(before, -1)
	b.still = spent.by(spent.seconds)
	return idle{replicas: len(b.services), second: b.still}, err
}

// cost is what one login costs, apart from what would have gone by anyway.
type cost struct {
	what     string
	replicas int
	each     counts
	rate     float64 // logins a second, with all of this on one machine
}

// login has every user log in once, on the replica that is so many beside theirs.
func (b *bench) login(ctx context.Context, users []lab.User, beside int) (cost, error) {
	plans := make([]load.Plan, len(b.services))
	for n, s := range b.services {
		plans[n] = load.Plan{Address: s.Address, Connections: connections}
	}
	for n, u := range users {
		p := &plans[(n+beside)%len(plans)]
		p.Requests = append(p.Requests, load.Post(p.Address, "/v1/token", u.Bearer, ""))
	}
	before, err := b.count(ctx)
	if err != nil {
		return cost{}, err
	}
	failures := make([]error, len(plans))
	var asking sync.WaitGroup
	began := time.Now()
	for n, p := range plans {
		if len(p.Requests) > 0 {
			asking.Go(func() { _, failures[n] = load.Once(ctx, p) })
		}
	}
	asking.Wait()
	took := time.Since(began)
	if err := errors.Join(failures...); err != nil {
		return cost{}, err
	}
	if err := lab.Sleep(ctx, afterwards); err != nil { // what others do who hear of it
		return cost{}, err
	}
	after, err := b.count(ctx)
	spent := after.plus(before, -1)
	spent = spent.plus(b.still, -spent.seconds)
	return cost{each: spent.by(float64(len(users))), rate: float64(len(users)) / took.Seconds()}, err
}

// afterwards is how long what logins cause goes on after them.
const afterwards = time.Second
