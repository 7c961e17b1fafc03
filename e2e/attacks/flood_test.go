package attacks_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// Bounds on what one connection may cost the service.
const (
	mostStreams    = 100      // at once, as docs/tls.md says
	mostMemory     = 64 << 20 // more than before: bytes, for the garbage of some seconds too
	mostGoroutines = mostStreams + 30
	fewLines       = 20 // of the log, whatever they are: of requests of the flood before, that end late
)

// A flood is frames that somebody sends on one connection, as fast as they can.
type flood struct {
	frames int
	send   func(p *peer, n int) error
	deaf   bool // and never reads what is answered
	ends   bool // the service ends the connection over it
	resets int  // streams that it refuses at least
	lines  int  // in the log, at most
}

// floods are those that are known to have ended servers, and their kin.
func floods(w *world) map[string]flood {
	forged := w.bearers[mallory][:len(w.bearers[mallory])-8] + "AAAAAAAA"
	return map[string]flood{
		"streams that are reset at once": {frames: 10_000, send: resetting(post(forged)), lines: 10_000}, // each that was begun is a request
		"logins that are reset at once":  {frames: 10_000, send: resetting(post(w.bearers[mallory])), lines: 10_000},
		"a header without an end":        {frames: 4096, send: continuing(post(forged), strings.Repeat("\x90", 16<<10)), ends: true},
		"a header that grows when it is unpacked": {
			frames: 4096, send: continuing(post(forged, "x", strings.Repeat("x", 4000)), strings.Repeat("\xbe", 16<<10)), ends: true,
		},
		"a header without an end, in pieces of nothing": {frames: 50_000, send: continuing(post(forged), "")},
		"SETTINGS":                       {frames: 50_000, send: settings},
		"SETTINGS, and nothing is read":  {frames: 50_000, send: settings, deaf: true},
		"PING":                           {frames: 50_000, send: ping},
		"PING, and nothing is read":      {frames: 5_000_000, send: ping, deaf: true, ends: true},
		"PRIORITY":                       {frames: 50_000, send: func(p *peer, n int) error { return p.WritePriority(uint32(2*n+1), http2.PriorityParam{Weight: 3}) }},
		"WINDOW_UPDATE":                  {frames: 50_000, send: func(p *peer, _ int) error { return p.WriteWindowUpdate(0, 1) }},
		"frames of a kind there is not":  {frames: 50_000, send: func(p *peer, _ int) error { return p.WriteRawFrame(0xfa, 0, 0, nil) }},
		"windows that overflow":          {frames: 50_000, send: func(p *peer, _ int) error { return p.WriteWindowUpdate(0, 1<<31-1) }, ends: true},
		"DATA of nothing":                {frames: 50_000, send: empty(post(w.bearers[mallory], "content-type", "application/json")), lines: 1},
		"logins whose bodies never come": {frames: 1000, send: opening(false, post(w.bearers[mallory], "content-length", "100")), resets: 900, lines: mostStreams},
		"answers for which no window is": {frames: 1000, send: unread, resets: 900},
	}
}

func resetting(header []string) func(*peer, int) error {
	return func(p *peer, _ int) error {
		stream, err := p.open(true, header...)
		return errors.Join(err, p.WriteRSTStream(stream, http2.ErrCodeCancel))
	}
}

func continuing(header []string, piece string) func(*peer, int) error {
	return func(p *peer, n int) error {
		if n == 0 {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(header...)})
		}
		return p.WriteContinuation(1, false, []byte(piece))
	}
}

func opening(end bool, header []string) func(*peer, int) error {
	return func(p *peer, _ int) error {
		_, err := p.open(end, header...)
		return err
	}
}

func empty(header []string) func(*peer, int) error {
	return func(p *peer, n int) error {
		if n == 0 {
			_, err := p.open(false, header...)
			return err
		}
		return p.WriteData(1, false, nil)
	}
}

func settings(p *peer, n int) error {
	return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(n)})
}

func ping(p *peer, _ int) error { return p.WritePing(false, [8]byte{}) }

// unread asks for the largest answer that there is without a credential.
func unread(p *peer, n int) error {
	if n == 0 {
		if err := p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			return err
		}
	}
	return opening(true, []string{":method", "GET", ":scheme", "https", ":path", "/openapi.yaml", ":authority", "tokensvc"})(p, n)
}

// Whatever frames somebody sends, others log in meanwhile, and the service has not become
// larger by them.
func TestNoFramesHarmWhoeverLogsIn(t *testing.T) {
	t.Parallel()
	w := startSecured(t)
	for what, f := range floods(w) {
		t.Run(what, func(t *testing.T) { w.withstand(t, f) })
	}
}

func (w *world) withstand(t *testing.T, f flood) {
	t.Helper()
	if err := w.login(alice, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	goroutines, lines, memory := w.goroutines(), w.otherLines(), w.memory("VmRSS")
	w.newPeak()
	wantLogins := w.meanwhile(t)
	p := w.connect(t)
	if !f.deaf {
		go p.listen()
	}
	var ended error
	for n := 0; n < f.frames && ended == nil; n++ {
		ended = f.send(p, n)
	}
	if errors.Is(ended, os.ErrDeadlineExceeded) || !f.ends && ended != nil {
		t.Errorf("the flood has stopped by itself: %v", ended)
	}
	if most := w.goroutines(); most > goroutines+mostGoroutines {
		t.Errorf("%d goroutines, and before %d", most, goroutines)
	}
	process.Eventually(t, 5*time.Second, "what the service does", func() error {
		if f.ends && ended == nil && !p.isEnded() {
			return errors.New("the connection is still there")
		}
		if n := p.resets(); n < f.resets {
			return fmt.Errorf("%d streams were reset, want %d", n, f.resets)
		}
		return nil
	})
	wantLogins()
	_ = p.conn.Close()
	process.Eventually(t, 5*time.Second, "as few goroutines as before", func() error {
		if n := w.goroutines(); n > goroutines+10 {
			return fmt.Errorf("%d, and before %d", n, goroutines)
		}
		return nil
	})
	if more := w.memory("VmHWM") - memory; more > mostMemory {
		t.Errorf("the service had %d MiB more than before", more>>20)
	}
	if more := w.otherLines() - lines; more > f.lines+fewLines {
		t.Errorf("the log has %d lines more, want %d or a few more", more, f.lines)
	}
}

// meanwhile has alice log in again and again, until what it returns is called, which
// wants her to have been given her token every time, and soon.
func (w *world) meanwhile(t *testing.T) (want func()) {
	t.Helper()
	const soon = 5 * time.Second
	stop, stopped := make(chan struct{}), make(chan struct{})
	var logins, failed int
	var failure error
	go func() {
		defer close(stopped)
		for {
			logins++
			if err := w.login(alice, soon); err != nil {
				failed, failure = failed+1, err
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() {
		t.Helper()
		close(stop)
		<-stopped
		if failed > 0 {
			t.Errorf("%d of %d logins failed meanwhile, the last with %v", failed, logins, failure)
		}
	}
}
