package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/tokensvc/tokensvc/bench/lab"
)

// cache is the Redis that the replicas share.
type cache struct {
	env    []string // with which they do
	client rueidis.Client
}

// work is what a Redis has done so far.
type work struct {
	commands float64 // that replicas have sent; what scripts do in it is not counted
	busy     time.Duration
	bytes    float64 // that came and went
}

func openCache(ctx context.Context, l *lab.Lab) (*cache, error) {
	env, err := l.Redis(ctx)
	if err != nil {
		return nil, err
	}
	address := ""
	for _, variable := range env {
		if value, ok := strings.CutPrefix(variable, "TOKENSVC_CACHE=redis://"); ok {
			address = value
		}
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{address}, DisableCache: true, ForceSingleClient: true,
		Dialer: net.Dialer{KeepAlive: -1}, // or it would send pings, which are counted
	})
	return &cache{env, client}, err
}

// done asks what it has done.
func (c *cache) done(ctx context.Context) (w work, err error) {
	text, err := c.client.Do(ctx, c.client.B().Info().Section("everything").Build()).ToString()
	if err != nil {
		return w, err
	}
	called := make(map[string]float64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if command, ok := strings.CutPrefix(name, "cmdstat_"); ok {
			called[command] = calls(value)
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "used_cpu_user_main_thread", "used_cpu_sys_main_thread":
			w.busy += time.Duration(number * float64(time.Second))
		case "total_net_input_bytes", "total_net_output_bytes":
			w.bytes += number
		}
	}
	w.commands = sent(called)
	return w, nil
}

// sent is how many commands replicas have sent. Redis counts with them what scripts do
// in it: SET among that, which is also sent, as often as TIME, unless the script
// counts calls of Telnyx, and then there is one LLEN.
func sent(called map[string]float64) float64 {
	claims := called["set"] - (called["time"] - called["llen"])
	return called["eval"] + called["evalsha"] + called["getrange"] + called["ping"] + claims
}

// calls is how often a command was called: "calls=7,usec=…".
func calls(value string) float64 {
	text, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return n
}

// empty takes everything out of it.
func (c *cache) empty(ctx context.Context) error {
	return c.client.Do(ctx, c.client.B().Flushall().Build()).Error()
}
