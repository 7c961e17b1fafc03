package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

const healthTimeout = 3 * time.Second

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
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := ask(ctx, "http://"+net.JoinHostPort(host, port)+"/readyz"); err != nil {
		say(t.err, "not ready: %v\n", err)
		return exitFailed
	}
	say(t.out, "ready\n")
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

// statusError is an answer that is not 200.
type statusError string

func (e statusError) Error() string { return "answered " + string(e) }

func ask(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if res.StatusCode != http.StatusOK {
		return statusError(res.Status)
	}
	return nil
}
