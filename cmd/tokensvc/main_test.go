package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ran is what came of a command.
type ran struct {
	status   int
	out, err string
}

func ranWith(t *testing.T, environ []string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	status := run(t.Context(), terminal{environ: environ, out: &out, err: &errs}, args)
	return ran{status, out.String(), errs.String()}
}

func TestWhatCommandsSayOfThemselves(t *testing.T) {
	for _, row := range []struct {
		args   string
		status int
		says   string
	}{
		{"--version", exitOK, "tokensvc dev\n"},
		{"version", exitOK, "tokensvc dev\n"},
		{"version -h", exitOK, "usage: tokensvc version\n"},
		{"version 2", exitUsage, "takes no arguments"},
		{"help", exitOK, "healthcheck"},
		{"help serve", exitOK, "usage: tokensvc serve [-config tokensvc.yaml]\n"},
		{"serve -h", exitOK, "usage: tokensvc serve [-config tokensvc.yaml]\n"},
		{"help dev", exitOK, "tokensvc dev token [-issuer URL] NAME"},
		{"dev token -h", exitOK, "usage: tokensvc dev token [-issuer URL] NAME\n"},
		{"help healthcheck", exitOK, "usage: tokensvc healthcheck [-config tokensvc.yaml]"},
		{"help nothing", exitUsage, "there is no command of that name"},
		{"", exitUsage, "serve"},
		{"serve tokensvc.yaml", exitUsage, "a configuration file is named by -config FILE"},
		{"dev tokens", exitUsage, "tokensvc dev token NAME"},
	} {
		got := ranWith(t, nil, strings.Fields(row.args)...)
		if said := got.out + got.err; got.status != row.status || !strings.Contains(said, row.says) {
			t.Errorf("tokensvc %s: status %d, %q, want %d and %q", row.args, got.status, said, row.status, row.says)
		}
	}
}

func TestHealthcheck(t *testing.T) {
	answering := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/readyz" {
				status = http.StatusNotFound
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	ready := answering(http.StatusOK, "all is well")
	_, port, _ := net.SplitHostPort(ready)
	unready := answering(http.StatusServiceUnavailable, "no keys")
	nobody := freeAddress(t)
	file := configFile(t, "ops_listen: "+unready+"\n")
	wrong := configFile(t, "ops_listen: 9090\n")
	for _, row := range []struct {
		what    string
		environ []string
		args    []string
		status  int
		says    string
	}{
		{"ready", nil, []string{"-ops-listen", ready}, exitOK, "all is well\n"},
		{"not ready", nil, []string{"-ops-listen", unready}, exitFailed, "no keys\nnot ready\n"},
		{"nobody there", nil, []string{"-ops-listen", nobody}, exitFailed, "nobody listens at " + nobody + "\n"},
		{"the variable", []string{"TOKENSVC_OPS_LISTEN=" + ready}, nil, exitOK, "all is well"},
		{"every address, put shortly", []string{"TOKENSVC_OPS_LISTEN=:" + port}, nil, exitOK, "all is well"},
		{"every address", []string{"TOKENSVC_OPS_LISTEN=0.0.0.0:" + port}, nil, exitOK, "all is well"},
		{"every address, version 6", []string{"TOKENSVC_OPS_LISTEN=[::]:" + port}, nil, exitOK, "all is well"},
		{"the service's file", nil, []string{"-config", file}, exitFailed, "no keys"},
		{"the variable before the file", []string{"TOKENSVC_OPS_LISTEN=" + ready}, []string{"-config", file}, exitOK, "all is well"},
		{"the flag before both", []string{"TOKENSVC_OPS_LISTEN=" + unready}, []string{"-config", file, "-ops-listen", ready}, exitOK, "all is well"},
		{"a bad address", nil, []string{"-ops-listen", "9090"}, exitUsage, "-ops-listen must be host:port"},
		{"a bad variable", []string{"TOKENSVC_OPS_LISTEN=9090"}, nil, exitUsage, "TOKENSVC_OPS_LISTEN: must be host:port"},
		{"a bad file", nil, []string{"-config", wrong}, exitUsage, "tokensvc.yaml:1: ops_listen: has the wrong type"},
		{"no file", nil, []string{"-config", filepath.Join(t.TempDir(), "none.yaml")}, exitUsage, "there is no such file"},
		{"an argument", nil, []string{ready}, exitUsage, "takes no arguments"},
	} {
		got := ranWith(t, row.environ, append([]string{"healthcheck"}, row.args...)...)
		if said := got.out + got.err; got.status != row.status || !strings.Contains(said, row.says) {
			t.Errorf("%s: status %d, %q, want %d and %q", row.what, got.status, said, row.status, row.says)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Why an address cannot be listened on is said without the address, which may be
// something else in its place.
func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, want := range map[string]string{
		taken.Addr().String():        "the address is taken",
		"192.0.2.1:0":                "the address is not one of this machine's",
		"key0canary9secret.test.:80": "the host's name cannot be looked up",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := listenOn(ctx, address)
		cancel()
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", address, err, want)
		}
	}
}

// However many call, no more connections are open than are allowed.
func TestConnectionsAreLimited(t *testing.T) {
	const limit, callers = 3, 20
	l, err := listenOn(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = atMost(l, limit)
	var inside, most atomic.Int32
	var filled sync.Once
	full, release := make(chan struct{}), make(chan struct{})
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		now := inside.Add(1)
		for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		if now == limit {
			filled.Do(func() { close(full) })
		}
		<-release
		inside.Add(-1)
	})}
	go server.Serve(l) // until it is closed
	defer server.Close()
	answered := make(chan error, callers)
	for range callers {
		go func() {
			_, _, err := get(t.Context(), "http://"+l.Addr().String(), nil)
			answered <- err
		}()
	}
	<-full // and the others are on their way
	close(release)
	for range callers {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n > limit {
		t.Errorf("%d connections were open at once, want at most %d", n, limit)
	}
}
