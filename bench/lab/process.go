package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	readyLimit = 60 * time.Second // on a busy machine
	stopLimit  = 40 * time.Second // longer than a service drains
	logTail    = 4 << 10          // bytes shown of the log of what failed
)

// A command is what to run, and how one knows that it serves.
type command struct {
	name string
	path string
	args []string
	dir  string
	env  []string

	listen string // address that it accepts connections on when it serves
	ready  string // URL that then answers 200; default: it accepts connections
}

// A Process runs until it is stopped.
type Process struct {
	Name  string
	Ready time.Duration // from its start until it served
	cmd   *exec.Cmd
	stdin io.Closer
	log   string
	ended chan struct{}
}

// start runs a command until it serves. Its output is in a file.
func (l *Lab) start(ctx context.Context, c command) (*Process, error) {
	began := time.Now()
	p, err := l.launch(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	if err := p.await(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("lab: %s: %w:\n%s", c.name, err, p.Log()), p.Stop())
	}
	p.Ready = time.Since(began)
	return p, nil
}

// launch runs a command. stdout is where its output goes, the file if nil.
func (l *Lab) launch(ctx context.Context, c command, stdout io.Writer) (*Process, error) {
	p := &Process{Name: c.name, log: l.Path(c.name + ".log"), ended: make(chan struct{})}
	log, err1 := os.Create(p.log)
	records, err2 := os.Create(l.Path(c.name + ".out"))
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	defer log.Close()
	defer records.Close()
	// It is stopped, not killed, so that what it has to say can be read.
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), c.path, c.args...) //nolint:gosec // ours
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = c.dir, append([]string{}, c.env...), records, log
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.cmd.SysProcAttr = diesWithUs()
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("lab: %s: %w", c.name, err)
	}
	l.running = append(l.running, p)
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // it is told to end
	}()
	return p, nil
}

// await waits until it serves.
func (p *Process) await(ctx context.Context, c command) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if c.serves(ctx) {
			return nil
		}
		select {
		case <-p.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return errors.New("it was not ready in time")
		case <-tick.C:
		}
	}
}

func (c command) serves(ctx context.Context) bool {
	if c.ready == "" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.listen)
		if err == nil {
			_ = conn.Close() // it was only to see
		}
		return err == nil
	}
	return get(ctx, c.ready, func(io.Reader) error { return nil }) == nil
}

// Stop asks it to end, as a container runtime does, and waits. It may be called
// more than once.
func (p *Process) Stop() error {
	_ = p.stdin.Close()                       // ends an upstream
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // ends the others, unless they have
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("lab: %s did not end when it was told to", p.Name)
	}
}

// Log is the end of what it has written.
func (p *Process) Log() string {
	file, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if _, err := file.Seek(-logTail, io.SeekEnd); err != nil {
		_, _ = file.Seek(0, io.SeekStart) // it is shorter
	}
	text, _ := io.ReadAll(file)
	return string(text)
}

// get asks for a page that must be there, and has its body read.
func get(ctx context.Context, address string, read func(io.Reader) error) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, res.Status)
	}
	return read(res.Body)
}
