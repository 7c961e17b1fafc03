package attacks_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer is somebody who speaks HTTP/2 frame by frame.
type peer struct {
	*http2.Framer
	conn    net.Conn
	encoder *hpack.Encoder
	block   bytes.Buffer
	next    uint32 // stream

	mu      sync.Mutex
	streams map[uint32]*answered
	ended   chan struct{} // is closed when the service has ended the connection, if anybody reads
}

// answered is what was answered on a stream.
type answered struct {
	status string // or "reset"
	body   []byte
	over   bool
}

// connect connects a peer that has sent its greeting, with these settings.
func (w *world) connect(t *testing.T, settings ...http2.Setting) *peer {
	t.Helper()
	conn, err := w.dial("h2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	p := &peer{Framer: http2.NewFramer(conn, conn), conn: conn, next: 1, streams: map[uint32]*answered{}, ended: make(chan struct{})}
	p.encoder = hpack.NewEncoder(&p.block)
	p.AllowIllegalWrites = true
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return p
}

// listen reads what the service says until it ends the connection.
func (p *peer) listen() {
	defer close(p.ended)
	for {
		frame, err := p.ReadFrame()
		if _, ofStream := errors.AsType[http2.StreamError](err); err != nil && !ofStream {
			return
		}
		if frame != nil {
			p.heard(frame)
		}
	}
}

func (p *peer) heard(frame http2.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.streams[frame.Header().StreamID]
	if a == nil {
		a = new(answered)
		p.streams[frame.Header().StreamID] = a
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		a.status, a.over = f.PseudoValue("status"), f.StreamEnded()
	case *http2.DataFrame:
		a.body, a.over = append(a.body, f.Data()...), f.StreamEnded()
	case *http2.RSTStreamFrame:
		if a.status == "" {
			a.status = "reset"
		}
		a.over = true
	}
}

// answer is what the service has answered on a stream, when that is over.
func (p *peer) answer(stream uint32) (answered, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.streams[stream]; a != nil && a.over {
		return *a, nil
	}
	if p.isEnded() {
		return answered{status: "ended"}, nil
	}
	return answered{}, errors.New("there is no answer")
}

// isEnded reports whether the service has ended the connection.
func (p *peer) isEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// resets is how many streams were reset.
func (p *peer) resets() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.streams {
		if a.status == "reset" {
			n++
		}
	}
	return n
}

// open opens a stream, whose header is these names and values in turn.
func (p *peer) open(end bool, fields ...string) (stream uint32, err error) {
	stream = p.next
	p.next += 2
	return stream, p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.fields(fields...), EndStream: end, EndHeaders: true})
}

// fields are a header's names and values in turn, as they are sent.
func (p *peer) fields(fields ...string) []byte {
	p.block.Reset()
	for f := range slices.Chunk(fields, 2) {
		_ = p.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	return slices.Clone(p.block.Bytes())
}

// post is the header of a request for a token.
func post(bearer string, more ...string) []string {
	return append([]string{":method", "POST", ":scheme", "https", ":path", "/v1/token", ":authority", "tokensvc", "authorization", "Bearer " + bearer}, more...)
}
