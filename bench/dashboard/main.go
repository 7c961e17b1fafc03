// Command dashboard has people log in as bench/storm does, with a Prometheus that
// watches, and draws the panels of deploy/grafana/dashboard.json from what that has
// then. It is not Grafana: it asks the dashboard's own queries, and knows only as much
// of how panels look as the dashboard needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var r run
	flag.StringVar(&r.picture, "picture", "docs/img/dashboard.png", "`file` for the picture")
	flag.IntVar(&r.replicas, "replicas", 2, "how many `replicas` there are")
	flag.BoolVar(&r.postgres, "postgres", true, "have a PostgreSQL for a directory instead of a users file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := r.all(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/dashboard:", err)
		os.Exit(1)
	}
}
