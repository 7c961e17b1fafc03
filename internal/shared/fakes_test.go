package shared_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// fake is a Redis that answers with a text to everything. The first answers are
// those to an introduction and a ping, or there is no connection.
func fake(t *testing.T, answers ...string) (url string, conns func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	n := 0
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			serving.Go(func() { answer(conn, answers) })
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	return "redis://" + listener.Addr().String(), func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// answer answers each piece that arrives with the next of the answers, and the last
// one again and again.
func answer(conn net.Conn, answers []string) {
	defer conn.Close()
	buffer := make([]byte, 64<<10)
	for i := 0; ; i++ {
		if _, err := conn.Read(buffer); err != nil {
			return
		}
		if _, err := conn.Write([]byte(answers[min(i, len(answers)-1)])); err != nil {
			return
		}
	}
}

const helloOK = "*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n"

// slowed passes on what a server says, later.
func slowed(t *testing.T, address string) (url string, slower func(time.Duration)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var delay time.Duration
	var serving sync.WaitGroup
	pass := func(in net.Conn) {
		defer in.Close()
		out, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return
		}
		serving.Go(func() { io.Copy(out, in); out.Close() })
		buffer := make([]byte, 64<<10)
		for {
			n, err := out.Read(buffer)
			mu.Lock()
			d := delay
			mu.Unlock()
			<-time.After(d)
			if _, bad := in.Write(buffer[:n]); err != nil || bad != nil {
				return
			}
		}
	}
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { pass(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	return "redis://" + listener.Addr().String(), func(d time.Duration) { mu.Lock(); defer mu.Unlock(); delay = d }
}
