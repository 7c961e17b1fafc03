package attacks_test

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// odd is a request over HTTP/2 as no library would send it.
type odd struct {
	header  []string
	body    string // in one frame, if there is one
	trailer []string
	want    string // the status, or "reset"; 200 is with the token of whoever asks
}

// oddities are requests of mallory's, but for what is odd about them.
func (w *world) oddities() map[string]odd {
	bearer := w.bearers[mallory]
	with := func(name, value string) []string { return replaced(post(bearer), name, value) }
	first := func(name, value string) []string { return append([]string{name, value}, post(bearer)...) }
	plus := func(more ...string) []string { return post(bearer, more...) }
	sending := func(length ...string) []string {
		header := plus("content-type", "application/json")
		for _, l := range length {
			header = append(header, "content-length", l)
		}
		return header
	}
	return map[string]odd{
		"nothing odd": {header: post(bearer), want: "200"},

		// No name of a host decides anything here.
		"a Host that is not the authority": {header: plus("host", "evil.example"), want: "200"},
		"an authority of an attacker's":    {header: with(":authority", "evil.example"), want: "200"},
		"no authority":                     {header: without(post(bearer), ":authority"), want: "200"},
		"two authorities":                  {header: first(":authority", "evil.example"), want: "reset"},
		"an authority with a name in it":   {header: with(":authority", "alice@tokensvc"), want: "reset"},

		"a path that is a whole address":   {header: with(":path", "https://evil.example/v1/token"), want: "200"},
		"a path that climbs":               {header: with(":path", "/x/../v1/token"), want: "404"},
		"a path that climbs, escaped":      {header: with(":path", "/x/%2e%2e/v1/token"), want: "404"},
		"a path with two slashes":          {header: with(":path", "//v1/token"), want: "404"},
		"a path without a slash":           {header: with(":path", "v1/token"), want: "reset"},
		"an empty path":                    {header: with(":path", ""), want: "reset"},
		"a star":                           {header: with(":path", "*"), want: "404"},
		"a path with HTTP/1 in it":         {header: with(":path", "/v1/token HTTP/1.1\r\nX: y"), want: "reset"},
		"two paths":                        {header: first(":path", "/v1/whoami"), want: "reset"},
		"no path":                          {header: without(post(bearer), ":path"), want: "reset"},
		"two methods":                      {header: first(":method", "GET"), want: "reset"},
		"no method":                        {header: without(post(bearer), ":method"), want: "reset"},
		"no scheme":                        {header: without(post(bearer), ":scheme"), want: "reset"},
		"a scheme of its own":              {header: with(":scheme", "javascript"), want: "reset"},
		"CONNECT":                          {header: []string{":method", "CONNECT", ":authority", "169.254.169.254:80", "authorization", "Bearer " + bearer}, want: "404"},
		"CONNECT with a path":              {header: with(":method", "CONNECT"), want: "reset"},
		"CONNECT of a WebSocket":           {header: append([]string{":protocol", "websocket"}, with(":method", "CONNECT")...), want: "reset"},
		"a pseudo-header of its own":       {header: first(":user", alice), want: "reset"},
		"an answer's pseudo-header":        {header: first(":status", "200"), want: "reset"},
		"a pseudo-header after the others": {header: plus(":path", "/v1/token"), want: "reset"},

		"Transfer-Encoding":                {header: plus("transfer-encoding", "chunked"), want: "400"},
		"Transfer-Encoding, and chunks":    {header: append(sending(), "transfer-encoding", "chunked"), body: "2\r\n{}\r\n0\r\n\r\n", want: "400"},
		"Connection":                       {header: plus("connection", "authorization"), want: "400"},
		"Upgrade":                          {header: plus("upgrade", "h2c"), want: "400"},
		"a name in capitals":               {header: append(without(post(bearer), "authorization"), "Authorization", "Bearer "+bearer), want: "reset"},
		"a name with a line break":         {header: plus("x\r\ny", "1"), want: "reset"},
		"a name with a colon":              {header: plus("x:y", "1"), want: "reset"},
		"no name":                          {header: plus("", "1"), want: "reset"},
		"a value with another's bearer":    {header: plus("x", "a\r\nauthorization: Bearer "+w.bearers[alice]), want: "reset"},
		"a value with a zero":              {header: plus("x", "a\x00b"), want: "reset"},
		"a bearer with a line break":       {header: with("authorization", "Bearer "+bearer+"\n"), want: "reset"},
		"two bearers":                      {header: plus("authorization", "Bearer "+w.bearers[alice]), want: "401"},
		"a bearer after the body":          {header: without(sending(), "authorization"), body: "{}", trailer: []string{"authorization", "Bearer " + bearer}, want: "401"},
		"a path after the body":            {header: sending(), body: "{}", trailer: []string{":path", "/v1/whoami"}, want: "reset"},
		"a body that is longer than told":  {header: sending("1"), body: "{}", want: "reset"},
		"a body that is shorter than told": {header: sending("300"), body: "{}", want: "400"},
		"a body of less than nothing":      {header: sending("-1"), body: "{}", want: "reset"},
		"two lengths":                      {header: sending("2", "300"), body: "{}", want: "200"}, // a frame's end is the body's
	}
}

// without are a header's fields but for those of a name.
func without(header []string, name string) (rest []string) {
	for f := range slices.Chunk(header, 2) {
		if f[0] != name {
			rest = append(rest, f...)
		}
	}
	return rest
}

// replaced is a header with another value in the place of a name's.
func replaced(header []string, name, value string) []string {
	for n := 0; n < len(header); n += 2 {
		if header[n] == name {
			header[n+1] = value
		}
	}
	return header
}

// An odd request is refused, or is its sender's and nobody else's.
func TestOddRequestsOverHTTP2(t *testing.T) {
	t.Parallel()
	w := startSecured(t)
	for what, o := range w.oddities() {
		t.Run(what, func(t *testing.T) {
			p := w.connect(t)
			go p.listen()
			stream, err := p.open(o.body == "", o.header...)
			if err == nil && o.body != "" {
				err = p.WriteData(stream, o.trailer == nil, []byte(o.body))
			}
			if err == nil && o.trailer != nil {
				err = p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.fields(o.trailer...), EndStream: true, EndHeaders: true})
			}
			if err != nil {
				t.Fatal(err)
			}
			var got answered
			process.Eventually(t, 5*time.Second, "an answer", func() (err error) {
				got, err = p.answer(stream)
				return err
			})
			if got.status != o.want {
				t.Errorf("answered %s %s, want %s", got.status, got.body, o.want)
			}
			if err := w.isFor(mallory, string(got.body)); got.status == "200" && err != nil {
				t.Error(err)
			}
		})
	}
	if err := w.login(alice, time.Second); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
