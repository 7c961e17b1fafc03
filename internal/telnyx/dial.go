package telnyx

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A dialer opens no more connections than requests are being made. The transport
// opens one for each request that finds none idle, also when one becomes idle a
// moment later, and then has one too many for ever: a burst leaves twice as many as it
// has requests.
type dialer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// patience is how long a request waits for one of the connections there are: one
	// that is being opened may hang.
	patience time.Duration

	requests atomic.Int64 // that are being made
	wanting  atomic.Int64 // those of them that have no connection yet
	open     atomic.Int64 // connections, also those being opened
}

// look is the time between two looks at whether a connection is needed.
const look = time.Millisecond

// errUnneeded is returned to nobody: whoever the connection was for has another.
var errUnneeded = errors.New("the connection is not needed any more")

// DialContext is for a transport.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := d.await(ctx); err != nil {
		return nil, err
	}
	d.open.Add(1)
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		d.open.Add(-1)
		return nil, err
	}
	return &counted{Conn: conn, closed: sync.OnceFunc(func() { d.open.Add(-1) })}, nil
}

// await waits while there are as many connections as requests: one of them is idle,
// or about to be.
func (d *dialer) await(ctx context.Context) error {
	for deadline := time.Now().Add(d.patience); d.open.Load() >= d.requests.Load() && time.Now().Before(deadline); {
		if d.wanting.Load() == 0 {
			return errUnneeded
		}
		timer := time.NewTimer(look)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// A want is a request that is being made, and whether it has a connection.
type want struct {
	dialer  *dialer
	waiting atomic.Bool
}

// begin counts a request that is made.
func (d *dialer) begin() *want {
	d.requests.Add(1)
	return &want{dialer: d}
}

// needs says that it needs a connection, now or again: the transport repeats some
// requests by itself.
func (w *want) needs() {
	if !w.waiting.Swap(true) {
		w.dialer.wanting.Add(1)
	}
}

// got says that it has one.
func (w *want) got() {
	if w.waiting.Swap(false) {
		w.dialer.wanting.Add(-1)
	}
}

// end says that the request is over.
func (w *want) end() {
	w.got()
	w.dialer.requests.Add(-1)
}

// counted is a connection that is counted for as long as it is open.
type counted struct {
	net.Conn
	closed func()
}

func (c *counted) Close() error {
	c.closed()
	return c.Conn.Close()
}
