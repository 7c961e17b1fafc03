package shared

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
)

func TestWhatIsTakenOfAServer(t *testing.T) {
	big := strconv.Itoa(maxBulk)
	for text, messages := range map[string]int64{
		"":                                     0,
		"+OK\r\n":                              1,
		"-ERR no\r\n:1\r\n:-7\r\n":             3,
		":9223372036854775807\r\n":             1,
		"$5\r\na\r\nbc\r\n":                    1,
		"$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n":       4,
		"*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n":  1,
		"*2\r\n*1\r\n*1\r\n:1\r\n$-1\r\n+OK\r": 1,
		"*2\r\n:1\r\n":                         0,
		"$" + big + "\r\n" + strings.Repeat("x", maxBulk) + "\r\n": 1,
		"*64\r\n" + strings.Repeat(":1\r\n", maxElements):          1,
	} {
		if got, err := new(scanner).scan([]byte(text)); err != nil || got != messages {
			t.Errorf("%.40q: %d messages, %v; want %d", text, got, err, messages)
		}
	}
	for _, text := range []string{
		"HTTP/1.1 400 Bad Request\r\n", "\r\n", "\x00", ">2\r\n", "%1\r\n", "!3\r\n", "_\r\n", "#t\r\n", ",1\r\n", "=3\r\n", "|1\r\n",
		"+OK\n", "+O\rK\r\n", ":\r\n", ":-\r\n", ":1-1\r\n", ":1a\r\n", ":92233720368547758070\r\n", "$\r\n", "$-2\r\n", "$?\r\n", "*?\r\n", "*-2\r\n",
		"$" + strconv.Itoa(maxBulk+1) + "\r\n", "$99999999999999\r\n", "*65\r\n", "*3\r\n" + strings.Repeat("$65000\r\n"+strings.Repeat("x", 65000)+"\r\n", 3), "*99999999999999\r\n",
		"*2000\r\n*2000\r\n*2000\r\n", strings.Repeat("*1\r\n", maxDepth+1), "+" + strings.Repeat("x", maxLine+1),
	} {
		if _, err := new(scanner).scan([]byte(text)); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: got %v, want it refused", text, err)
		}
	}
}

// However a stream is cut, it is the same stream.
func FuzzWhatIsTakenOfAServer(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n+OK\r\n"), 3)
	f.Add([]byte("$-1\r\n*-1\r\n-ERR\r\n"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, at int) {
		whole, wholeErr := new(scanner).scan(stream)
		s := new(scanner)
		cut := max(0, min(at, len(stream)))
		parts, err := s.scan(stream[:cut])
		if err == nil {
			var more int64
			more, err = s.scan(stream[cut:])
			parts += more
		}
		if parts != whole || (err == nil) != (wholeErr == nil) {
			t.Errorf("cut at %d: %d messages, %v; whole: %d, %v", cut, parts, err, whole, wholeErr)
		}
	})
}

// received is a connection on which that text arrives.
type received struct {
	net.Conn
	text *bytes.Buffer
	sent bytes.Buffer
}

func (r *received) Read(p []byte) (int, error)  { return r.text.Read(p) }
func (r *received) Write(p []byte) (int, error) { return r.sent.Write(p) }

func TestNoMoreAnswersThanQuestions(t *testing.T) {
	for name, row := range map[string]struct {
		sent, received string
		good           bool
	}{
		"one each":             {"*1\r\n$4\r\nPING\r\n", "+PONG\r\n", true},
		"an answer at once":    {"", "+PONG\r\n", false},
		"two answers":          {"*1\r\n$4\r\nPING\r\n", "+PONG\r\n+PONG\r\n", false},
		"half a question":      {"*2\r\n$4\r\nPING\r\n", "+PONG\r\n", false},
		"what is no answer":    {"*1\r\n$4\r\nPING\r\n", "<html>", false},
		"half an answer":       {"*1\r\n$4\r\nPING\r\n", "$5\r\nab", true},
		"an answer of several": {"*1\r\n$4\r\nPING\r\n", "*2\r\n+a\r\n+b\r\n", true},
	} {
		var ended error
		conn := &received{text: bytes.NewBufferString(row.received)}
		g := &guard{Conn: conn, onEnd: func(err error) { ended = err }}
		for _, b := range []byte(row.sent) { // a byte at a time
			if _, err := g.Write([]byte{b}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		got := make([]byte, 100)
		n, err := g.Read(got)
		switch {
		case conn.sent.String() != row.sent:
			t.Errorf("%s: %q was sent", name, conn.sent.String())
		case row.good && (err != nil || ended != nil || string(got[:n]) != row.received):
			t.Errorf("%s: %q, %v", name, got[:n], err)
		case !row.good && (!errors.Is(err, errProtocol) || ended == nil || n != 0):
			t.Errorf("%s: %q arrives, and %v", name, got[:n], err)
		}
	}
}
