// Command vend measures what handing out a token costs: how many requests a server
// answers for a second of processor time, beside a handler that does nothing and the
// servers that people write by hand. All of it runs here and now, in turns, so that
// what is compared has met the same machine. It prints Markdown.
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
	var b bench
	flag.IntVar(&b.rounds, "rounds", 5, "how often each is measured")
	flag.DurationVar(&b.lasting, "time", 3*time.Second, "for how long each time")
	flag.IntVar(&b.connections, "connections", 64, "how many requests are under way")
	flag.IntVar(&b.logins, "logins", 10_000, "how many users log in for the first time, each time")
	flag.StringVar(&b.plot, "plot", "bin/latency.svg", "`file` for the plot of latency against load; none if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/vend:", err)
		os.Exit(1)
	}
}
