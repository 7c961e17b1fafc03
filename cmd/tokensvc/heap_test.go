package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestHowFarTheHeapMayGrow(t *testing.T) {
	const mib = 1 << 20
	for _, row := range []struct {
		live uint64
		want int // percent
	}{
		{0, 100}, // not known
		{1 * mib, 600},
		{4 * mib, 500},
		{8 * mib, 200},
		{12*mib - 1, 100},
		{12 * mib, 100},
		{500 * mib, 100},
	} {
		if got := percentFor(row.live); got != row.want {
			t.Errorf("with %d bytes in use %d %%, want %d", row.live, got, row.want)
		}
	}
}

func TestTheCollectorFollowsWhatIsInUse(t *testing.T) {
	before := debug.SetGCPercent(100)
	c := &collector{percent: 100}
	t.Cleanup(func() { c.stopped.Store(true); debug.SetGCPercent(before) })
	c.tuneAgain()
	set := func() int {
		percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(percent)
		return int(percent[0].Value.Uint64())
	}
	await := func(what string, ok func(percent int) bool) {
		t.Helper()
		limit := time.After(10 * time.Second)
		for !ok(set()) {
			runtime.GC()
			select {
			case <-limit:
				t.Fatalf("%s: %d %%", what, set())
			case <-time.After(time.Millisecond):
			}
		}
	}
	await("little in use", func(percent int) bool { return percent > 100 })
	kept := make([]byte, 4*heapFloor)
	await("much in use", func(percent int) bool { return percent == 100 })
	runtime.KeepAlive(kept)
}

func TestWhatTheEnvironmentSaysOfTheCollectorStays(t *testing.T) {
	for variable, want := range map[string]bool{"GOGC=100": true, "GOGC=off": true, "GOGC=": false, "GOGCX=1": false, "GOMEMLIMIT=100MiB": false} {
		if got := collectorIsSet([]string{"PATH=/bin", variable}); got != want {
			t.Errorf("%s sets it: %v, want %v", variable, got, want)
		}
	}
}
