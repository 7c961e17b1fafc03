package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// Strangers cannot fill the log, nor have what they send in it; our own faults are
// told all the same.
func TestWhatStrangersDoIsNotLogged(t *testing.T) {
	for text, told := range map[string]bool{
		"http: TLS handshake error from 192.0.2.1:9: EOF":                               false,
		"http2: server: error reading preface from client x: bogus greeting \"SECRET\"": false,
		"http2: received GOAWAY [SECRET], starting graceful shutdown":                   false,
		"timeout waiting for SETTINGS frames from 192.0.2.1:9":                          false,
		"http: panic serving 192.0.2.1:9: a bug":                                        true,
		"http2: panic serving 192.0.2.1:9: a bug":                                       true,
		"http: Accept error: too many open files; retrying in 5ms":                      true,
	} {
		var log bytes.Buffer
		failed := 0
		count := func() { failed++ }
		newErrorLog(zerolog.New(&log).Level(zerolog.InfoLevel), count).Print(text)
		if (log.Len() > 0) != told {
			t.Errorf("%q: logged %q", text, log.String())
		}
		if want := strings.Contains(text, "handshake"); want != (failed == 1) {
			t.Errorf("%q: %d handshakes counted", text, failed)
		}
		newErrorLog(zerolog.New(&log), count).Print(text)
		if strings.Contains(log.String(), "SECRET") {
			t.Errorf("%q: logged %q", text, log.String())
		}
	}
}
