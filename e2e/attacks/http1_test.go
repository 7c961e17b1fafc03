package attacks_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// atOnce is within how much time is answered what need not be waited for.
const atOnce = 2 * time.Second

// A text is what somebody sends on a connection of HTTP/1, and what must come of it.
type text struct {
	sent string
	// want are the answers, one after the other: the status, and then whose token it is, or
	// the word for why not. After the last the service ends the connection.
	want  string
	takes time.Duration // until that, if not at once
}

// next is alice's login, which a proxy could have put behind mallory's on its connection
// to the service, or mallory into a body.
func (w *world) next() string {
	return "POST /v1/token HTTP/1.1\r\nHost: tokensvc\r\nConnection: close\r\nAuthorization: Bearer " + w.bearers[alice] + "\r\n\r\n"
}

// framings are requests of which two who read them may see different ends. Where that is so,
// nothing behind them is answered.
func (w *world) framings() map[string]text {
	head := "POST /v1/token HTTP/1.1\r\nHost: tokensvc\r\nAuthorization: Bearer " + w.bearers[mallory] + "\r\nContent-Type: application/json\r\n"
	of := func(lines, body string) string { return head + lines + "\r\n" + body + w.next() }
	const chunked, chunks = "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(chunks)+len(w.next()))
	all := map[string]text{
		"nothing odd":                      {sent: of("Content-Length: 2\r\n", "{}"), want: "200 mallory, 200 alice"},
		"a length, and chunks":             {sent: of(length+chunked, chunks), want: "200 mallory"},
		"a length, and chunks, of no path": {sent: strings.Replace(of(length+chunked, chunks), "POST /v1/token", "OPTIONS *", 1), want: "404 not_found"},
		"chunks, and a length":             {sent: of(chunked+length, chunks), want: "200 mallory"},
		"chunks":                           {sent: of(chunked, chunks), want: "200 mallory"},
		"chunks in HTTP/1.0":               {sent: strings.Replace(of(length+chunked+"Connection: keep-alive\r\n", chunks), "HTTP/1.1", "HTTP/1.0", 1), want: "400 bad_request"},
		"one length twice":                 {sent: of("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), want: "200 mallory, 200 alice"},
		"a header of two lines":            {sent: of("Content-Length: 2\r\nX: a\r\n b\r\n", "{}"), want: "200 mallory, 200 alice"},
		"line breaks of one character":     {sent: strings.ReplaceAll(head+"Content-Length: 2\r\n\r\n", "\r\n", "\n") + "{}" + w.next(), want: "200 mallory, 200 alice"},
		"a header that is gone on before":  {sent: strings.Replace(of("", ""), "Host:", " Host:", 1), want: "400"},
		"a chunk with a huge extension":    {sent: of(chunked, "2;"+strings.Repeat("a", 20<<10)+"\r\n{}\r\n0\r\n\r\n"), want: "400 bad_request"},
		"extensions without an end":        {sent: of(chunked, strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\n \r\n", 1000)+"0\r\n\r\n"), want: "400 bad_request"},
		"a trailer without an end":         {sent: of(chunked, "2\r\n{}\r\n0\r\n"+strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 1000)+"\r\n"), want: "400 bad_request"},
		"a bearer in the trailer":          {sent: strings.Replace(head, "Authorization", "X", 1) + chunked + "\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer " + w.bearers[mallory] + "\r\n\r\n", want: "401 unauthenticated"},
		"a request in a body nobody reads": {sent: strings.Replace(head, "Authorization", "X", 1) + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(w.next())) + w.next() + w.next(), want: "401 unauthenticated, 200 alice"},
	}
	for name, lines := range map[string]string{
		"two lengths": "Content-Length: 2\r\nContent-Length: 300\r\n", "lengths in a list": "Content-Length: 2, 2\r\n",
		"a length with a sign": "Content-Length: +2\r\n", "a length in hexadecimal": "Content-Length: 0x2\r\n", "a length below nothing": "Content-Length: -1\r\n",
		"a space before the colon": "Content-Length : 2\r\n", "chunks with a space before the colon": "Transfer-Encoding : chunked\r\n",
		"chunks behind a control character": "Transfer-Encoding: \x0bchunked\r\n", "a zero": "X: a\x00b\r\n", "half a line break": "X: a\rContent-Length: 2\r\n",
		"two hosts": "Host: evil.example\r\n",
	} {
		all[name] = text{sent: of(lines, "{}"), want: "400"}
	}
	for name, lines := range map[string]string{
		"chunks of another name": "Transfer-Encoding: xchunked\r\n", "chunks and identity": "Transfer-Encoding: chunked, identity\r\n", "chunks twice": chunked + chunked,
	} {
		all[name] = text{sent: of(lines, chunks), want: "501"}
	}
	for name, body := range map[string]string{
		"chunks with half line breaks": "2\n{}\n0\n\n", "an extension with half a line break": "2;a\nb\r\n{}\r\n0\r\n\r\n", "a chunk's length of 17 digits": "00000000000000002\r\n{}\r\n0\r\n\r\n",
	} {
		all[name] = text{sent: of(chunked, body), want: "400 bad_request"}
	}
	return all
}

// strangers are requests for what there is not, or that never come to their end.
func (w *world) strangers() map[string]text {
	const host, last = "Host: tokensvc\r\n", "Connection: close\r\n"
	good := "Authorization: Bearer " + w.bearers[mallory] + "\r\n"
	return map[string]text{
		"a header of a megabyte": {sent: "POST /v1/token HTTP/1.1\r\n" + host + good + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 1<<10) + "\r\n", want: "431"},
		"ten thousand headers":   {sent: "POST /v1/token HTTP/1.1\r\n" + host + last + good + strings.Repeat("X: y\r\n", 10_000) + "\r\n", want: "200 mallory"},
		"a hundred thousand":     {sent: "POST /v1/token HTTP/1.1\r\n" + host + last + good + strings.Repeat("X:\r\n", 100_000) + "\r\n", want: "431"},

		"HTTP/2, unasked":           {sent: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", want: "405 method_not_allowed"},
		"HTTP/2, asked for":         {sent: "POST /v1/token HTTP/1.1\r\n" + host + good + "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", want: "200 mallory"},
		"a WebSocket":               {sent: "GET /v1/token HTTP/1.1\r\n" + host + good + "Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", want: "405 method_not_allowed"},
		"HTTP/3.0":                  {sent: "POST /v1/token HTTP/3.0\r\n" + host + good + "\r\n", want: "505"},
		"HTTP/0.9":                  {sent: "GET /v1/token\r\n\r\n", want: "400"},
		"a tunnel":                  {sent: "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 169.254.169.254:80\r\n" + last + good + "\r\n", want: "404 not_found"},
		"a tunnel to a path":        {sent: "CONNECT /v1/token HTTP/1.1\r\n" + host + last + good + "\r\n", want: "405 method_not_allowed"},
		"the address of another":    {sent: "POST http://evil.example/v1/token HTTP/1.1\r\n" + host + last + good + "\r\n", want: "200 mallory"},
		"a name in the address":     {sent: "POST http://alice@evil.example/v1/token HTTP/1.1\r\n" + host + last + good + "\r\n", want: "200 mallory"},
		"no host":                   {sent: "POST /v1/token HTTP/1.1\r\n" + good + "\r\n", want: "400"},
		"a host with a space":       {sent: "POST /v1/token HTTP/1.1\r\nHost: a b\r\n" + good + "\r\n", want: "400"},
		"OPTIONS *":                 {sent: "OPTIONS * HTTP/1.1\r\n" + host + last + good + "\r\n", want: "404 not_found"},
		"a slash escaped":           {sent: "POST /v1%2ftoken HTTP/1.1\r\n" + host + last + good + "\r\n", want: "404 not_found"},
		"a letter escaped":          {sent: "POST /v1/t%6fken HTTP/1.1\r\n" + host + last + good + "\r\n", want: "404 not_found"},
		"a zero behind the path":    {sent: "POST /v1/token%00 HTTP/1.1\r\n" + host + last + good + "\r\n", want: "404 not_found"},
		"the bearer taken back":     {sent: "POST /v1/token HTTP/1.1\r\n" + host + good + "Connection: close, authorization\r\n\r\n", want: "200 mallory"},
		"an expectation of its own": {sent: "POST /v1/token HTTP/1.1\r\n" + host + good + "Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", want: "417"},

		"nothing":             {sent: "", takes: 5 * time.Second},
		"half a header":       {sent: "POST /v1/token HTTP/1.1\r\n" + host + good, takes: 5 * time.Second},
		"a body that is late": {sent: "POST /v1/token HTTP/1.1\r\n" + host + good + "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", want: "100, 400 bad_request", takes: 10 * time.Second},
		"half a chunk":        {sent: "POST /v1/token HTTP/1.1\r\n" + host + good + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", want: "400 bad_request", takes: 10 * time.Second},
		"a late body nobody waits for": { // the answer is there at once, but not the end
			sent: "POST /v1/token HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", want: "401 unauthenticated", takes: 10 * time.Second,
		},
	}
}

// Whatever text somebody sends, what is answered is theirs, in time, and no more of it than
// everybody who reads it would see.
func TestTextsOverHTTP1(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	for name, texts := range map[string]map[string]text{"framings": w.framings(), "strangers": w.strangers()} {
		for what, text := range texts {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				w.wantAnswers(t, text)
			})
		}
	}
}

func (w *world) wantAnswers(t *testing.T, x text) {
	t.Helper()
	conn, err := w.dial("")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), x.takes+atOnce)
	defer cancel()
	end, _ := ctx.Deadline()
	if err := conn.SetDeadline(end); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	go func() { _, _ = io.WriteString(conn, x.sent) }() // not all of which is taken
	var got []string
	for in := bufio.NewReader(conn); ; {
		var res *http.Response
		if res, err = http.ReadResponse(in, nil); err != nil {
			break
		}
		got = append(got, w.inWords(res))
	}
	switch took := time.Since(began); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("the connection was still open after %v", took)
	case took < x.takes-atOnce:
		t.Errorf("the connection ended after %v, want %v", took, x.takes)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET):
		t.Error(err)
	}
	if all := strings.Join(got, ", "); all != x.want {
		t.Errorf("answered %q, want %q", all, x.want)
	}
}

// inWords is an answer's status, and whose token it has or why none.
func (w *world) inWords(res *http.Response) string {
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // the next answer would not be one
	var said struct{ Token, Code string }
	_ = json.Unmarshal(body, &said) // or there is neither
	words := []string{fmt.Sprint(res.StatusCode)}
	for user := range w.credentials {
		if w.isFor(user, string(body)) == nil {
			words = append(words, user)
		}
	}
	if said.Token != "" && len(words) == 1 {
		words = append(words, "a stranger")
	}
	if said.Code != "" {
		words = append(words, said.Code)
	}
	return strings.Join(words, " ")
}
