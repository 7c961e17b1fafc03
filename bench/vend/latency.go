package main

import (
	"context"
	"time"

	"github.com/tokensvc/tokensvc/bench/load"
	"github.com/tokensvc/tokensvc/bench/plot"
)

// shares of what a server can answer at most, at which its latency is measured.
var shares = []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1}

// latency plots how long answers take against how many are asked for.
func (b *bench) latency(ctx context.Context, c *contender) error {
	if b.plot == "" {
		return nil
	}
	most := median(c, func(r round) float64 { return r.perSecond })
	var p50, p99 []plot.Point
	for _, share := range shares {
		result, err := load.Open(ctx, b.plan(c.server.Address, b.users[:regulars]), share*most, quietTime)
		if err != nil {
			return err
		}
		p50 = append(p50, plot.Point{X: share * most, Y: milliseconds(result.Quantile(0.50))})
		p99 = append(p99, plot.Point{X: share * most, Y: milliseconds(result.Quantile(0.99))})
	}
	return plot.Write(b.plot, plot.Chart{
		Title: "A token from the cache: how long an answer takes", LogY: true,
		X: "requests a second, whether or not the last were answered", Y: "milliseconds",
		Series: []plot.Series{{Name: "99 of 100 within", Points: p99}, {Name: "half within", Points: p50}},
	})
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
