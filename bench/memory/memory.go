package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

const (
	starts      = 7
	idle        = 5 * time.Second // until what was only needed to start is given back
	connections = 64
	devices     = 100  // of each user, where few users have all tokens
	asked       = 2000 // users who ask again, to see that their tokens are kept
	mebibyte    = 1 << 20
	tokenPath   = "/v1/token"
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
	binary int64
	ready  time.Duration
	idle   int64 // of a service with one user
	tokens filled
	people filled
}

// filled is what was measured of a service before and after it had handed out so
// many tokens.
type filled struct {
	before, after int64
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
	if f.tokens, err = m.fewPeople(ctx, users); err != nil {
		return err
	}
	if f.people, err = m.manyPeople(ctx, users); err != nil {
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

// manyPeople has everybody ask once. A token is kept for each of them, and besides
// it who they are and how often they have asked.
func (m *memory) manyPeople(ctx context.Context, users []lab.User) (filled, error) {
	service, err := m.lab.Service(ctx, "tokensvc-people", m.binary, m.upstream, users)
	if err != nil {
		return filled{}, err
	}
	requests := make([][]byte, len(users))
	for i, u := range users {
		requests[i] = load.Post(service.Address, tokenPath, u.Bearer, "")
	}
	return m.fill(ctx, service, requests)
}

// fewPeople has as many tokens kept for few people with many devices each, so that it
// is the tokens that are measured.
func (m *memory) fewPeople(ctx context.Context, users []lab.User) (filled, error) {
	var list strings.Builder
	list.WriteString("users:\n")
	people := len(users) / devices
	for i := range people {
		fmt.Fprintf(&list, "  %s: {", users[i].Name)
		for d := range devices {
			fmt.Fprintf(&list, "%s: %s, ", deviceOf(d), users[i*devices+d].Credential)
		}
		list.WriteString("}\n")
	}
	path, err := m.lab.Write("devices.yaml", []byte(list.String()))
	if err != nil {
		return filled{}, err
	}
	service, err := m.lab.Service(ctx, "tokensvc-tokens", m.binary, m.upstream, nil, "TOKENSVC_DIRECTORY=file:"+path)
	if err != nil {
		return filled{}, err
	}
	var requests [][]byte
	for d := range devices {
		for i := range people {
			requests = append(requests, load.Post(service.Address, tokenPath, users[i].Bearer, `{"device":"`+deviceOf(d)+`"}`))
		}
	}
	return m.fill(ctx, service, requests)
}

func deviceOf(n int) string { return fmt.Sprintf("desk-%d", n) }

// fill makes all requests once, and some of them once more.
func (m *memory) fill(ctx context.Context, service *lab.Server, requests [][]byte) (f filled, err error) {
	if err := lab.Sleep(ctx, idle); err != nil {
		return f, err
	}
	if f.before, _, err = service.Memory(); err != nil {
		return f, err
	}
	if f.mints, err = m.ask(ctx, service, requests); err != nil {
		return f, err
	}
	if f.after, _, err = service.Memory(); err != nil {
		return f, err
	}
	//nolint:gosec // chance is all that is wanted
	rand.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	f.again, err = m.ask(ctx, service, requests[:min(asked, len(requests))])
	return f, errors.Join(err, service.Stop())
}

// ask makes each of these requests once, and returns how many mints that took.
func (m *memory) ask(ctx context.Context, service *lab.Server, requests [][]byte) (int, error) {
	before, err := m.upstream.Counts(ctx)
	if err != nil {
		return 0, err
	}
	plan := load.Plan{Address: service.Address, Connections: connections, Requests: requests}
	if _, err := load.Once(ctx, plan); err != nil {
		return 0, err
	}
	after, err := m.upstream.Counts(ctx)
	return after.Mints - before.Mints, err
}

func (m *memory) print(w io.Writer, f found) {
	said := func(whose string, f filled) {
		fmt.Fprintf(w, "- %s: %d MiB before, %d MiB after; %d mints, and %d when some were asked for again.\n",
			whose, f.before/mebibyte, f.after/mebibyte, f.mints, f.again)
	}
	said(fmt.Sprintf("%d tokens, %d for each of some users", m.users, devices), f.tokens)
	said(fmt.Sprintf("%d users with a token each", m.users), f.people)
	fmt.Fprintln(w)
	added := func(f filled) float64 { return float64(f.after-f.before) / mebibyte }
	size := float64(f.binary) / mebibyte
	lab.PrintChecks(w, []lab.Check{
		lab.AtMost("memory of an idle service", float64(f.idle)/mebibyte, 40, "MiB"),
		lab.AtMost(fmt.Sprintf("memory that %d cached tokens add", f.tokens.mints), added(f.tokens), 150, "MiB"),
		lab.Seen(fmt.Sprintf("memory that %d users with a token add", m.users), added(f.people), "MiB"),
		lab.AtMost("mints for who has a token", float64(f.tokens.again+f.people.again), 0, ""),
		lab.AtMost("from start to ready", float64(f.ready)/float64(time.Millisecond), 300, "ms"),
		lab.AtMost("size of the binary, against what is promised", size*mebibyte/1e6, 35, "MB"),
		lab.AtMost("size of the binary, against our own budget", size, 26, "MiB"),
	})
}
