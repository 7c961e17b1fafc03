package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// misfortuneLimit is how long what a misfortune leads to may take. After Telnyx was
// down the breaker has to close again.
const misfortuneLimit = 30 * time.Second

// strike asks for a misfortune as the page does, with changes.
func (d *devRun) strike(t *testing.T, name, body string, changes ...change) answer {
	t.Helper()
	req := newRequest(t, http.MethodPost, d.page+"/misfortunes/"+name, nil)
	header("Origin", d.page)(req)
	sendingJSON(body)(req)
	for _, change := range changes {
		change(req)
	}
	return do(t, httpClient, req)
}

// switched asks for one and wants it to be as asked for.
func (d *devRun) switched(t *testing.T, name, user string, on bool) {
	t.Helper()
	got := d.strike(t, name, fmt.Sprintf(`{"user":%q,"on":%t}`, user, on))
	var c pageConfig
	if err := json.Unmarshal([]byte(got.body), &c); err != nil || got.status != http.StatusOK || len(c.Misfortunes) != 6 {
		t.Fatalf("%s %t: got %v", name, on, got)
	}
	for _, m := range append(c.Misfortunes, d.config(t).Misfortunes...) {
		if m.On != nil && *m.On != (on && m.Name == name) {
			t.Errorf("%s %t, and %s is %t", name, on, m.Name, *m.On)
		}
	}
}

// ask asks dev's service for one of its people.
func (d *devRun) ask(t *testing.T, user string, changes ...change) answer {
	t.Helper()
	bearer := strings.TrimSpace(do(t, httpClient, newRequest(t, http.MethodGet, d.oidc+"/bearer/"+user, nil)).body)
	return (&caller{t, checked(t, newTransport(t)), d.service}).send(append(changes, bearing(bearer))...)
}

var fresh = header("Cache-Control", "no-cache")

// untilToken asks until there is a token, as somebody does who waits for trouble to
// be over.
func (d *devRun) untilToken(t *testing.T, user string, changes ...change) (token string) {
	t.Helper()
	process.Eventually(t, misfortuneLimit, "a token for "+user, func() error {
		got := d.ask(t, user, changes...)
		if got.status != http.StatusOK {
			return errors.New(got.String())
		}
		token = got.token()
		return nil
	})
	return token
}

// A devPhone is a connection to the gateway that has logged in.
type devPhone struct{ conn *websocket.Conn }

// register logs in with a token. The code is the gateway's, if it refuses.
func (d *devRun) register(t *testing.T, token string) (phone devPhone, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, d.config(t).Gateway, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	login := map[string]any{"jsonrpc": "2.0", "id": "1", "method": "login", "params": map[string]any{"login_token": token}}
	if err := wsjson.Write(ctx, conn, login); err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID    string `json:"id"`
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	for got.ID != "1" {
		if err := wsjson.Read(ctx, conn, &got); err != nil {
			t.Fatal(err)
		}
	}
	return devPhone{conn}, got.Error.Code
}

// registered wants that token to be good for a login.
func (d *devRun) registered(t *testing.T, token string) devPhone {
	t.Helper()
	phone, code := d.register(t, token)
	if code != 0 {
		t.Fatalf("the login fails with %d", code)
	}
	return phone
}

// refused wants that token not to be good for one.
func (d *devRun) refused(t *testing.T, token string, code int) {
	t.Helper()
	if _, got := d.register(t, token); got != code {
		t.Errorf("the login ends with %d, want %d", got, code)
	}
}

// awaitCut waits until the connection has ended.
func (p devPhone) awaitCut(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), misfortuneLimit)
	defer cancel()
	for {
		if _, _, err := p.conn.Read(ctx); err != nil {
			if ctx.Err() != nil {
				t.Fatal("the connection goes on")
			}
			return
		}
	}
}

// Each misfortune is what its name says: to the phone at the gateway, or to whoever
// asks the service. Afterwards all is well again.
func TestDevsMisfortunes(t *testing.T) {
	d := startDev(t, anywhere...)
	first := d.untilToken(t, "alice")

	phone := d.registered(t, first)
	d.switched(t, "lose-connection", "alice", false)
	phone.awaitCut(t)
	phone = d.registered(t, first)

	d.switched(t, "expire", "alice", false)
	phone.awaitCut(t)
	d.refused(t, first, -32001)
	if d.untilToken(t, "alice") != first {
		t.Error("the service knows that the token has expired before its time, which it cannot")
	}
	second := d.untilToken(t, "alice", fresh)
	phone = d.registered(t, second)

	d.switched(t, "login-loop", "alice", true)
	phone.awaitCut(t)
	d.refused(t, second, -32000)
	d.switched(t, "login-loop", "alice", false)
	d.registered(t, second)

	d.switched(t, "key-rejected", "alice", true)
	d.untilToken(t, "alice")
	if got := d.ask(t, "dave"); got.problem().Code != "upstream_rejected" {
		t.Errorf("while the key is rejected: got %v", got)
	}
	d.switched(t, "key-rejected", "alice", false)
	d.untilToken(t, "alice", fresh)

	d.switched(t, "telnyx-down", "alice", true)
	d.untilToken(t, "alice")
	if got := d.ask(t, "dave"); got.problem().Code != "upstream_unavailable" {
		t.Errorf("while Telnyx is down: got %v", got)
	}
	d.switched(t, "telnyx-down", "alice", false)
	process.Eventually(t, misfortuneLimit, "Telnyx's own word on dave", func() error {
		if got := d.ask(t, "dave"); got.problem().Code != "credential_rejected" {
			return errors.New(got.String())
		}
		return nil
	})
}

// Who is offboarded is out at once, at Telnyx too, and who comes back is given
// another credential.
func TestDevOffboards(t *testing.T) {
	d := startDev(t, anywhere...)
	before := d.untilToken(t, "alice")
	phone := d.registered(t, before)
	d.switched(t, "offboard", "alice", true)
	phone.awaitCut(t)
	d.refused(t, before, -32001)
	if got := d.ask(t, "alice"); got.problem().Code != "denied" {
		t.Errorf("offboarded: got %v", got)
	}
	if got := d.ask(t, "dave"); got.problem().Code != "credential_rejected" {
		t.Errorf("and somebody else: got %v", got)
	}
	d.switched(t, "offboard", "alice", false)
	d.registered(t, d.untilToken(t, "alice"))
	d.refused(t, before, -32001)
	d.switched(t, "offboard", "alice", true) // and with a credential that the service has created
	if got := d.ask(t, "alice"); got.problem().Code != "denied" {
		t.Errorf("offboarded again: got %v", got)
	}
}

// Only the page may ask, and only for what there is.
func TestDevRefusesMisfortunes(t *testing.T) {
	d := startDev(t, anywhere...)
	const alice = `{"user":"alice","on":true}`
	for _, row := range []struct {
		what, name, body string
		change           change
		status           int
	}{
		{"another origin", "telnyx-down", alice, header("Origin", "http://localhost:3000"), http.StatusForbidden},
		{"no origin", "telnyx-down", alice, func(r *http.Request) { r.Header.Del("Origin") }, http.StatusForbidden},
		{"an origin that begins like the page's", "telnyx-down", alice, header("Origin", d.page+"0"), http.StatusForbidden},
		{"a form", "telnyx-down", alice, header("Content-Type", "text/plain"), http.StatusUnsupportedMediaType},
		{"another name of this machine's", "telnyx-down", alice, func(r *http.Request) { r.Host = "phone.example.com" }, http.StatusMisdirectedRequest},
		{"a link", "telnyx-down", alice, func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		{"no JSON", "telnyx-down", `{`, nil, http.StatusBadRequest},
		{"a stranger", "telnyx-down", `{"user":"mallory","on":true}`, nil, http.StatusBadRequest},
		{"a path for a user", "offboard", `{"user":"../users/alice","on":true}`, nil, http.StatusBadRequest},
		{"a field that there is not", "telnyx-down", `{"user":"alice","off":true}`, nil, http.StatusBadRequest},
		{"a long text", "telnyx-down", `{"user":"` + strings.Repeat("a", 1<<16) + `"}`, nil, http.StatusBadRequest},
		{"a misfortune that there is not", "earthquake", alice, nil, http.StatusNotFound},
		{"somebody who is in no directory", "offboard", `{"user":"bob","on":true}`, nil, http.StatusConflict},
	} {
		t.Run(row.what, func(t *testing.T) {
			change := row.change
			if change == nil {
				change = func(*http.Request) {}
			}
			if got := d.strike(t, row.name, row.body, change); got.status != row.status {
				t.Errorf("got %v, want %d", got, row.status)
			}
		})
	}
	for _, m := range d.config(t).Misfortunes {
		if m.On != nil && *m.On {
			t.Errorf("%s has struck", m.Name)
		}
	}
}

// The folder that dev works in goes with it.
func TestDevLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	d := startDevIn(t, []string{"TMPDIR=" + folder}, anywhere...)
	inside, _ := filepath.Glob(filepath.Join(folder, "tokensvc-dev-*"))
	if len(inside) != 1 {
		t.Fatalf("%v, want a folder", inside)
	}
	if info, err := os.Stat(inside[0]); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v, want it to be ours alone", info, err)
	}
	d.interrupt(t)
	if inside, _ = filepath.Glob(filepath.Join(folder, "tokensvc-dev-*")); len(inside) != 0 {
		t.Errorf("%v is left", inside)
	}
}
