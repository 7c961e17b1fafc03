package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
)

// giveUp is when a storm is over for whoever has no token.
const giveUp = 3 * time.Minute

// storm is one run.
type storm struct {
	users, limit, replicas int
	within, latency        time.Duration
	plot, targets          string
	postgres               bool

	lab      *lab.Lab
	upstream *lab.Upstream
	services []*lab.Server
	began    time.Time
}

func (s *storm) run(ctx context.Context) (err error) {
	if s.users < 1 || s.replicas < 1 || s.limit < 1 {
		return errors.New("there must be users, replicas, and something that Telnyx serves")
	}
	if s.lab, err = lab.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	// Bearers are signed in no time with ES256, and verified in about the same.
	s.upstream, err = s.lab.Upstream(ctx, lab.UpstreamOptions{Users: s.users, Algorithm: "ES256", Latency: s.latency, Limit: s.limit})
	if err != nil {
		return err
	}
	users, err := s.upstream.Users(ctx, s.users)
	if err != nil {
		return err
	}
	var directory []string
	if s.postgres {
		server, err := postgreSQL(ctx, users)
		if err != nil {
			return err
		}
		defer func() { _ = server.Close() }() // it was only for this
		directory = []string{"TOKENSVC_DIRECTORY=" + server.URL()}
	}
	if err := s.start(ctx, users, directory); err != nil {
		return err
	}
	if err := s.showTargets(ctx); err != nil {
		return err
	}
	during, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	watched, watching := make(chan []sample, 1), make(chan struct{})
	s.began = time.Now()
	go func() { watched <- s.watch(during, watching) }()
	visits := s.everybody(during, users)
	close(watching)
	samples := <-watched
	counts, err := s.upstream.Counts(ctx)
	if err != nil {
		return err
	}
	if err := s.calm(ctx); err != nil {
		return err
	}
	lab.PrintMachine(ctx, os.Stdout)
	s.print(os.Stdout, visits, counts)
	if err := s.draw(visits, samples); err != nil {
		return err
	}
	return failures(visits)
}

// start builds and starts the replicas, with these variables.
func (s *storm) start(ctx context.Context, users []lab.User, env []string) error {
	binary, err := s.lab.Tokensvc(ctx)
	if err != nil {
		return err
	}
	if s.replicas > 1 {
		shared, err := s.lab.Redis(ctx)
		if err != nil {
			return err
		}
		env = append(env, shared...)
	}
	for n := range s.replicas {
		service, err := s.lab.Service(ctx, fmt.Sprintf("tokensvc-%d", n+1), binary, s.upstream, users, env...)
		if err != nil {
			return err
		}
		s.services = append(s.services, service)
	}
	return nil
}

// everybody comes at a time of their own, and returns when all have left.
func (s *storm) everybody(ctx context.Context, users []lab.User) []*visit {
	chance := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same storm each time
	due := make([]time.Duration, len(users))
	for i := range due {
		due[i] = time.Duration(chance.Float64() * float64(s.within))
	}
	slices.Sort(due)
	visits := make([]*visit, len(users))
	var there sync.WaitGroup
	for i, user := range users {
		visits[i] = &visit{user: user, from: addressOf(i), due: s.began.Add(due[i])}
		there.Go(func() { visits[i].login(ctx, s.services) })
	}
	there.Wait()
	return visits
}

// sample is what had come in at Telnyx by a time.
type sample struct {
	at             time.Duration
	mints, limited int
}

// sampled is as long as the window in which Telnyx counts.
const sampled = time.Second

// watch samples until the storm is over.
func (s *storm) watch(ctx context.Context, over <-chan struct{}) []sample {
	all := []sample{{}}
	tick := time.NewTicker(sampled)
	defer tick.Stop()
	for {
		if c, err := s.upstream.Counts(ctx); err == nil {
			all = append(all, sample{time.Since(s.began), c.Mints, c.Limited})
		}
		select {
		case <-tick.C:
		case <-over:
			return all
		case <-ctx.Done():
			return all
		}
	}
}
