package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

const (
	starts      = 7
	idle        = 5 * time.Second // until what was only needed to start is given back
	connections = 64
	asked       = 2000 // users who ask again, to see that their tokens are kept
	mebibyte    = 1 << 20
)

// memory is one run.
type memory struct {
	users int

	lab      *lab.Lab
	binary   string
	upstream *lab.Upstream
}

// found is what was measured. Memory and sizes are in bytes.
type found struct {
	binary        int64
	ready         time.Duration
	idle          int64 // of a service with one user
	before, after int64 // of one with all of them, and when all have a token
	most          int64
	mints, again  int // mints, of all and of those who asked again
}

func (m *memory) run(ctx context.Context) (err error) {
	if m.lab, err = lab.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.lab.Close()) }()
	if m.binary, err = m.lab.Tokensvc(ctx); err != nil {
		return err
	}
	m.upstream, err = m.lab.Upstream(ctx, lab.UpstreamOptions{Users: m.users, Algorithm: "ES256"})
	if err != nil {
		return err
	}
	users, err := m.upstream.Users(ctx, m.users)
	if err != nil {
		return err
	}
	var f found
	if err := m.small(ctx, users[:1], &f); err != nil {
		return err
	}
	if err := m.large(ctx, users, &f); err != nil {
		return err
	}
	lab.PrintMachine(ctx, os.Stdout)
	m.print(os.Stdout, f)
	return nil
}

// small measures a service that has nothing to do.
func (m *memory) small(ctx context.Context, users []lab.User, f *found) error {
	info, err := os.Stat(m.binary)
	if err != nil {
		return err
	}
	f.binary = info.Size()
	var ready []time.Duration
	var service *lab.Server
	for range starts {
		if service != nil {
			if err := service.Stop(); err != nil {
				return err
			}
		}
		if service, err = m.lab.Service(ctx, "tokensvc-idle", m.binary, m.upstream, users); err != nil {
			return err
		}
		ready = append(ready, service.Ready)
	}
	f.ready = lab.Median(ready)
	if err := lab.Sleep(ctx, idle); err != nil {
		return err
	}
	f.idle, _, err = service.Memory()
	return errors.Join(err, service.Stop())
}

// large has everybody ask once, and some of them once more.
func (m *memory) large(ctx context.Context, users []lab.User, f *found) error {
	service, err := m.lab.Service(ctx, "tokensvc-full", m.binary, m.upstream, users)
	if err != nil {
		return err
	}
	if err := lab.Sleep(ctx, idle); err != nil {
		return err
	}
	if f.before, _, err = service.Memory(); err != nil {
		return err
	}
	if f.mints, err = m.ask(ctx, service, users); err != nil {
		return err
	}
	if f.after, f.most, err = service.Memory(); err != nil {
		return err
	}
	rand.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
	f.again, err = m.ask(ctx, service, users[:min(asked, len(users))])
	return err
}

// ask has each of these users ask once, and returns how many mints that took.
func (m *memory) ask(ctx context.Context, service *lab.Server, users []lab.User) (int, error) {
	plan := load.Plan{Address: service.Address, Connections: connections}
	for _, u := range users {
		plan.Requests = append(plan.Requests, load.Post(service.Address, "/v1/token", u.Bearer))
	}
	before, err := m.upstream.Counts(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := load.Once(ctx, plan); err != nil {
		return 0, err
	}
	after, err := m.upstream.Counts(ctx)
	return after.Mints - before.Mints, err
}

func (m *memory) print(w io.Writer, f found) {
	fmt.Fprintf(w, "%d users: %d MiB when the service has read who they are, %d MiB when each has a token, %d MiB at most.\n",
		m.users, f.before/mebibyte, f.after/mebibyte, f.most/mebibyte)
	fmt.Fprintf(w, "%d mints were made, and %d more when some of them asked again.\n\n", f.mints, f.again)
	size := float64(f.binary) / mebibyte
	lab.PrintChecks(w, []lab.Check{
		lab.AtMost("memory of an idle service", float64(f.idle)/mebibyte, 40, "MiB"),
		lab.AtMost(fmt.Sprintf("memory that %d cached tokens add", m.users), float64(f.after-f.before)/mebibyte, 150, "MiB"),
		lab.AtMost("mints for users who have a token", float64(f.again), 0, ""),
		lab.AtMost("milliseconds from start to ready", float64(f.ready)/float64(time.Millisecond), 300, "ms"),
		lab.AtMost("size of the binary, against what is promised", size*mebibyte/1e6, 35, "MB"),
		lab.AtMost("size of the binary, against our own budget", size, 25, "MiB"),
	})
}
