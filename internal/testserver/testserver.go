// Package testserver runs the servers of others, such as a database, for tests: on a
// free port of the loopback, in a temporary folder, and gone with the test or when
// the test's process is. What is particular to one server is its own package's.
package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// ErrNotInstalled says that the program is not on this machine.
var ErrNotInstalled = errors.New("not installed")

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 20 * time.Second
	between      = 10 * time.Millisecond // two questions whether it answers
	logTail      = 4000                  // bytes
)

// TB is what is needed of a *testing.T.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(f func())
}

// StartT starts a server that ends with the test. Where the program is not
// installed the test is skipped, unless NO_SKIP is set.
func StartT[S io.Closer](tb TB, start func() (S, error)) S {
	tb.Helper()
	s, err := start()
	switch {
	case errors.Is(err, ErrNotInstalled) && os.Getenv("NO_SKIP") == "": //nolint:forbidigo // of tests, and only they use this
		tb.Skipf("%v", err)
	case err != nil:
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Fatalf("%v", err)
		}
	})
	return s
}

// Port finds a port for a server that is started by start, which is tried with
// another if somebody took the first in between. It is below those that the system
// gives to whoever connects: of such a one, nobody else takes hold while the server
// is down.
func Port(start func(port int) error) error {
	var err error
	for range 3 {
		var port int
		if port, err = freePort(); err != nil {
			return err
		}
		if err = start(port); err == nil || errors.Is(err, ErrNotInstalled) {
			return err
		}
	}
	return err
}

func freePort() (int, error) {
	for range 100 {
		port := 10_000 + rand.IntN(20_000) //nolint:gosec // nobody is to be kept from guessing it
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("no free port")
}

// A Process is a server's.
type Process struct {
	*os.Process
	gone chan struct{} // closed when it has ended
}

// Run starts a command, with its output at the end of the file log, and returns when
// the server answers: when answers returns nil.
func Run(cmd *exec.Cmd, log string, answers func() error) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	p, err := launch(cmd)
	if err != nil {
		return nil, err
	}
	if err := p.await(answers); err != nil {
		p.Kill()
		tail, _ := os.ReadFile(log)
		return nil, fmt.Errorf("starting %s: %w\n%s", cmd.Path, err, tail[max(0, len(tail)-logTail):])
	}
	return p, nil
}

// launch starts it in a thread of its own, with which it would die.
func launch(cmd *exec.Cmd) (*Process, error) {
	diesWithUs(cmd)
	p := &Process{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.gone)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		p.Process = cmd.Process
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is told to end
		}
	}()
	return p, <-started
}

// await waits until the server answers.
func (p *Process) await(answers func() error) error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(between)
	defer tick.Stop()
	for {
		err := answers()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.gone:
			return errors.New("it has ended")
		case <-deadline.C:
			return err
		}
	}
}

// Stop tells the server to end by a signal, and returns when it has. It returns an
// error if it had to be killed.
func (p *Process) Stop(signal os.Signal) error {
	if err := p.Signal(signal); err != nil {
		p.Kill()
		return err
	}
	select {
	case <-p.gone:
		return nil
	case <-time.After(stopTimeout):
		p.Kill()
		return errors.New("the server does not stop")
	}
}

// Kill kills the server at once (SIGKILL), and returns when it has ended.
func (p *Process) Kill() {
	_ = p.Process.Kill() // unless it has ended
	<-p.gone
}
