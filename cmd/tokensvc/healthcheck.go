package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bounds of a question to a process on this machine.
const (
	askTimeout = 3 * time.Second
	askBytes   = 64 << 10
)

// healthcheck is `tokensvc healthcheck`: status 0 if the service at the ops
// address is ready. An image made from scratch has no curl to ask with.
func healthcheck(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("healthcheck", t)
	address := flags.String("ops-listen", opsListen(t.environ), "the service's ops `address`")
	if status, ok := parse(flags, args); !ok {
		return status
	}
	host, port, err := net.SplitHostPort(*address)
	if err != nil {
		say(t.err, "the ops address must be host:port\n")
		return exitUsage
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // it listens everywhere, here included
	}
	status, body, err := get(ctx, "http://"+net.JoinHostPort(host, port)+"/readyz")
	if err != nil {
		say(t.err, "not ready: %v\n", err)
		return exitFailed
	}
	say(t.out, "%s\n", body)
	if status != http.StatusOK {
		return exitFailed
	}
	return exitOK
}

// opsListen is where a service with this environment listens.
func opsListen(environ []string) string {
	address := "127.0.0.1:9090"
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, "TOKENSVC_OPS_LISTEN="); ok && value != "" {
			address = value
		}
	}
	return address
}

// get asks a process on this machine, and returns a short answer.
func get(ctx context.Context, address string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(io.LimitReader(res.Body, askBytes))
	return res.StatusCode, strings.TrimSpace(string(content)), err
}
