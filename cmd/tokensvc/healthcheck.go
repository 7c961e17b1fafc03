package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"syscall"
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
	service, problems := opsListener(*path, t.environ)
	switch {
	case *address != "":
		service.address = dialable(*address)
	case len(problems) > 0:
		sayError(t.err, joined(problems))
		return exitUsage
	}
	return askReady(ctx, t, service)
}

func askReady(ctx context.Context, t terminal, service neighbour) int {
	address := service.address
	status, body, err := service.get(ctx, "/readyz")
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

// opsListener is the ops listener of a service that is configured so. What else is
// wrong with its configuration is its own affair.
func opsListener(path string, environ []string) (neighbour, []Problem) {
	l := newConfigLoader(path)
	l.load(environ)
	l.findings = slices.DeleteFunc(l.findings, func(f configFinding) bool {
		return f.key != "" && (f.key != "ops_listen" || !l.broken["ops_listen"]) // a clash with listen is not broken
	})
	return neighbour{dialable(l.config.OpsListen), l.config.OpsTLS}, l.problems()
}
