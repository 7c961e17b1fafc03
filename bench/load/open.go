package load

import (
	"context"
	"errors"
	"time"
)

// Open asks so many times a second, however long the answers take, for so long.
// Time is counted from when a request was due, so that one that had to wait for a
// free connection, or for this machine, is not taken for a quick one.
func Open(ctx context.Context, p Plan, perSecond float64, lasting time.Duration) (*Result, error) {
	if perSecond <= 0 {
		return nil, errors.New("load: the rate must be positive")
	}
	type turn struct {
		n   int
		due time.Time
	}
	turns := make(chan turn)
	began := time.Now()
	pacing, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(turns)
		for n := range int(perSecond * lasting.Seconds()) {
			due := began.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
			sleepUntil(due)
			select {
			case turns <- turn{n % len(p.Requests), due}:
			case <-pacing.Done():
				return
			}
		}
	}()
	return p.run(ctx, func() (int, time.Time, bool) {
		t, ok := <-turns
		return t.n, t.due, ok
	})
}
