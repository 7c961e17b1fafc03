package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
)

// heapFloor is the heap, in bytes, below which collecting garbage is not worth the
// work. What a service with few users keeps is so little that it would collect all
// the time; what one with many keeps is more than this, and collected as usual.
const heapFloor = 24 << 20

// A collector sets how much the heap may grow before garbage is collected: by as
// much as there is, as usual, or to heapFloor if that is more. A memory limit, as in
// GOMEMLIMIT, goes before it.
type collector struct {
	percent int // that is set
	stopped atomic.Bool
}

// tuneCollector has the collector tuned after each collection, for as long as the
// process lives. If the environment says how to collect, it stays at that.
func tuneCollector(environ []string) {
	if !collectorIsSet(environ) {
		(&collector{percent: 100}).tuneAgain()
	}
}

// collectorIsSet reports whether the environment says how to collect.
func collectorIsSet(environ []string) bool {
	return slices.ContainsFunc(environ, func(v string) bool { return len(v) > len("GOGC=") && strings.HasPrefix(v, "GOGC=") })
}

// tuneAgain waits for the next collection, which finds that nobody has the mark.
func (c *collector) tuneAgain() {
	mark := &struct{ _ [16]byte }{}
	runtime.AddCleanup(mark, func(c *collector) {
		if !c.stopped.Load() {
			c.tune()
			c.tuneAgain()
		}
	}, c)
}

func (c *collector) tune() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	// Setting it stops everything for a moment, so small changes are left.
	if percent := percentFor(live[0].Value.Uint64()); percent < c.percent*9/10 || percent > c.percent*11/10 {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// percentFor is what to set when so many bytes are in use.
func percentFor(live uint64) int {
	// The runtime's own least heap is 4 MiB at 100 %, and grows with it.
	const usual, most = 100, heapFloor / (4 << 20) * 100
	if live == 0 || live >= heapFloor/2 { // there has been no collection yet, or enough is in use
		return usual
	}
	return int(min((heapFloor-live)*100/live, most))
}
