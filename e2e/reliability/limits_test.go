package reliability_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// crowdedOut is how many connections somebody opens who wants to take all
// descriptors: more than the process may have.
const crowdedOut = 1500

func TestItselfLimited(t *testing.T) {
	t.Parallel()
	runRows(t, []fault{
		{
			name: "1,024 descriptors, and 1,500 connections that say nothing", within: soon,
			setup: setup{behind: []string{"prlimit", "--nofile=1024:1024"}},
			begin: func(t *testing.T, w *world) func() {
				leave := crowd(t, w.urls[0])
				// Whatever the service needs beside, it must open now.
				stop := every(time.Second, w.line.drop)
				return func() { stop(); leave() }
			},
		},
	})
}

// crowd keeps as many connections to an address open as it gets, until the
// returned function is called.
func crowd(t *testing.T, url string) (leave func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var crowding sync.WaitGroup
	for range crowdedOut {
		crowding.Go(func() {
			for ctx.Err() == nil {
				conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", hostPort(url))
				if err != nil {
					return
				}
				left := context.AfterFunc(ctx, func() { _ = conn.Close() })
				var one [1]byte
				_, _ = conn.Read(one[:]) // until the service has had enough
				left()
				_ = conn.Close()
			}
		})
	}
	return func() {
		stop()
		crowding.Wait()
	}
}
