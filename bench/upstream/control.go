package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// nameOf and credentialOf are those of user n.
func nameOf(n int) string       { return fmt.Sprintf("user-%06d", n) }
func credentialOf(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n) }

// control answers what a benchmark asks about the two.
type control struct {
	telnyx *telnyxtest.Server
	issuer *oidctest.Issuer
	users  int
}

// serveControl returns the address at which it is served, until the process ends.
func serveControl(c *control) (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", c.counts)
	mux.HandleFunc("GET /users", c.list)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener) //nolint:errcheck // ends with the process
	return "http://" + listener.Addr().String(), nil
}

// counts says what has come in so far.
func (c *control) counts(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(map[string]int{ // who went away needs no answer
		"mints":       c.telnyx.Requests(telnyxtest.Token),
		"lists":       c.telnyx.Requests(telnyxtest.List),
		"creates":     c.telnyx.Requests(telnyxtest.Create),
		"limited":     c.telnyx.Limited(),
		"connections": c.telnyx.Connections(),
		"key_fetches": c.issuer.KeyFetches(),
	})
}

// list writes the first users, one a line: name, credential and a new bearer.
func (c *control) list(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.URL.Query().Get("count"))
	if err != nil || count < 1 || count > c.users {
		http.Error(w, "count must be from 1 to the number of users", http.StatusBadRequest)
		return
	}
	out := bufio.NewWriter(w)
	for n, bearer := range c.bearers(count) {
		fmt.Fprintln(out, nameOf(n), credentialOf(n), bearer)
	}
	_ = out.Flush() // likewise
}

// bearers signs on all processors: with RSA it takes a millisecond each.
func (c *control) bearers(count int) []string {
	all := make([]string, count)
	var next atomic.Int64
	var signing sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		signing.Go(func() {
			for n := int(next.Add(1)) - 1; n < count; n = int(next.Add(1)) - 1 {
				all[n] = c.issuer.Bearer(nameOf(n), nil)
			}
		})
	}
	signing.Wait()
	return all
}
