package main

import (
	"fmt"
	"io"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
)

// median is that of something in the rounds.
func median[T int | int64 | float64 | time.Duration](c *contender, of func(round) T) T {
	all := make([]T, len(c.rounds))
	for i, r := range c.rounds {
		all[i] = of(r)
	}
	return lab.Median(all)
}

func printTable(w io.Writer, all []*contender) {
	fmt.Fprintln(w, "| | requests per server core-second | requests a second | p50 | p99 | memory | connections opened upstream | processor of the fakes |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, c := range all {
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %s | %s | %d MiB | %d | %.0f %% |\n", c.name,
			median(c, func(r round) float64 { return r.perCoreSecond }), median(c, func(r round) float64 { return r.perSecond }),
			lab.Brief(median(c, func(r round) time.Duration { return r.p50 })), lab.Brief(median(c, func(r round) time.Duration { return r.p99 })),
			median(c, func(r round) int64 { return r.memory })>>20, opened(c), 100*median(c, func(r round) float64 { return r.upstream }))
	}
}

// opened is the most connections that were opened in a round.
func opened(c *contender) (most int) {
	for _, r := range c.rounds {
		most = max(most, r.opened)
	}
	return most
}

// ratio is the median, over the rounds, of how many more requests one answers than
// the other for the same processor time.
func ratio(of, to *contender) float64 {
	var all []float64
	for i := range of.rounds {
		all = append(all, of.rounds[i].perCoreSecond/to.rounds[i].perCoreSecond)
	}
	return lab.Median(all)
}

// checks holds what was measured to the aims.
func (c *contenders) checks(connections int, added time.Duration) []lab.Check {
	return []lab.Check{
		lab.AtLeast("from the cache, against net/http that answers the same bytes", ratio(c.cached, c.bare), 0.65, "×"),
		lab.AtLeast("from the cache, against hand-written Go", ratio(c.cached, c.handGo), 9, "×"),
		lab.AtLeast("from the cache, against hand-written Node", ratio(c.cached, c.handNode), 28, "×"),
		lab.AtLeast("minting, against hand-written Go", ratio(c.minting, c.handGo), 2, "×"),
		lab.AtMost("connections opened to Telnyx by minting", float64(opened(c.minting)), float64(connections), ""),
		lab.AtMost("milliseconds that minting adds to Telnyx's own p50", float64(added)/float64(time.Millisecond), 1, "ms"),
		lab.Seen("first logins, against hand-written Go", ratio(c.first, c.handGo), "×"),
	}
}
