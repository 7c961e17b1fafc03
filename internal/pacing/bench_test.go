package pacing_test

import (
	"context"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func benchmark(b *testing.B, a telnyx.Attempt) {
	gate := newPacer(b, pacing.Config{}).Logins()
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	a.About = id(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := gate.Enter(ctx, a.About); err != nil {
				b.Error(err)
				return
			}
			gate.Leave(a)
		}
	})
}

func BenchmarkUnlimited(b *testing.B) { benchmark(b, telnyx.Attempt{}) }

// A limit that is known, and not reached.
func BenchmarkLimited(b *testing.B) {
	benchmark(b, telnyx.Attempt{Limit: telnyx.MaxLimit, Remaining: telnyx.MaxLimit, Reset: time.Second})
}

// Somebody who is told to come back, in a line that is full.
func BenchmarkSentAway(b *testing.B) {
	p := newPacer(b, pacing.Config{MaxWait: time.Millisecond})
	gate := p.Logins()
	for range 2 {
		if gate.Enter(b.Context(), id(1)) == nil {
			gate.Leave(telnyx.Attempt{About: id(1), Limit: 1, Reset: time.Minute})
		}
	}
	all := ids(1, 100_000)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := gate.Enter(b.Context(), all[n%len(all)]); err == nil {
			b.Fatal("it got in")
		}
	}
}
