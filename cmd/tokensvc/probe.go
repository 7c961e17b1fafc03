package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// exitExposed is the status of a probe that was not refused where it must be:
// somebody may get tokens who should not, which is worse than nobody getting any.
const exitExposed = 3

// Bounds of one probe's question.
const (
	probeTimeout    = 10 * time.Second
	maxProbeTimeout = time.Minute
	probeBytes      = 64 << 10 // of an answer
)

// probe is `tokensvc probe`: from outside, with one person's bearer, it wants a
// login that works and refusals that hold.
func probe(ctx context.Context, t terminal, args []string) int {
	flags := newFlags("probe", t, "-url URL -bearer-file FILE [-foreign-id ID] [-timeout 10s] [-metrics FILE]",
		"Asks a running service for a token, and for tokens that it must refuse.\n"+
			"Status 0 if all is as it should be, 1 if a login fails or something could not be found out,\n"+
			"3 if something was not refused that must be.")
	address := flags.String("url", "", "the service's `address`, with its base path, as people's phones have it")
	bearerFile := flags.String("bearer-file", "", "`file` with the bearer of somebody who has a credential; it is read at every run")
	foreignID := flags.String("foreign-id", "", "`id` of a credential that exists and is not theirs")
	timeout := flags.Duration("timeout", probeTimeout, "how long each question may take")
	metrics := flags.String("metrics", "", "`file` to replace with the result as metrics, for a textfile collector")
	if status, ok := parse(flags, args); !ok {
		return status
	}
	p, err := newProber(*address, *bearerFile, *foreignID, *timeout)
	if err != nil {
		sayError(t.err, err)
		return exitUsage
	}
	found := p.probe(ctx)
	sayFound(t.out, found)
	if *metrics != "" {
		if err := replaceMetrics(*metrics, found, now()); err != nil {
			say(t.err, "-metrics: the file cannot be written\n")
			return max(statusOf(found), exitFailed)
		}
	}
	return statusOf(found)
}

// prober asks one service with one bearer.
type prober struct {
	base      string
	bearer    secret.Text
	foreignID string
	timeout   time.Duration
	client    *http.Client
}

func newProber(address, bearerFile, foreignID string, timeout time.Duration) (*prober, error) {
	var base string
	if flaw := flawOf(asBaseURL(&base), address); flaw != "" {
		return nil, misused("-url %s", flaw)
	}
	if bearerFile == "" {
		return nil, misused("-bearer-file: name the file with a bearer in it")
	}
	bearer, err := readBearerFile(bearerFile)
	if err != nil {
		return nil, misused("-bearer-file: %w", err)
	}
	if timeout <= 0 || timeout > maxProbeTimeout {
		return nil, misused("-timeout must be more than 0 and at most %v", maxProbeTimeout)
	}
	return &prober{base, bearer, foreignID, timeout, &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the bearer is for who was named
	}}, nil
}

// sayFound prints a line for each of what was found, without anything that came
// over the wire.
func sayFound(w io.Writer, found []finding) {
	for _, f := range found {
		say(w, "%-18s %-8s %s (%v)\n", f.check, f.verdict, f.says, f.took.Round(time.Millisecond))
	}
}

// statusOf is the status to exit with: the worst of what was found.
func statusOf(found []finding) int {
	status := exitOK
	for _, f := range found {
		switch f.verdict {
		case exposed:
			return exitExposed
		case failed:
			status = exitFailed
		}
	}
	return status
}

// probed is an answer of the service.
type probed struct {
	status  int
	outcome string // one of ours, or empty
	body    []byte
}

// String says what was answered in words of ours alone.
func (a probed) String() string {
	if a.outcome == "" {
		return fmt.Sprintf("answered %d, and not as tokensvc does", a.status)
	}
	return fmt.Sprintf("answered %d %s", a.status, a.outcome)
}
