package main

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
)

// slowUsers log in for the first time over each line.
const slowUsers = 300

// delays are how much longer the way to PostgreSQL and back takes.
var delays = []time.Duration{0, time.Millisecond, 2 * time.Millisecond}

// slowLine measures how many can log in for the first time in a second, all changes of
// the directory being one after the other, when PostgreSQL is further away.
func (b *bench) slowLine(ctx context.Context) error {
	first := b.users * len(b.replicas)
	users, err := b.upstream.Users(ctx, first+slowUsers*len(delays))
	if err != nil {
		return err
	}
	var rates []float64
	for n, delay := range delays {
		from := first + n*slowUsers
		rate, err := b.overLine(ctx, delay, users[from:from+slowUsers])
		if err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	printLine(os.Stdout, rates)
	return nil
}

func (b *bench) overLine(ctx context.Context, delay time.Duration, users []lab.User) (rate float64, err error) {
	address, err := url.Parse(b.books.address)
	if err != nil {
		return 0, err
	}
	line, err := newLine(address.Host, delay)
	if err != nil {
		return 0, err
	}
	defer line.Close()
	address.Host = line.Addr().String()
	if err := b.start(ctx, 1, address.String()); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	plan := load.Plan{Address: b.services[0].Address, Connections: 8 * connections}
	for _, u := range users {
		plan.Requests = append(plan.Requests, load.Post(plan.Address, "/v1/token", u.Bearer, ""))
	}
	result, err := load.Once(ctx, plan)
	if err != nil {
		return 0, err
	}
	return result.Rate(), nil
}

// newLine leads to an address, and takes so long for each way there.
func newLine(to string, delay time.Duration) (net.Listener, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to) //nolint:noctx // likewise
			if err != nil {
				_ = near.Close()
				continue
			}
			go carry(far, near, delay)
			go carry(near, far, 0)
		}
	}()
	return listener, nil
}

// carry carries what comes, until one of the two ends.
func carry(to, from net.Conn, delay time.Duration) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		time.Sleep(delay) //nolint:forbidigo // that is what it is for
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
