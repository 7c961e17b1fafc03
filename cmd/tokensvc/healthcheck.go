package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
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
	flags := newFlags("healthcheck", t, "[-config tokensvc.yaml] [-ops-listen ADDRESS]",
		"Asks the service on this machine whether it is ready: status 0 if it is, else 1.\nThe address is the service's own ops_listen: give it the same variables and file.")
	path := flags.String("config", "", "`file` that the service is configured by")
	address := flags.String("ops-listen", "", "the service's ops `address`, whatever its configuration says; without one, default "+defaultOpsListen)
	if status, ok := parse(flags, args); !ok {
		return status
	}
	if flaw := flawOf(asAddress(new(string)), *address); *address != "" && flaw != "" {
		say(t.err, "-ops-listen %s\n", flaw)
		return exitUsage
	}
	if *address == "" {
		ours, problems := opsListen(*path, t.environ)
		if len(problems) > 0 {
			sayError(t.err, joined(problems))
			return exitUsage
		}
		*address = ours
	}
	return askReady(ctx, t, dialable(*address))
}

func askReady(ctx context.Context, t terminal, address string) int {
	status, body, err := get(ctx, "http://"+address+"/readyz")
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		say(t.err, "nobody listens at %s\n", address)
		return exitFailed
	case err != nil:
		say(t.err, "not ready: %v\n", err)
		return exitFailed
	}
	say(t.out, "%s\n", oneLine(body))
	if status != http.StatusOK {
		say(t.err, "not ready\n")
		return exitFailed
	}
	return exitOK
}

// opsListen is where a service listens that is configured so. What else is wrong
// with its configuration is its own affair.
func opsListen(path string, environ []string) (string, []Problem) {
	l := newConfigLoader(path)
	l.load(environ)
	l.findings = slices.DeleteFunc(l.findings, func(f configFinding) bool {
		return f.key != "" && (f.key != "ops_listen" || !l.broken["ops_listen"]) // a clash with listen is not broken
	})
	return l.config.OpsListen, l.problems()
}

// dialable is where to reach somebody who listens on the address: whoever
// listens everywhere does so here too.
func dialable(address string) string {
	host, port, _ := net.SplitHostPort(address)
	if isAnyHost(host) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// get asks a process on this machine, and returns a short answer.
func get(ctx context.Context, address string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // who answers here is asked, and nobody else
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(io.LimitReader(res.Body, askBytes))
	return res.StatusCode, strings.TrimSpace(string(content)), err
}
