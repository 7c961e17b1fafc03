package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
	"github.com/tokensvc/tokensvc/bench/load"
	"github.com/tokensvc/tokensvc/bench/plot"
)

// print says how it went, and holds it to the aims.
func (s *storm) print(w io.Writer, visits []*visit, c lab.Counts) {
	var took load.Histogram
	var last time.Duration
	var told [4]int // how many users were told to come back so often; the last is that often or more
	var longest time.Duration
	for _, v := range visits {
		if !v.got.IsZero() {
			took.Add(v.got.Sub(v.due))
			last = max(last, v.got.Sub(s.began))
		}
		told[min(len(v.told), len(told)-1)]++
		longest = max(longest, slices.Max(append(v.told, 0)))
	}
	everybody := last.Seconds()
	if int(took.Count()) < len(visits) {
		everybody = math.Inf(1)
	}
	fmt.Fprintf(w, "%d users within %.0f s, %d replica(s); Telnyx takes %s and serves %d a second, so %.0f s is the least.\n\n",
		len(visits), s.within.Seconds(), s.replicas, lab.Brief(s.latency), s.limit, float64(len(visits))/float64(s.limit))
	fmt.Fprintf(w, "- From coming to having a token: half within %s, 99 of 100 within %s.\n",
		lab.Brief(took.Quantile(0.50)), lab.Brief(took.Quantile(0.99)))
	fmt.Fprintf(w, "- Told to come back: never %d, once %d, twice %d, more often %d; after %s at most.\n", told[0], told[1], told[2], told[3], longest)
	fmt.Fprintf(w, "- Calls to Telnyx: %d, of which %d were over its limit; %d connections.\n\n", c.Mints, c.Limited, c.Connections)
	lab.PrintChecks(w, []lab.Check{
		lab.AtMost("seconds until everybody has a token", everybody, 45, "s"),
		lab.AtMost("share of the calls that were over the limit", 100*float64(c.Limited)/float64(max(1, c.Mints)), 1, "%"),
	})
}

// draw plots the storm: who has come and who has been served, and what Telnyx was
// asked for meanwhile.
func (s *storm) draw(visits []*visit, samples []sample) error {
	if s.plot == "" {
		return nil
	}
	var came, served []time.Duration
	for _, v := range visits {
		came = append(came, v.due.Sub(s.began))
		if !v.got.IsZero() {
			served = append(served, v.got.Sub(s.began))
		}
	}
	var mints, limited []plot.Point
	for i := 1; i < len(samples); i++ {
		span := (samples[i].at - samples[i-1].at).Seconds()
		at := (samples[i].at + samples[i-1].at).Seconds() / 2
		if span < sampled.Seconds()/2 { // the last, cut short
			continue
		}
		mints = append(mints, plot.Point{X: at, Y: float64(samples[i].mints-samples[i-1].mints-samples[i].limited+samples[i-1].limited) / span})
		limited = append(limited, plot.Point{X: at, Y: float64(samples[i].limited-samples[i-1].limited) / span})
	}
	return plot.Write(
		s.plot,
		plot.Chart{
			Title: fmt.Sprintf("%s users log in within %.0f s", plot.Number(float64(len(visits))), s.within.Seconds()), X: "seconds", Y: "users",
			Series: []plot.Series{{Name: "have come", Points: curve(came)}, {Name: "have a token", Points: curve(served)}},
		},
		plot.Chart{
			Title: "What Telnyx is asked for meanwhile", X: "seconds", Y: "calls a second",
			Series: []plot.Series{{Name: "served", Points: mints}, {Name: "over the limit", Points: limited}},
			Bound:  float64(s.limit), BoundName: "Telnyx's limit",
		},
	)
}

// curve is how many there have been by every second.
func curve(times []time.Duration) []plot.Point {
	slices.Sort(times)
	points := []plot.Point{{}}
	n := 0
	for at := sampled; n < len(times); at += sampled {
		for n < len(times) && times[n] <= at {
			n++
		}
		points = append(points, plot.Point{X: at.Seconds(), Y: float64(n)})
	}
	return points
}
