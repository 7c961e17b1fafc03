package main

import (
	"log"
	"strings"

	"github.com/rs/zerolog"
)

// newErrorLog takes what net/http has to say, such as a panic outside every
// handler of ours, which it prints with its stack. handshake is told of every
// handshake that failed.
func newErrorLog(l zerolog.Logger, handshake func()) *log.Logger {
	return log.New(lines{l, handshake}, "", 0)
}

type lines struct {
	log       zerolog.Logger
	handshake func()
}

// Write takes a line. What anybody can have as many of as they like is told only
// where everything is, and what they sent is not repeated. net/http has no other way
// to tell than by these words.
func (l lines) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	says := func(prefix string) bool { return strings.HasPrefix(text, prefix) }
	switch {
	case says("http: TLS handshake error "):
		l.handshake()
		l.log.Debug().Str("error", oneLine(text)).Msg("http server")
	case says("http2: panic serving "):
		l.log.Warn().Str("error", text).Msg("http server")
	case says("http2: "), says("timeout waiting for "):
		l.log.Debug().Str("error", "a client did not keep to HTTP/2").Msg("http server")
	default:
		l.log.Warn().Str("error", text).Msg("http server")
	}
	return len(p), nil
}
