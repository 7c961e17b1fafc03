package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Whoever connects and then does not shake hands, or only in part, or drop by drop,
// is not waited for, and is in nobody's way.
func TestHandshakesDoNotLast(t *testing.T) {
	const most, margin = 5 * time.Second, 2 * time.Second
	s := startSecured(t, newLab(t, telnyxtest.Options{}, "alice"), nil)
	hello := clientHello(t)
	var waiting sync.WaitGroup
	for name, say := range map[string]func(net.Conn){
		"silence":         func(net.Conn) {},
		"half a greeting": func(c net.Conn) { _, _ = c.Write(hello[:len(hello)/2]) },
		"a greeting":      func(c net.Conn) { _, _ = c.Write(hello) },
		"drop by drop": func(c net.Conn) {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for i := range hello {
				if _, err := c.Write(hello[i : i+1]); err != nil {
					return
				}
				<-tick.C
			}
		},
	} {
		for _, address := range []string{s.Listen, s.Ops} {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			waiting.Go(func() { say(conn) })
			waiting.Go(func() {
				_ = conn.SetReadDeadline(began.Add(2 * most))
				_, err := io.Copy(io.Discard, conn)
				if took := time.Since(began); took > most+margin || took < most-margin {
					t.Errorf("%s: ended after %v (%v), want %v", name, took, err, most)
				}
			})
		}
	}
	if got, err := from(t.Context(), s.transport(t, s.trust()), http.MethodPost, s.Listen+"/v1/token", s.issuer.Bearer("alice", nil)); err != nil || got.status != http.StatusOK {
		t.Errorf("meanwhile: %d, %v", got.status, err)
	}
	waiting.Wait()
}

// clientHello is what a client of TLS says first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go func() {
		_ = tls.Client(here, &tls.Config{ServerName: "tokensvc.internal", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	}()
	hello := make([]byte, 4096)
	n, err := there.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return hello[:n]
}

// The bound on requests in flight is one of requests, and not of connections.
func TestInFlightOverOneConnection(t *testing.T) {
	const room, many = 2, 12
	var users []string
	for i := range many {
		users = append(users, fmt.Sprint("user-", i))
	}
	l := newLab(t, telnyxtest.Options{Latency: time.Second}, users...)
	s := startSecured(t, l, nil, setting{"TOKENSVC_LIMITS_IN_FLIGHT", fmt.Sprint(room)})
	transport := s.transport(t, s.trust())
	if _, err := from(t.Context(), transport, http.MethodGet, s.Listen+"/openapi.yaml", ""); err != nil { // the connection
		t.Fatal(err)
	}
	answers := make(chan got, many)
	for _, user := range users {
		go func() {
			answer, err := from(t.Context(), transport, http.MethodPost, s.Listen+"/v1/token", l.issuer.Bearer(user, nil))
			if err != nil {
				t.Errorf("%s: %v", user, err)
			}
			answers <- answer
		}()
	}
	ends := map[string]int{}
	for range many {
		answer := <-answers
		end := fmt.Sprint(answer.status)
		if answer.status == http.StatusServiceUnavailable && strings.Contains(answer.body, `"overloaded"`) {
			end = "overloaded"
		}
		ends[end]++
	}
	if served := ends["200"]; served < 1 || served > room || ends["overloaded"] != many-served { // some of the room is for who needs no mint
		t.Errorf("%v, want 1 to %d of 200 and the others overloaded", ends, room)
	}
}

// What a connection may take is said to clients, and held against those who do not
// care.
func TestBoundsOfAnHTTP2Connection(t *testing.T) {
	s := startSecured(t, newLab(t, telnyxtest.Options{}, "alice"), nil)
	for _, address := range []string{s.Listen, s.Ops} {
		config := s.trust()
		config.NextProtos = []string{"h2"}
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		framer := http2.NewFramer(conn, conn)
		if err := framer.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		frame, err := framer.ReadFrame()
		settings, ok := frame.(*http2.SettingsFrame)
		if err != nil || !ok {
			t.Fatalf("the first frame is %v, %v", frame, err)
		}
		for id, want := range map[http2.SettingID]uint32{
			http2.SettingMaxConcurrentStreams: 100, http2.SettingMaxFrameSize: 16 << 10, http2.SettingInitialWindowSize: 64 << 10,
			http2.SettingMaxHeaderListSize: 80<<10 + 10*32, // of Go's own for a few fields
		} {
			if got, ok := settings.Value(id); !ok || got != want {
				t.Errorf("%s: %v is %d, want %d", address, id, got, want)
			}
		}
	}
}
