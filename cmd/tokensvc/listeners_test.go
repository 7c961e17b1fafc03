package main

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc/internal/handler"
)

// Whoever connects and then says little, slowly or without end is not waited for.
// The numbers are by hand: a limit that is left out is 0, and 0 is for ever.
func TestBoundsOnConnections(t *testing.T) {
	s := &service{log: zerolog.Nop(), handler: &handler.Service{}, ops: &handler.Ops{}}
	s.cfg.Listen, s.cfg.OpsListen, s.cfg.ProxyListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	s.cfg.Limits.RequestTimeout = 15 * time.Second
	if err := s.openListeners(); err != nil {
		t.Fatal(err)
	}
	listeners := append(s.callers, s.operators)
	if len(listeners) != 3 {
		t.Fatalf("%d listeners, want three", len(listeners))
	}
	for _, l := range listeners {
		listener, server := l.setting, l.server
		for _, bound := range []struct {
			what      string
			got, want time.Duration
		}{
			{"the header", server.ReadHeaderTimeout, 5 * time.Second},
			{"header and body", server.ReadTimeout, 10 * time.Second},
			{"the whole request, answer included", server.WriteTimeout, 30 * time.Second}, // the body's 10, 15, and 5 for the line
			{"an idle connection", server.IdleTimeout, 2 * time.Minute},
		} {
			if bound.got != bound.want {
				t.Errorf("%s: %s may take %v, want %v", listener, bound.what, bound.got, bound.want)
			}
		}
		if server.MaxHeaderBytes != 80<<10 {
			t.Errorf("%s: a header may have %d bytes, want 80 KiB", listener, server.MaxHeaderBytes)
		}
		if h := server.HTTP2; h == nil || h.MaxConcurrentStreams != 100 || h.SendPingTimeout != 30*time.Second || h.PingTimeout != 10*time.Second || h.WriteByteTimeout != 10*time.Second {
			t.Errorf("%s: the bounds of HTTP/2 are %+v", listener, h)
		}
		if server.ErrorLog == nil {
			t.Errorf("%s: net/http's own complaints go past the log", listener)
		}
	}
}
