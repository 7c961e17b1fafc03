// Command scale counts what logins cost everything that replicas share: calls of
// Telnyx, commands of Redis, statements of PostgreSQL, and processor time; and what
// replicas cost that have nothing to do. From these slopes docs/scale.md plans. It
// prints Markdown.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	var b bench
	replicas := flag.String("replicas", "1,2,4", "how many `replicas`, one after the other")
	flag.IntVar(&b.users, "users", 1000, "how `many` log in each time")
	flag.DurationVar(&b.idle, "idle", 10*time.Second, "for how long replicas are watched that have nothing to do")
	flag.StringVar(&b.binary, "binary", "", "`path` of another tokensvc to measure; default: it is built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if b.replicas, err = numbers(*replicas); err == nil {
		err = b.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/scale:", err)
		os.Exit(1)
	}
}

// numbers reads a list of numbers that are 1 or more.
func numbers(list string) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, errors.New("-replicas must be numbers, separated by commas")
		}
		all = append(all, n)
	}
	return all, nil
}
