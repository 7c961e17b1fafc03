package reliability_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

// instance is a running `tokensvc serve` whose numbers are read.
type instance struct {
	*process.Process

	ops *http.Client // a connection for each request, so that none is left to count
}

// startInstance runs the binary with these variables and nothing else, behind the
// words of another program if there are any, and returns when it is ready.
func startInstance(t *testing.T, program string, env map[string]string, behind ...string) *instance {
	t.Helper()
	p := &instance{
		Process: process.Command{Binary: program, Env: env, Behind: behind}.Launch(t),
		ops:     &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	p.AwaitReady(t)
	return p
}

// get returns the status of an answer of the ops listener's, 0 for none.
func (p *instance) get(path string) int {
	res, err := p.askOps(path)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func (p *instance) askOps(path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.Ops+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	return p.ops.Do(req)
}

// footprint is what a process holds.
type footprint struct {
	goroutines, descriptors int
	rss, own, peak          int // MiB: now, without pages of files, and at most
}

func (p *instance) footprint() (f footprint, err error) {
	if f.descriptors, err = p.descriptors(); err != nil {
		return f, err
	}
	goroutines, err := p.metric("go_goroutines")
	if err != nil {
		return f, err
	}
	f.goroutines = int(goroutines)
	status, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return f, err
	}
	f.rss, f.own, f.peak = mebibytes(status, "VmRSS:"), mebibytes(status, "RssAnon:"), mebibytes(status, "VmHWM:")
	return f, nil
}

func (p *instance) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.Pid(), name)
}

func (p *instance) descriptors() (int, error) {
	entries, err := os.ReadDir(p.proc("fd"))
	return len(entries), err
}

// mebibytes reads a line of /proc/PID/status, such as "VmRSS:  1234 kB".
func mebibytes(status []byte, name string) int {
	_, rest, _ := bytes.Cut(status, []byte(name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(string(fields[0]))
	return kib >> 10
}

// metric returns the value of a series of /metrics.
func (p *instance) metric(series string) (float64, error) {
	found, err := p.metrics(series + " ")
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("there is no %s in /metrics", series)
	}
	if err != nil {
		return 0, err
	}
	return found[0], nil
}

// total returns the sum of a metric over all series that have a label, which may
// be none.
func (p *instance) total(metric, label string) (sum float64, err error) {
	found, err := p.metrics(metric+"{", label)
	for _, value := range found {
		sum += value
	}
	return sum, err
}

// metrics returns the values of the series that begin with a text and contain others.
func (p *instance) metrics(begins string, contain ...string) (values []float64, err error) {
	res, err := p.askOps("/metrics")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, begins) || slices.ContainsFunc(contain, func(c string) bool { return !strings.Contains(line, c) }) {
			continue
		}
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, lines.Err()
}
