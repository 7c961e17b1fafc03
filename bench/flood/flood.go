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

// trusted names proxies elsewhere, so that whoever comes from this machine is a client,
// whose refusals are bounded.
const trusted = "TOKENSVC_TRUSTED_PROXIES=192.0.2.0/24"

// Where the two come from.
var (
	validAddress  = netip.MustParseAddr("127.0.0.2")
	forgerAddress = netip.MustParseAddr("127.0.0.3")
)

// keyInterval is how often the issuer may be asked for its keys.
const keyInterval = 30 * time.Second

// flood is one run.
type flood struct {
	rounds      int
	lasting     time.Duration
	connections int
	rate        float64

	lab      *lab.Lab
	upstream *lab.Upstream
	service  *lab.Server
	user     lab.User
}

// phase is what the valid user noticed while bearers of a kind were sent, in each
// round.
type phase struct {
	kind       string
	quiet, p50 []time.Duration // p99 just before; and during the flood
	p99        []time.Duration
	worse      []float64 // the p99 against that just before
	sent       string    // how many forged bearers were answered in the last round, and how
	fetches    int       // of keys
}

func (f *flood) run(ctx context.Context) (err error) {
	if f.lab, err = lab.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.lab.Close()) }()
	if err := f.start(ctx); err != nil {
		return err
	}
	if _, err := f.valid(ctx, time.Second); err != nil { // with which everything is warm
		return err
	}
	began := time.Now()
	phases := make([]phase, len(kinds))
	for range f.rounds {
		for i, kind := range kinds {
			phases[i].kind = kind
			if err := f.round(ctx, &phases[i]); err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
		}
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
	f.service, err = f.lab.Service(ctx, "tokensvc", binary, f.upstream, users, trusted)
	return err
}

// round has the valid user ask on a quiet service, and then during a flood.
func (f *flood) round(ctx context.Context, p *phase) error {
	before, err := f.valid(ctx, f.lasting)
	if err != nil {
		return err
	}
	counted, err := f.upstream.Counts(ctx)
	if err != nil {
		return err
	}
	forger, err := f.startForger(ctx, p.kind)
	if err != nil {
		return err
	}
	during, err := f.valid(ctx, f.lasting)
	if p.sent, err = forger.end(err); err != nil {
		return err
	}
	quiet, p99 := before.Quantile(0.99), during.Quantile(0.99)
	p.quiet, p.p99 = append(p.quiet, quiet), append(p.p99, p99)
	p.p50 = append(p.p50, during.Quantile(0.50))
	p.worse = append(p.worse, float64(p99)/float64(quiet))
	counts, err := f.upstream.Counts(ctx)
	p.fetches += counts.KeyFetches - counted.KeyFetches
	return err
}

// valid is the valid user, asking at a steady rate. Every answer must be a token.
func (f *flood) valid(ctx context.Context, lasting time.Duration) (*load.Result, error) {
	return load.Open(ctx, load.Plan{
		Address: f.service.Address, From: validAddress, Connections: 8,
		Requests: [][]byte{load.Post(f.service.Address, "/v1/token", f.user.Bearer, "")},
	}, f.rate, lasting)
}

func (f *flood) print(w io.Writer, phases []phase, took time.Duration) {
	worst, fetches := 0.0, 0
	fmt.Fprintln(w, "| forged bearers | how many were answered | the valid user's p50 | p99 | p99 just before | key fetches |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, p := range phases {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %d |\n", p.kind, p.sent,
			lab.Brief(lab.Median(p.p50)), lab.Brief(lab.Median(p.p99)), lab.Brief(lab.Median(p.quiet)), p.fetches)
		worst, fetches = max(worst, lab.Median(p.worse)), fetches+p.fetches
	}
	fmt.Fprintln(w)
	lab.PrintChecks(w, []lab.Check{
		lab.AtMost("the valid user's p99 against that just before, of the worst kind", worst, 5, "×"),
		lab.AtMost(fmt.Sprintf("key fetches at the issuer in %.0f s", took.Seconds()), float64(fetches), math.Ceil(took.Seconds()/keyInterval.Seconds()), ""),
	})
}
