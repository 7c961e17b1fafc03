package main

import (
	"fmt"
	"io"

	"github.com/tokensvc/tokensvc/bench/lab"
)

func printIdle(w io.Writer, all []idle) {
	fmt.Fprintln(w, "Nobody logs in, each second:")
	fmt.Fprintln(w)
	fmt.Fprintln(w, "| replicas | statements of PostgreSQL | commands of Redis | calls of Telnyx | processor time of a replica | connections to PostgreSQL, later |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, i := range all {
		fmt.Fprintf(w, "| %d | %.1f | %.1f | %.1f | %.1f ms | %d |\n", i.replicas, i.second.statements, i.second.commands, i.second.telnyx,
			i.second.service/1000/float64(i.replicas), i.connections)
	}
	fmt.Fprintln(w)
}

func printCosts(w io.Writer, all []cost) {
	fmt.Fprintln(w, "Each login costs, beyond that; processor time in µs:")
	fmt.Fprintln(w)
	fmt.Fprintln(w, "| replicas | login | calls of Telnyx | commands of Redis | bytes to and from it | its time | statements of PostgreSQL | its time | the replicas' time | logins a second here |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|")
	for _, c := range all {
		e := c.each
		fmt.Fprintf(w, "| %d | %s | %.2f | %.2f | %.0f | %.0f | %.2f | %.0f | %.0f | %.0f |\n",
			c.replicas, c.what, e.telnyx, e.commands, e.redisBytes, e.redis, e.statements, e.postgres, e.service, c.rate)
	}
	fmt.Fprintln(w)
}

func printLine(w io.Writer, rates []float64) {
	fmt.Fprintln(w, "First logins a second, many at once, when PostgreSQL is further away:")
	fmt.Fprintln(w)
	fmt.Fprintln(w, "| further by | first logins a second | each after the last |")
	fmt.Fprintln(w, "|---|---|---|")
	for n, rate := range rates {
		fmt.Fprintf(w, "| %s | %.0f | %.1f ms |\n", lab.Brief(delays[n]), rate, 1000/rate)
	}
	fmt.Fprintln(w)
}
