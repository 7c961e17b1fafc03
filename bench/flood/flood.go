package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

// Where the two come from.
var (
	validAddress  = netip.MustParseAddr("127.0.0.2")
	forgerAddress = netip.MustParseAddr("127.0.0.3")
)

// keyInterval is how often the issuer may be asked for its keys.
const keyInterval = 30 * time.Second

// flood is one run.
type flood struct {
	lasting     time.Duration
	connections int
	rate        float64

	lab      *lab.Lab
	upstream *lab.Upstream
	service  *lab.Server
	user     lab.User
}

// phase is what the valid user noticed while bearers of a kind were sent.
type phase struct {
	kind     string
	quiet    time.Duration // p99, just before
	p50, p99 time.Duration
	sent     string // how many forged bearers were answered, and how
	fetches  int    // of keys
}

func (f *flood) run(ctx context.Context) (err error) {
	if f.lab, err = lab.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.lab.Close()) }()
	if err := f.start(ctx); err != nil {
		return err
	}
	began := time.Now()
	var phases []phase
	for _, kind := range kinds {
		p, err := f.phase(ctx, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		phases = append(phases, p)
	}
	lab.PrintMachine(ctx, os.Stdout)
	f.print(os.Stdout, phases, time.Since(began))
	return nil
}

func (f *flood) start(ctx context.Context) error {
	binary, err := f.lab.Tokensvc(ctx)
	if err != nil {
		return err
	}
	if f.upstream, err = f.lab.Upstream(ctx, lab.UpstreamOptions{Users: 1, Algorithm: "RS256"}); err != nil {
		return err
	}
	users, err := f.upstream.Users(ctx, 1)
	if err != nil {
		return err
	}
	f.user = users[0]
	f.service, err = f.lab.Service(ctx, "tokensvc", binary, f.upstream, users)
	return err
}

// phase has the valid user ask on a quiet service, and then during a flood.
func (f *flood) phase(ctx context.Context, kind string) (p phase, err error) {
	p.kind = kind
	quiet, err := f.valid(ctx, f.lasting)
	if err != nil {
		return p, err
	}
	p.quiet = quiet.Quantile(0.99)
	before, err := f.upstream.Counts(ctx)
	if err != nil {
		return p, err
	}
	forger, err := f.startForger(ctx, kind)
	if err != nil {
		return p, err
	}
	during, err := f.valid(ctx, f.lasting)
	if p.sent, err = forger.end(err); err != nil {
		return p, err
	}
	p.p50, p.p99 = during.Quantile(0.50), during.Quantile(0.99)
	after, err := f.upstream.Counts(ctx)
	p.fetches = after.KeyFetches - before.KeyFetches
	return p, err
}

// valid is the valid user, asking at a steady rate. Every answer must be a token.
func (f *flood) valid(ctx context.Context, lasting time.Duration) (*load.Result, error) {
	return load.Open(ctx, load.Plan{
		Address: f.service.Address, From: validAddress, Connections: 8,
		Requests: [][]byte{load.Post(f.service.Address, "/v1/token", f.user.Bearer)},
	}, f.rate, lasting)
}

func (f *flood) print(w io.Writer, phases []phase, took time.Duration) {
	var quiet []time.Duration
	var worst time.Duration
	fetches := 0
	fmt.Fprintln(w, "| forged bearers | how many were answered | the valid user's p50 | p99 | p99 just before | key fetches |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, p := range phases {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %d |\n", p.kind, p.sent, lab.Brief(p.p50), lab.Brief(p.p99), lab.Brief(p.quiet), p.fetches)
		quiet, worst, fetches = append(quiet, p.quiet), max(worst, p.p99), fetches+p.fetches
	}
	fmt.Fprintln(w)
	lab.PrintChecks(w, []lab.Check{
		lab.AtMost("the valid user's worst p99, against the median of the quiet ones", float64(worst)/float64(lab.Median(quiet)), 5, "×"),
		lab.AtMost(fmt.Sprintf("key fetches at the issuer in %.0f s", took.Seconds()), float64(fetches), math.Ceil(took.Seconds()/keyInterval.Seconds()), ""),
	})
}
