package main

import (
	"context"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

// A contender is a server, and what was measured of it.
type contender struct {
	name   string
	server *lab.Server
	rounds []round
}

// round is what one turn came to.
type round struct {
	perCoreSecond float64
	perSecond     float64
	p50, p99      time.Duration
	opened        int     // connections, at Telnyx
	upstream      float64 // share of a processor that the fakes took
	memory        int64   // bytes, at the end
}

// measure has a server answer the regular users for a while.
func (b *bench) measure(ctx context.Context, c *contender) error {
	plan := b.plan(c.server.Address, b.users[:regulars])
	before, err := b.upstream.Counts(ctx)
	if err != nil {
		return err
	}
	if _, err := load.Closed(ctx, plan, warmUp); err != nil {
		return err
	}
	return b.record(ctx, c, before.Connections, func() (*load.Result, error) { return load.Closed(ctx, plan, b.lasting) })
}

// measureFirst has a service that was just started answer users whom it has never
// seen, each once.
func (b *bench) measureFirst(ctx context.Context, c *contender) (err error) {
	if c.server, err = b.lab.Service(ctx, "tokensvc-first", b.binary, b.upstream, b.users); err != nil {
		return err
	}
	before, err := b.upstream.Counts(ctx)
	if err != nil {
		return err
	}
	err = b.record(ctx, c, before.Connections, func() (*load.Result, error) {
		return load.Once(ctx, b.plan(c.server.Address, b.users))
	})
	if err != nil {
		return err
	}
	return c.server.Stop()
}

// record runs a load and keeps what it came to.
func (b *bench) record(ctx context.Context, c *contender, connections int, run func() (*load.Result, error)) error {
	cost, err := lab.Measure(c.server.Process, b.upstream.Process)
	if err != nil {
		return err
	}
	result, err := run()
	if err != nil {
		return err
	}
	spent, err := cost.Spent()
	if err != nil {
		return err
	}
	counts, err := b.upstream.Counts(ctx)
	if err != nil {
		return err
	}
	now, _, err := c.server.Memory()
	if err != nil {
		return err
	}
	c.rounds = append(c.rounds, round{
		perCoreSecond: float64(result.Count()) / spent[0].Seconds(),
		perSecond:     result.Rate(),
		p50:           result.Quantile(0.50), p99: result.Quantile(0.99),
		opened:   counts.Connections - connections,
		upstream: spent[1].Seconds() / result.Took.Seconds(),
		memory:   now,
	})
	return nil
}

// upstreamAlone is how many requests the fake Telnyx answers in a second when it is
// asked by this process: much more than any server makes it answer, or it would be
// it that is measured. It is the most of several times, as the machine may have
// other work.
func (b *bench) upstreamAlone(ctx context.Context) (most float64, err error) {
	for range b.rounds {
		result, err := load.Closed(ctx, b.direct(), warmUp)
		if err != nil {
			return 0, err
		}
		most = max(most, result.Rate())
	}
	return most, nil
}
