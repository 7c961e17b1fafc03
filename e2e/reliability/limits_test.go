package reliability_test

import (
	"context"
	"encoding/json"
	"net"
	"strings"
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
				return func() {
					w.wantCrowded(t)
					stop()
					leave()
				}
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

// wantCrowded wants the first service to have said that it takes fewer connections
// than it is told to, and to have as many as it said.
func (w *world) wantCrowded(t *testing.T) {
	t.Helper()
	p := w.services[0]
	open, err := p.descriptors()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(p.Log()) {
		var entry struct{ Connections int }
		if strings.Contains(line, "the limit on open files is too low") && json.Unmarshal([]byte(line), &entry) == nil {
			if open < entry.Connections {
				t.Errorf("%d descriptors are open, want the %d connections that may be, so nothing was broken", open, entry.Connections)
			}
			return
		}
	}
	t.Errorf("the service does not say that it may open few files, so nothing was broken; %d are open", open)
}
