package telnyx_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// Canaries: they are in every body and header of a fault, in the key, and in
// what a credential's answers hold, and must be in no error.
const (
	mark     = "MARKED-upstream-text"
	markKey  = "KEY-MARKED-key"
	markPass = "MARKED-sip-password"
)

var kinds = []error{
	telnyx.ErrInvalid, telnyx.ErrCredentialRejected, telnyx.ErrKeyRejected, telnyx.ErrBadAnswer,
	telnyx.ErrLimited, telnyx.ErrUnavailable, telnyx.ErrTimeout, context.Canceled,
}

// checkError checks that err is of one kind only and says nothing it must not.
func checkError(t *testing.T, err, want error) *telnyx.Error {
	t.Helper()
	var e *telnyx.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a telnyx.Error of kind %q", err, want)
	}
	for _, kind := range kinds {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("%v: errors.Is(err, %q) is %v", err, kind, errors.Is(err, kind))
		}
	}
	for _, shown := range shownBy(err) {
		if strings.Contains(shown, "MARKED") {
			t.Errorf("the error shows what it must not: %s", shown)
		}
	}
	return e
}

// shownBy prints an error and everything it wraps.
func shownBy(err error) []string {
	all := []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, shownBy(inner)...)
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			all = append(all, shownBy(inner)...)
		}
	}
	return all
}

// faults is what can come back, and what it means for a mint and a get.
var faults = []struct {
	name  string
	fault telnyxtest.Fault
	kind  error
	code  string
}{
	{"400", telnyxtest.Fault{Status: 400}, telnyx.ErrCredentialRejected, "10015"},
	{"401", telnyxtest.Fault{Status: 401}, telnyx.ErrKeyRejected, "10009"},
	{"403", telnyxtest.Fault{Status: 403}, telnyx.ErrKeyRejected, "10010"},
	{"404", telnyxtest.Fault{Status: 404}, telnyx.ErrCredentialRejected, "10005"},
	{"408", telnyxtest.Fault{Status: 408}, telnyx.ErrTimeout, "10007"},
	{"409", telnyxtest.Fault{Status: 409}, telnyx.ErrBadAnswer, "10007"},
	{"422", telnyxtest.Fault{Status: 422}, telnyx.ErrCredentialRejected, "10015"},
	{"429", telnyxtest.Fault{Status: 429}, telnyx.ErrLimited, "10011"},
	{"500", telnyxtest.Fault{Status: 500}, telnyx.ErrUnavailable, "10007"},
	{"502", telnyxtest.Fault{Status: 502}, telnyx.ErrUnavailable, "10007"},
	{"503", telnyxtest.Fault{Status: 503}, telnyx.ErrUnavailable, "10007"},
	{"504", telnyxtest.Fault{Status: 504}, telnyx.ErrTimeout, "10007"},

	{"errors as an object", telnyxtest.Fault{Status: 422, Shape: telnyxtest.ErrorsObject}, telnyx.ErrCredentialRejected, "10015"},
	{"no errors", telnyxtest.Fault{Status: 404, Shape: telnyxtest.NoErrors}, telnyx.ErrCredentialRejected, ""},
	{"empty 404", telnyxtest.Fault{Status: 404, Shape: telnyxtest.Empty}, telnyx.ErrCredentialRejected, ""},
	{"empty 500", telnyxtest.Fault{Status: 500, Shape: telnyxtest.Empty}, telnyx.ErrUnavailable, ""},
	{"HTML 502", telnyxtest.Fault{Status: 502, Shape: telnyxtest.HTML}, telnyx.ErrUnavailable, ""},
	{"a code with text", telnyxtest.Fault{Status: 404, Code: "10005 " + mark}, telnyx.ErrCredentialRejected, ""},
	{"a code too long", telnyxtest.Fault{Status: 404, Code: "123456789"}, telnyx.ErrCredentialRejected, ""},
	{"a marked Retry-After", telnyxtest.Fault{Status: 429, RetryAfter: mark}, telnyx.ErrLimited, "10011"},

	{"HTML 200", telnyxtest.Fault{Status: 200, Shape: telnyxtest.HTML}, telnyx.ErrBadAnswer, ""},
	{"empty 200", telnyxtest.Fault{Status: 200, Shape: telnyxtest.Empty}, telnyx.ErrBadAnswer, ""},
	{"empty 201", telnyxtest.Fault{Status: 201, Shape: telnyxtest.Empty}, telnyx.ErrBadAnswer, ""},
	{"204", telnyxtest.Fault{Status: 204, Shape: telnyxtest.Empty}, telnyx.ErrBadAnswer, ""},
	{"202", telnyxtest.Fault{Status: 202}, telnyx.ErrBadAnswer, ""},
	{"no token", telnyxtest.Fault{Status: 200, Shape: telnyxtest.NotJWT}, telnyx.ErrBadAnswer, ""},
	{"other JSON", telnyxtest.Fault{Status: 200, Shape: telnyxtest.NoErrors}, telnyx.ErrBadAnswer, ""},
	{"a token in JSON", telnyxtest.Fault{Status: 200, Shape: telnyxtest.JSONInstead}, telnyx.ErrBadAnswer, ""},
	{"redirect", telnyxtest.Fault{Shape: telnyxtest.Redirect}, telnyx.ErrBadAnswer, ""},
	{"redirect 307", telnyxtest.Fault{Status: 307, Shape: telnyxtest.Redirect}, telnyx.ErrBadAnswer, ""},
	{"endless body", telnyxtest.Fault{Status: 200, Shape: telnyxtest.Endless}, telnyx.ErrBadAnswer, ""},
	{"endless refusal", telnyxtest.Fault{Status: 404, Shape: telnyxtest.Endless}, telnyx.ErrCredentialRejected, ""},
	{"malformed status", telnyxtest.Fault{Shape: telnyxtest.MalformedStatus}, telnyx.ErrBadAnswer, ""},
	{"malformed header", telnyxtest.Fault{Shape: telnyxtest.MalformedHeader}, telnyx.ErrBadAnswer, ""},

	{"reset", telnyxtest.Fault{Shape: telnyxtest.Reset}, telnyx.ErrUnavailable, ""},
	{"reset in the body", telnyxtest.Fault{Status: 200, Shape: telnyxtest.ResetBody}, telnyx.ErrUnavailable, ""},
	{"closed", telnyxtest.Fault{Shape: telnyxtest.Close}, telnyx.ErrUnavailable, ""},
	{"slow", telnyxtest.Fault{Delay: time.Hour}, telnyx.ErrTimeout, ""},
	{"hang", telnyxtest.Fault{Shape: telnyxtest.Hang}, telnyx.ErrTimeout, ""},
	{"hang in the body", telnyxtest.Fault{Status: 200, Shape: telnyxtest.HangBody}, telnyx.ErrTimeout, ""},
	{"hang in a refusal", telnyxtest.Fault{Status: 404, Shape: telnyxtest.HangBody}, telnyx.ErrCredentialRejected, ""},
}

func TestEveryFaultHasItsKindAndNoErrorShowsTheAnswer(t *testing.T) {
	for _, row := range faults {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := telnyxtest.StartT(t, telnyxtest.Options{APIKey: markKey, SIPPassword: markPass, TokenMark: mark})
			client := newClient(t, telnyx.Config{BaseURL: server.URL(), APIKeys: key(markKey), Timeout: patience(row.fault)})
			id := parseID(t, server.AddCredential(telnyxtest.Credential{Name: mark}))
			row.fault.Mark = mark
			server.Inject(row.fault)

			_, err := client.Mint(t.Context(), id)
			if e := checkError(t, err, row.kind); e.Code != row.code || e.Op != "mint" || e.Credential != id {
				t.Errorf("mint: %+v, want code %q", *e, row.code)
			}
			_, err = client.Credential(t.Context(), id)
			if row.name == "202" || !strings.HasPrefix(row.name, "20") {
				checkError(t, err, row.kind)
			}
			if n := server.Requests(telnyxtest.List); n > 0 {
				t.Errorf("%d redirects were followed", n)
			}
		})
	}
}

// patience is short only for the faults that would use up any.
func patience(f telnyxtest.Fault) time.Duration {
	if f.Shape == telnyxtest.HangBody && f.Status >= 400 {
		return 2 * time.Second // time for the head, also on a busy machine
	}
	if f.Delay > 0 || f.Shape == telnyxtest.Hang || f.Shape == telnyxtest.HangBody {
		return 300 * time.Millisecond
	}
	return telnyx.DefaultTimeout
}

func TestADeleteIsBelievedOnlyWithTheCredential(t *testing.T) {
	for name, fault := range map[string]telnyxtest.Fault{
		"HTML 200":   {Shape: telnyxtest.HTML},
		"empty 200":  {Shape: telnyxtest.Empty},
		"204":        {Status: 204, Shape: telnyxtest.Empty},
		"other JSON": {Status: 200, Shape: telnyxtest.NoErrors},
	} {
		t.Run(name, func(t *testing.T) {
			server := telnyxtest.StartT(t, telnyxtest.Options{})
			client := newClient(t, telnyx.Config{BaseURL: server.URL()})
			id := parseID(t, server.AddCredential(telnyxtest.Credential{}))
			fault.Mark = mark
			server.Inject(fault)
			checkError(t, client.DeleteCredential(t.Context(), id), telnyx.ErrBadAnswer)
		})
	}
}

func TestATokenMayHaveALineBreakAroundItOrStatus200(t *testing.T) {
	for name, fault := range map[string]telnyxtest.Fault{
		"newline": {Shape: telnyxtest.Newline},
		"200":     {Status: 200},
	} {
		server := telnyxtest.StartT(t, telnyxtest.Options{})
		client := newClient(t, telnyx.Config{BaseURL: server.URL()})
		id := server.AddCredential(telnyxtest.Credential{})
		server.Inject(fault)
		token, err := client.Mint(t.Context(), parseID(t, id))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, ok := server.CredentialOf(token.JWT.Reveal()); !ok || got != id {
			t.Errorf("%s: the token is not as it was issued", name)
		}
	}
}

func TestSizesAreCountedAfterDecompression(t *testing.T) {
	bomb := packed(strings.Repeat(mark, telnyx.MaxTokenBytes))
	broken := packed(strings.Repeat("x", 1000))
	broken[len(broken)-6] ^= 0xff // the checksum
	for name, body := range map[string][]byte{"bomb": bomb, "broken": broken, "not gzip": []byte(mark)} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, telnyx.Config{BaseURL: answering(t, http.Header{"Content-Encoding": {"gzip"}}, 201, body)})
			_, err := client.Mint(t.Context(), anyID(t))
			checkError(t, err, telnyx.ErrBadAnswer)
		})
	}
}

func TestAnAnswerThatIsGoodButTooLargeIsRefused(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	good := newClient(t, telnyx.Config{BaseURL: server.URL()})
	token, err := good.Mint(t.Context(), parseID(t, server.AddCredential(telnyxtest.Credential{})))
	if err != nil {
		t.Fatal(err)
	}
	mint := token.JWT.Reveal() + strings.Repeat(" ", telnyx.MaxTokenBytes)
	_, err = newClient(t, telnyx.Config{BaseURL: answering(t, nil, 201, []byte(mint))}).Mint(t.Context(), anyID(t))
	checkError(t, err, telnyx.ErrBadAnswer)

	list := `{"data":[],"meta":{}}` + strings.Repeat(" ", telnyx.MaxAnswerBytes)
	_, err = newClient(t, telnyx.Config{BaseURL: answering(t, nil, 200, []byte(list))}).Credentials(t.Context(), telnyx.Query{})
	checkError(t, err, telnyx.ErrBadAnswer)
}

func TestAnAnswerAboutAnotherCredentialIsRefused(t *testing.T) {
	body := `{"data":{"id":"11111111-1111-4111-8111-111111111111"}}`
	client := newClient(t, telnyx.Config{BaseURL: answering(t, nil, 200, []byte(body))})
	_, err := client.Credential(t.Context(), anyID(t))
	checkError(t, err, telnyx.ErrBadAnswer)
	_, err = client.UpdateCredential(t.Context(), anyID(t), time.Now())
	checkError(t, err, telnyx.ErrBadAnswer)
	checkError(t, client.DeleteCredential(t.Context(), anyID(t)), telnyx.ErrBadAnswer)
}

func TestNoConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	client := newClient(t, telnyx.Config{BaseURL: "http://" + listener.Addr().String()})
	_, err = client.Mint(t.Context(), anyID(t))
	if e := checkError(t, err, telnyx.ErrUnavailable); !errors.Is(err, syscall.ECONNREFUSED) || e.Uncertain || e.Attempts != 3 {
		t.Errorf("got %v, %+v; want a refused connection, tried three times", err, *e)
	}
}

func TestAnUntrustedCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	client := newClient(t, telnyx.Config{BaseURL: server.URL})
	_, err := client.Mint(t.Context(), anyID(t))
	if checkError(t, err, telnyx.ErrUnavailable); !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("%v does not say why", err)
	}
}

func TestWhoGaveUp(t *testing.T) {
	server := telnyxtest.StartT(t, telnyxtest.Options{})
	id := parseID(t, server.AddCredential(telnyxtest.Credential{}))
	for _, fault := range []telnyxtest.Fault{
		{Shape: telnyxtest.Hang}, {Shape: telnyxtest.HangBody}, {Shape: telnyxtest.HangBody, Status: 404}, {Shape: telnyxtest.HangBody, Status: 503},
	} {
		server.ClearFaults()
		server.Inject(fault)
		client := newClient(t, telnyx.Config{BaseURL: server.URL()})

		canceled, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("the caller left")) })
		_, err := client.Mint(canceled, id)
		checkError(t, err, context.Canceled)

		if fault.Status >= 400 {
			continue // its status is known, whatever becomes of its body
		}
		late, cancelLate := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = client.Mint(late, id)
		cancelLate()
		if checkError(t, err, telnyx.ErrTimeout); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v: %v is no deadline", fault, err)
		}
	}
}

// answering returns the URL of a server with one answer for everything.
func answering(t *testing.T, h http.Header, status int, body []byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range h {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func packed(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.Bytes()
}

func anyID(t testing.TB) telnyx.CredentialID {
	return parseID(t, "c215ade3-0d39-418e-94be-c5f780760199")
}
