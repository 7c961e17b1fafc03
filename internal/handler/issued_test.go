package handler

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// asEncoded is what encoding/json makes of an answer.
func asEncoded(t *testing.T, a issued) string {
	t.Helper()
	body, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return string(body) + "\n"
}

// FuzzAnswersAreWhatTheEncoderWrites takes whatever can be a token, a device and a
// request id: if one of them could need an escape, the answers would differ.
func FuzzAnswersAreWhatTheEncoderWrites(f *testing.F) {
	jwt := func(payload string) string {
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"HS512"}`)) + "." + encode([]byte(payload)) + ".c2lnbmF0dXJl"
	}
	whole := jwt(`{"exp":1999999999}`)
	f.Add(whole, "default", "0190a5e6-6f4b", int64(86399))
	f.Add(jwt(`{"exp":1999999999,"x":"`+strings.Repeat("<&>", 900)+`"}`), "a.b_c-9", "A", int64(-7)) // longer than a buffer
	f.Add(" "+whole+"\r\n", `desk"`, `a"b`, int64(0))
	f.Add(whole+`"}`, "d\\", "a\\", int64(0))
	f.Add(whole+"<\u2028", "<", "\u2028", int64(1<<40))
	f.Fuzz(func(t *testing.T, token, device, id string, life int64) {
		parsed, err := telnyx.ParseLoginToken(token)
		if err != nil {
			return
		}
		label, err := directory.ParseDevice(device)
		if err != nil || !harmless(id) {
			return
		}
		a := answerTo(&event{device: label, requestID: id}, parsed, parsed.ExpiresAt.Add(-time.Duration(life)))
		want := asEncoded(t, a)
		if got := string(a.appendTo(nil)); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		var pool answers
		for range 2 { // the second time in a buffer that was used before
			w := httptest.NewRecorder()
			pool.write(w, a)
			if got := w.Body.String(); got != want {
				t.Fatalf("written %s, want %s", got, want)
			}
		}
	})
}

func TestANewRequestIDIsHarmless(t *testing.T) {
	for range 1000 {
		if id := newRequestID(); !harmless(id) || len(id) != 26 {
			t.Fatalf("%q", id)
		}
	}
}

func TestABufferIsTheWritersAlone(t *testing.T) {
	var pool answers
	first, second := issued{Token: "first", RequestID: "1"}, issued{Token: "second", RequestID: "2"}
	inner := &bytes.Buffer{}
	outer := nested{httptest.NewRecorder(), func() {
		w := httptest.NewRecorder()
		pool.write(w, second)
		inner.Write(w.Body.Bytes())
	}}
	pool.write(outer, first)
	if got, want := outer.Body.String(), asEncoded(t, first); got != want {
		t.Errorf("the one who was interrupted wrote %s, want %s", got, want)
	}
	if got, want := inner.String(), asEncoded(t, second); got != want {
		t.Errorf("the other wrote %s, want %s", got, want)
	}
}

// nested is a writer in the midst of whose writing something else is done.
type nested struct {
	*httptest.ResponseRecorder
	do func()
}

func (n nested) Write(p []byte) (int, error) {
	n.do()
	return n.ResponseRecorder.Write(p)
}

func TestWhoseRequestIDIsTaken(t *testing.T) {
	for id, want := range map[string]bool{
		"azAZ09._-": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "": false,
		"a`": false, "a{": false, "a@": false, "a[": false, "a/": false, "a:": false, "a b": false, "a\n": false, "é": false,
	} {
		if got := harmless(id); got != want {
			t.Errorf("%q: %v, want %v", id, got, want)
		}
	}
}
