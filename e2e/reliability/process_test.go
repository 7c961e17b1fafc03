package reliability_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit    = 30 * time.Second // from exec to ready, on a machine that is busy with other rows
	shutdownLimit = 20 * time.Second // from SIGTERM to the end
)

// process is a running `tokensvc serve`.
type process struct {
	URL, OpsURL string

	cmd    *exec.Cmd
	log    string // path
	exited chan error
	ops    *http.Client // a connection for each request, so that none is left to count
}

// startProcess runs the binary with these variables and nothing else, behind the
// words of another program if there are any, and returns when it is ready.
func startProcess(t *testing.T, program string, env map[string]string, behind ...string) *process {
	t.Helper()
	p := &process{
		log: filepath.Join(t.TempDir(), "log"), exited: make(chan error, 1),
		ops: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	words := append(behind, program, "serve")
	// The test's context is done before its clean-up, and would kill.
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), words[0], words[1:]...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = []string{"TOKENSVC_LISTEN=127.0.0.1:0", "TOKENSVC_OPS_LISTEN=127.0.0.1:0"}
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() { p.stop(t) })
	eventually(t, startLimit, "tokensvc serve listening", func() error {
		if err := p.gone(); err != nil {
			t.Fatalf("tokensvc serve ended before it listened: %v\n%s", err, p.written())
		}
		return p.findAddresses()
	})
	p.awaitReady(t)
	return p
}

func (p *process) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, startLimit, "tokensvc serve ready", func() error {
		if status := p.get("/readyz"); status != http.StatusOK {
			return fmt.Errorf("/readyz answers %d", status)
		}
		return nil
	})
}

// get returns the status of an answer of the ops listener's, 0 for none.
func (p *process) get(path string) int {
	res, err := p.askOps(path)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func (p *process) askOps(path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.OpsURL+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	return p.ops.Do(req)
}

// gone returns how the process ended, nil if it has not.
func (p *process) gone() error {
	select {
	case err := <-p.exited:
		p.exited <- err
		return fmt.Errorf("it ended: %w", err)
	default:
		return nil
	}
}

// findAddresses finds where it listens, in the log line that says so.
func (p *process) findAddresses() error {
	for line := range strings.Lines(p.written()) {
		var entry struct {
			Message   string `json:"message"`
			Listen    string `json:"listen"`
			OpsListen string `json:"ops_listen"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "serving" {
			p.URL, p.OpsURL = "http://"+entry.Listen, "http://"+entry.OpsListen
			return nil
		}
	}
	return errors.New("no log line says where it serves")
}

func (p *process) written() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// stop asks it to end, as a container runtime does, unless it has ended before.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.gone() != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.exited:
		p.exited <- err
		if err != nil {
			t.Errorf("tokensvc serve after SIGTERM: %v, want exit status 0", err)
		}
	case <-time.After(shutdownLimit):
		_ = p.cmd.Process.Kill()
		t.Errorf("tokensvc serve still ran %v after SIGTERM, and was killed", shutdownLimit)
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Error(err)
	}
}

// kill ends it at once, with nothing written and nobody told.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	p.exited <- errors.New("killed")
}

// footprint is what a process holds.
type footprint struct {
	goroutines, descriptors int
	rss, own, peak          int // MiB: now, without pages of files, and at most
}

func (p *process) footprint() (f footprint, err error) {
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

func (p *process) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)
}

func (p *process) descriptors() (int, error) {
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
func (p *process) metric(series string) (float64, error) {
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
func (p *process) total(metric, label string) (sum float64, err error) {
	found, err := p.metrics(metric+"{", label)
	for _, value := range found {
		sum += value
	}
	return sum, err
}

// metrics returns the values of the series that begin with a text and contain others.
func (p *process) metrics(begins string, contain ...string) (values []float64, err error) {
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
