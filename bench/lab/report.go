package lab

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A Check is a figure, and what it should be.
type Check struct {
	name  string
	value float64
	bound string // what it should be; "" if nothing is asked of it
	unit  string
	met   bool
}

// AtLeast wants a figure to be so much or more.
func AtLeast(name string, value, bound float64, unit string) Check {
	return Check{name, value, "at least " + number(bound), unit, value >= bound}
}

// AtMost wants a figure to be so much or less.
func AtMost(name string, value, bound float64, unit string) Check {
	return Check{name, value, "at most " + number(bound), unit, value <= bound}
}

// Seen is a figure of which nothing is asked.
func Seen(name string, value float64, unit string) Check { return Check{name, value, "", unit, true} }

// PrintChecks prints a table of them.
func PrintChecks(w io.Writer, checks []Check) {
	fmt.Fprintln(w, "| | measured | aim | |")
	fmt.Fprintln(w, "|---|---|---|---|")
	for _, c := range checks {
		mark := "✗"
		switch {
		case c.bound == "":
			mark = ""
		case c.met:
			mark = "✓"
		}
		fmt.Fprintf(w, "| %s | %s %s | %s | %s |\n", c.name, number(c.value), c.unit, c.bound, mark)
	}
	fmt.Fprintln(w)
}

// number has three digits that count, or all of a whole number.
func number(v float64) string {
	if v >= 100 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// PrintMachine says where this was measured.
func PrintMachine(ctx context.Context, w io.Writer) {
	node, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		node = []byte("none")
	}
	fmt.Fprintf(w, "On %s, %d cores, %s, Node %s; the load of the machine was %s.\n\n",
		cmp.Or(line("/proc/cpuinfo", "model name"), "an unknown processor"), runtime.NumCPU(), runtime.Version(),
		strings.TrimSpace(string(node)), cmp.Or(line("/proc/loadavg", ""), "unknown"))
}

// line returns the value of the first line of a file that starts so.
func line(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(l, name); ok {
			return strings.Trim(rest, " \t:\n")
		}
	}
	return ""
}

// Brief writes a time as people read it.
func Brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Median is the one in the middle, 0 of none.
func Median[T cmp.Ordered](all []T) (m T) {
	if len(all) == 0 {
		return m
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}

// Host is the host and port of a URL of the upstream's.
func Host(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
