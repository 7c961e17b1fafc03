package telnyxtest_test

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

func TestOnlyLoopbackAddressesAreListenedOn(t *testing.T) {
	for addr, want := range map[string]bool{
		"": true, "127.0.0.1:0": true, "localhost:0": true,
		":0": false, "0.0.0.0:0": false, "[::]:0": false, "192.0.2.1:0": false, "example.com:0": false, "127.0.0.1": false,
	} {
		s, err := telnyxtest.Start(telnyxtest.Options{Addr: addr})
		if (err == nil) != want {
			t.Errorf("%q: %v", addr, err)
		}
		if err == nil {
			s.Close()
			s.Close() // a second time does no harm
		}
	}
}

func TestWhatIsOutsideOfTheContractIsReported(t *testing.T) {
	var reported atomic.Int32
	s, err := telnyxtest.Start(telnyxtest.Options{Unexpected: func(string) { reported.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	id := s.AddCredential(telnyxtest.Credential{})
	rows := []struct{ method, path, body string }{
		{"GET", "/balance", ""},
		{"POST", "/telephony_credentials/../balance/token", ""},
		{"GET", "/telephony_credentials/", ""},
		{"GET", "/telephony_credentialsx", ""},
		{"GET", "/telephony_credentials/" + id + "/token", ""},
		{"POST", "/telephony_credentials/" + id + "/token/", ""},
		{"POST", "/telephony_credentials/" + id + "/token", `{"expires_in":60}`},
		{"POST", "/telephony_credentials/" + id + "/token?life=60", ""},
		{"PUT", "/telephony_credentials/" + id, "{}"},
		{"POST", "/telephony_credentials/" + id, "{}"},
		{"GET", "/telephony_credentials?filter[user]=1", ""},
		{"POST", "/telephony_credentials", ""}, // without a content type
	}
	for i, row := range rows {
		resp := send(t, row.method, s.URL()+row.path, row.body)
		if resp.StatusCode != 501 || int(reported.Load()) != i+1 {
			t.Errorf("%v: status %d, %d reported", row, resp.StatusCode, reported.Load())
		}
	}
}

// clock is a clock that tests set forward.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1767225600, 0).Add(time.Duration(c.ns.Load())) }
func (c *clock) forward(d time.Duration) { c.ns.Add(int64(d)) }

func TestANewCredentialGetsNoTokenAtFirst(t *testing.T) {
	var c clock
	s := telnyxtest.StartT(t, telnyxtest.Options{Now: c.now})
	var made struct{ Data struct{ ID string } }
	decode(t, send(t, "POST", s.URL()+"/telephony_credentials", `{"connection_id":"1"}`), &made)
	mint := s.URL() + "/telephony_credentials/" + made.Data.ID + "/token"
	mustStatus(t, send(t, "POST", mint, "").StatusCode, 404)
	c.forward(5 * time.Second)
	resp := send(t, "POST", mint, "")
	mustStatus(t, resp.StatusCode, 201)
	jwt := text(t, resp)
	if id, ok := s.CredentialOf(jwt); !ok || id != made.Data.ID {
		t.Errorf("the token is for %q", id)
	}
	if at, ok := s.ExpiryOf(jwt); !ok || !at.Equal(c.now().Add(24*time.Hour)) {
		t.Errorf("the token expires at %v", at)
	}
	if _, ok := s.CredentialOf(jwt[:len(jwt)-2] + "AA"); ok {
		t.Error("a forged signature passes")
	}
	c.forward(30 * 365 * 24 * time.Hour)
	mustStatus(t, send(t, "POST", mint, "").StatusCode, 404) // expired
}

func TestTheRateLimitIsCountedInWindows(t *testing.T) {
	var c clock
	s := telnyxtest.StartT(t, telnyxtest.Options{Now: c.now, RateLimit: 2, RateWindow: 10 * time.Second})
	for _, row := range []struct {
		forward          time.Duration
		status           int
		remaining, reset string
	}{
		{0, 200, "1", "10"},
		{3500 * time.Millisecond, 200, "0", "7"},
		{0, 429, "0", "7"},
		{0, 429, "0", "7"},
		{6500 * time.Millisecond, 200, "1", "10"},
	} {
		c.forward(row.forward)
		resp := send(t, "GET", s.URL()+"/telephony_credentials", "")
		h := resp.Header
		if resp.StatusCode != row.status || h.Get("x-ratelimit-limit") != "2" || h.Get("x-ratelimit-remaining") != row.remaining || h.Get("x-ratelimit-reset") != row.reset {
			t.Errorf("status %d, headers %v; want %+v", resp.StatusCode, h, row)
		}
		if body := text(t, resp); row.status == 429 && !strings.Contains(body, `"10011"`) {
			t.Errorf("the body is %s", body)
		}
	}
	if n := s.Limited(); n != 2 {
		t.Errorf("%d requests were limited, want 2", n)
	}
}

func TestFaultsAreTakenInOrder(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	id := s.AddCredential(telnyxtest.Credential{})
	s.Inject(telnyxtest.Fault{Op: telnyxtest.Get, Status: 500, Times: 2})
	s.Inject(telnyxtest.Fault{Op: telnyxtest.Delete, Status: 503, Times: 1, After: true})
	s.Inject(telnyxtest.Fault{Op: telnyxtest.Get, Status: 502})
	one, list := s.URL()+"/telephony_credentials/"+id, s.URL()+"/telephony_credentials"
	for _, row := range []struct {
		method, url string
		status      int
	}{
		{"GET", one, 500}, {"GET", list, 200}, {"GET", one, 500}, {"GET", one, 502}, {"GET", one, 502},
		{"DELETE", one, 503}, {"DELETE", one, 404}, // it was deleted all the same
	} {
		if got := send(t, row.method, row.url, "").StatusCode; got != row.status {
			t.Errorf("%s: status %d, want %d", row.method, got, row.status)
		}
	}
	if s.Requests(telnyxtest.Get) != 4 || s.Requests(telnyxtest.List) != 1 || s.Requests(telnyxtest.Delete) != 2 {
		t.Error("the requests are counted wrongly")
	}
	s.ClearFaults()
	mustStatus(t, send(t, "GET", one, "").StatusCode, 404)
}

func TestCloseFreesWhoeverHangs(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	s.Inject(telnyxtest.Fault{Op: telnyxtest.List, Shape: telnyxtest.Hang})
	s.Inject(telnyxtest.Fault{Op: telnyxtest.Get, Shape: telnyxtest.Endless})
	s.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Delay: time.Hour})
	id := s.AddCredential(telnyxtest.Credential{})
	var all sync.WaitGroup
	for _, path := range []string{"GET /telephony_credentials", "GET /telephony_credentials/" + id, "POST /telephony_credentials/" + id + "/token"} {
		method, path, _ := strings.Cut(path, " ")
		all.Go(func() { drain(t, method, s.URL()+path) })
	}
	for s.Requests(telnyxtest.List)+s.Requests(telnyxtest.Get)+s.Requests(telnyxtest.Token) < 3 {
		runtime.Gosched()
	}
	s.Close()
	all.Wait()
}

// drain sends a request and reads what comes until the connection ends.
func drain(t *testing.T, method, url string) {
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+telnyxtest.DefaultAPIKey)
	if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

func TestATagHoldsAThousand(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	for range 999 {
		s.AddCredential(telnyxtest.Credential{Tag: "full"})
	}
	for _, want := range []int{201, 422} {
		mustStatus(t, send(t, "POST", s.URL()+"/telephony_credentials", `{"connection_id":"1","tag":"full"}`).StatusCode, want)
	}
	mustStatus(t, send(t, "POST", s.URL()+"/telephony_credentials", `{"connection_id":"1","tag":"other"}`).StatusCode, 201)
}

func TestListParametersOutOfRangeAreRefused(t *testing.T) {
	s := telnyxtest.StartT(t, telnyxtest.Options{})
	for _, query := range []string{"page[size]=251", "page[size]=0", "page[number]=0", "page[number]=x"} {
		mustStatus(t, send(t, "GET", s.URL()+"/telephony_credentials?"+query, "").StatusCode, 400)
	}
}

// The emulator is part of the product's binary, and the WebSocket library the
// only one that it brings along.
func TestNothingLargeIsImported(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range file.Imports {
			path := imported.Path.Value
			if path == `"github.com/coder/websocket"` {
				continue
			}
			if strings.Contains(path, ".") || path == `"testing"` || path == `"net/http/httptest"` {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func decode(t *testing.T, resp *http.Response, to any) {
	t.Helper()
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		t.Fatal(err)
	}
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
