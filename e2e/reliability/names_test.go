package reliability_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server, which knows where Telnyx is, or is in trouble.
type names struct {
	conn    net.PacketConn
	trouble atomic.Int32
}

// What may be the matter with it.
const (
	answering int32 = iota
	silent
	failing // SERVFAIL
	unknown // NXDOMAIN
)

// startNames starts one that ends with the test. The whole of telnyxName is the
// loopback address that lines have.
func startNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn}
	var serving sync.WaitGroup
	serving.Go(n.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
	return n
}

func (n *names) addr() string { return n.conn.LocalAddr().String() }

func (n *names) serve() {
	packet := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if answer, err := n.answer(packet[:size]); err == nil && n.trouble.Load() != silent {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

func (n *names) answer(packet []byte) ([]byte, error) {
	var asked dnsmessage.Message
	if err := asked.Unpack(packet); err != nil {
		return nil, err
	}
	said := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: asked.ID, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: asked.Questions,
	}
	switch n.trouble.Load() {
	case failing:
		said.RCode = dnsmessage.RCodeServerFailure
		return said.Pack()
	case unknown:
		said.RCode = dnsmessage.RCodeNameError
		return said.Pack()
	}
	for _, q := range asked.Questions {
		if q.Type == dnsmessage.TypeA && q.Name.String() == telnyxName+"." {
			said.Answers = append(said.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: uint32(time.Minute / time.Second)},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 2}},
			})
		}
	}
	return said.Pack()
}
