// Command flood sends forged bearers as fast as it can, while somebody asks for
// tokens: it measures what that one notices, and how often the issuer is asked for
// its keys. It prints Markdown.
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
	var f flood
	flag.IntVar(&f.rounds, "rounds", 3, "how often")
	flag.DurationVar(&f.lasting, "time", 5*time.Second, "for how long each kind of bearer is sent, and none")
	flag.IntVar(&f.connections, "connections", 64, "on how many connections")
	flag.Float64Var(&f.rate, "rate", 200, "how many `tokens` a second the valid user asks for")
	forger := flag.String("forger", "", "used by itself: send to this `address`")
	kind := flag.String("kind", "", "used by itself: of this `kind`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := f.run
	if *forger != "" {
		run = func(ctx context.Context) error { return f.forge(ctx, *forger, *kind) }
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/flood:", err)
		os.Exit(1)
	}
}
