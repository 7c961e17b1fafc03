package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

const (
	regulars   = 256 // users whose bearers were seen before: enough that none meets the bounds of a rate
	warmUp     = 500 * time.Millisecond
	tokenPath  = "/v1/token"
	tokenBytes = 905 // in the body of an answer of ours
)

// bench is one run.
type bench struct {
	rounds, connections, logins int
	lasting                     time.Duration
	plot                        string

	lab      *lab.Lab
	binary   string
	upstream *lab.Upstream
	users    []lab.User
}

func (b *bench) run(ctx context.Context) (err error) {
	if b.lab, err = lab.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	all, err := b.start(ctx)
	if err != nil {
		return err
	}
	alone, err := b.upstreamAlone(ctx)
	if err != nil {
		return err
	}
	for range b.rounds {
		for _, c := range all.list() {
			if err := b.measure(ctx, c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if err := b.measureFirst(ctx, all.first); err != nil {
			return fmt.Errorf("%s: %w", all.first.name, err)
		}
	}
	added, err := b.added(ctx, all.minting)
	if err != nil {
		return err
	}
	lab.PrintMachine(ctx, os.Stdout)
	printTable(os.Stdout, append(all.list(), all.first))
	fmt.Fprintf(os.Stdout, "\nThe fake Telnyx alone answers %.0f requests a second.\n\n", alone)
	lab.PrintChecks(os.Stdout, all.checks(b.connections, added))
	return b.latency(ctx, all.cached)
}

// contenders are the servers that are compared.
type contenders struct {
	bare, handGo, handNode, cached, minting, first *contender
}

// list is without the first logins, which are measured in another way.
func (c *contenders) list() []*contender {
	return []*contender{c.bare, c.handGo, c.handNode, c.cached, c.minting}
}

// start builds and starts all but the service of the first logins, which is another
// one every time.
func (b *bench) start(ctx context.Context) (all *contenders, err error) {
	if b.binary, err = b.lab.Tokensvc(ctx); err != nil {
		return nil, err
	}
	b.upstream, err = b.lab.Upstream(ctx, lab.UpstreamOptions{Users: max(b.logins, regulars), Algorithm: "RS256"})
	if err != nil {
		return nil, err
	}
	if b.users, err = b.upstream.Users(ctx, max(b.logins, regulars)); err != nil {
		return nil, err
	}
	all = &contenders{
		bare:     &contender{name: "net/http that answers the same bytes"},
		handGo:   &contender{name: "hand-written Go, minting each time"},
		handNode: &contender{name: "hand-written Node, minting each time"},
		cached:   &contender{name: "tokensvc, from the cache"},
		minting:  &contender{name: "tokensvc without a cache, minting each time"},
		first:    &contender{name: "tokensvc, first logins"},
	}
	known := b.users[:regulars]
	var errs [5]error
	all.bare.server, errs[0] = b.lab.Bare(ctx, tokenBytes)
	all.handGo.server, errs[1] = b.lab.HandwrittenGo(ctx, b.upstream, known)
	all.handNode.server, errs[2] = b.lab.HandwrittenNode(ctx, b.upstream, known)
	all.cached.server, errs[3] = b.lab.Service(ctx, "tokensvc-cached", b.binary, b.upstream, known)
	all.minting.server, errs[4] = b.lab.Service(ctx, "tokensvc-minting", b.binary, b.upstream, known, "TOKENSVC_CACHE=none")
	return all, errors.Join(errs[:]...)
}

// plan asks a server for tokens of these users.
func (b *bench) plan(address string, users []lab.User) load.Plan {
	p := load.Plan{Address: address, Connections: b.connections}
	for _, u := range users {
		p.Requests = append(p.Requests, load.Post(address, tokenPath, u.Bearer, ""))
	}
	return p
}
