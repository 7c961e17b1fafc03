// Command storm has everybody log in at nine in the morning: 10,000 users within
// 10 s, at a Telnyx that takes 50 ms for a token and hands out 300 a second. Who is
// told to come back does, when told to. It prints Markdown, and plots how it went.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var s storm
	flag.IntVar(&s.users, "users", 10_000, "how `many` log in")
	flag.DurationVar(&s.within, "within", 10*time.Second, "in what time they come")
	flag.IntVar(&s.limit, "limit", 300, "`requests` that Telnyx serves in a second")
	flag.DurationVar(&s.latency, "latency", 50*time.Millisecond, "how long Telnyx takes for an answer")
	flag.IntVar(&s.replicas, "replicas", 1, "how many `replicas` there are; several share a Redis")
	flag.BoolVar(&s.postgres, "postgres", false, "have a PostgreSQL for a directory instead of a users file")
	flag.StringVar(&s.plot, "plot", "bin/storm.svg", "`file` for the plot; none if empty")
	flag.StringVar(&s.targets, "targets", "", "`file` by which a Prometheus finds the replicas (file_sd); they then run some seconds longer before and after")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/storm:", err)
		os.Exit(1)
	}
}
