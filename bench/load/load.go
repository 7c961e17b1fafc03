package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Plan is whom to ask, for what, and how.
type Plan struct {
	Address     string     // host:port of the server
	From        netip.Addr // where the connections come from; default any
	Requests    [][]byte   // asked in turn
	Connections int        // how many requests can be under way
	// Check looks at every answer; its error ends the load. Default WantToken.
	Check func(Answer) error
}

// Result is what became of a load.
type Result struct {
	Histogram
	Took time.Duration
}

// Rate is how many answers came in a second.
func (r *Result) Rate() float64 { return float64(r.Count()) / r.Took.Seconds() }

// WantToken wants a token, of whatever server.
func WantToken(a Answer) error {
	if a.Status != 200 && a.Status != 201 || !bytes.Contains(a.Body, []byte("eyJ")) {
		return fmt.Errorf("got %d %.300s, want a token", a.Status, a.Body)
	}
	return nil
}

// Closed asks on every connection again as soon as it has an answer, for so long.
func Closed(ctx context.Context, p Plan, lasting time.Duration) (*Result, error) {
	end := time.Now().Add(lasting)
	var next atomic.Int64
	return p.run(ctx, func() (int, time.Time, bool) {
		now := time.Now()
		return int(next.Add(1)-1) % len(p.Requests), now, now.Before(end)
	})
}

// Once makes every request of the plan once, each as soon as a connection is free.
func Once(ctx context.Context, p Plan) (*Result, error) {
	var next atomic.Int64
	return p.run(ctx, func() (int, time.Time, bool) {
		n := int(next.Add(1) - 1)
		return n, time.Now(), n < len(p.Requests)
	})
}

// run has every connection work, until take has no more work or one fails. take
// returns which request is next, and from when its time is counted.
func (p Plan) run(ctx context.Context, take func() (int, time.Time, bool)) (*Result, error) {
	if len(p.Requests) == 0 || p.Connections < 1 {
		return nil, errors.New("load: there is nothing to ask, or nobody who asks")
	}
	if p.Check == nil {
		p.Check = WantToken
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	histograms, failures := make([]Histogram, p.Connections), make([]error, p.Connections)
	began := time.Now()
	var working sync.WaitGroup
	for i := range p.Connections {
		working.Go(func() {
			if failures[i] = p.work(ctx, take, &histograms[i]); failures[i] != nil {
				stop()
			}
		})
	}
	working.Wait()
	result := &Result{Took: time.Since(began)}
	for i := range histograms {
		result.Merge(&histograms[i])
	}
	return result, errors.Join(failures...)
}

func (p Plan) work(ctx context.Context, take func() (int, time.Time, bool), h *Histogram) error {
	c := NewConnection(p.Address, p.From)
	defer c.Close()
	for ctx.Err() == nil {
		n, from, ok := take()
		if !ok {
			return nil
		}
		answer, err := c.Exchange(ctx, p.Requests[n])
		if err == nil {
			err = p.Check(answer)
		}
		if ctx.Err() != nil { // another connection failed: that is the error
			return nil
		}
		if err != nil {
			return err
		}
		h.Add(time.Since(from))
	}
	return nil
}
