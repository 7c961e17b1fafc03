package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// Whoever connects and then says little, slowly or without end is not waited for.
// The numbers are by hand: a limit that is left out is 0, and 0 is for ever.
func TestBoundsOnConnections(t *testing.T) {
	s := &service{log: zerolog.Nop()}
	s.cfg.Listen, s.cfg.OpsListen = "127.0.0.1:0", "127.0.0.1:0"
	s.cfg.Limits.RequestTimeout = 15 * time.Second
	if err := s.listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.publicListen.Close()
	defer s.privateListen.Close()
	for listener, server := range map[string]*http.Server{"public": s.public, "ops": s.private} {
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
				t.Errorf("%s listener: %s may take %v, want %v", listener, bound.what, bound.got, bound.want)
			}
		}
		if server.MaxHeaderBytes != 80<<10 {
			t.Errorf("%s listener: a header may have %d bytes, want 80 KiB", listener, server.MaxHeaderBytes)
		}
		if server.ErrorLog == nil {
			t.Errorf("%s listener: net/http's own complaints go past the log", listener)
		}
	}
}
