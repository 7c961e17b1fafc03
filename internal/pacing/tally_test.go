package pacing

import (
	"math/rand/v2"
	"testing"
	"time"
)

// However calls are spread, no span ever has more than the share of them when each
// is made once there is room; and what comes evenly is not slowed by much.
func TestNoSpanHasMoreThanTheShare(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		span := time.Duration(1+random.IntN(60)) * time.Second
		share := 1 + random.IntN(300)
		tally, at := newTally(span), time.Duration(0)
		var made []time.Duration
		for range 4 * share {
			at += time.Duration(random.Int64N(int64(span) / int64(share)))
			tally.slide(at)
			opens := tally.opens(at, share, 0)
			if opens > at {
				at = opens
				if tally.slide(at); tally.opens(at, share, 0) > at {
					t.Fatalf("no room when it was said to be: share %d in %v", share, span)
				}
			}
			tally.add(at, 1)
			made = append(made, at)
			if n := len(made) - 1 - share; n >= 0 && made[n+share]-made[n] < span {
				t.Fatalf("%d calls within %v, want %d within %v", share+1, made[n+share]-made[n], share, span)
			}
		}
		if took := at; took > 5*span {
			t.Errorf("%d calls took %v, at %d in %v", 4*share, took, share, span)
		}
	}
}

func TestATallyIsSpreadOverAnotherSpan(t *testing.T) {
	for _, row := range []struct {
		name     string
		from, to time.Duration
		at       time.Duration // now; a call was made in each second up to it
		least    int
		most     int
	}{
		{"a longer one keeps all that is known", 10 * time.Second, time.Minute, 100 * time.Second, 10, 12},
		{"a shorter one forgets what is over", time.Minute, 10 * time.Second, 100 * time.Second, 10, 12},
		{"when nothing is known yet", time.Minute, 5 * time.Minute, 2 * time.Second, 2, 2},
	} {
		tally := newTally(row.from)
		for second := time.Second; second <= row.at; second += time.Second {
			tally.add(second, 1)
		}
		fresh := tally.spread(row.at, row.to)
		if fresh.total < row.least || fresh.total > row.most {
			t.Errorf("%s: %d calls, want %d to %d", row.name, fresh.total, row.least, row.most)
		}
		if fresh.slide(row.at + 2*row.to); fresh.total != 0 {
			t.Errorf("%s: %d calls are never forgotten", row.name, fresh.total)
		}
	}
}
