package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// process is a redis-server.
type process struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

// Start starts the server, and returns when it answers. After Stop or Kill it has
// the same address, and is empty.
func (s *Server) Start() error {
	if s.running != nil {
		return errors.New("redistest: the server runs")
	}
	if s.port != 0 {
		return s.start()
	}
	var err error
	for range 3 { // somebody may take the port before the server does
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(); err == nil || errors.Is(err, ErrNotInstalled) {
			return err
		}
	}
	return err
}

func (s *Server) start() error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return ErrNotInstalled
	}
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	redis := exec.Command(program, "-") //nolint:gosec,noctx // a program of Redis's, which runs until it is stopped
	redis.Stdin = bytes.NewReader(s.configuration())
	redis.Dir, redis.Stdout, redis.Stderr = s.dir, log, log
	redis.SysProcAttr = &syscall.SysProcAttr{}
	diesWithUs(redis.SysProcAttr)
	if s.running, err = run(redis); err != nil {
		return err
	}
	if err := s.answers(); err != nil {
		tail, _ := os.ReadFile(s.log())
		return errors.Join(fmt.Errorf("starting Redis: %w\n%s", err, tail[max(0, len(tail)-4000):]), s.Kill())
	}
	return nil
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// configuration is what redis-server reads from its standard input: a password on
// its command line would be seen by everybody.
func (s *Server) configuration() []byte {
	var c bytes.Buffer
	port, tlsPort := s.port, 0
	if s.tls {
		port, tlsPort = 0, s.port
		fmt.Fprintf(&c, "tls-cert-file %s\ntls-key-file %s\ntls-auth-clients no\n", filepath.Join(s.dir, certFile), filepath.Join(s.dir, keyFile))
	}
	fmt.Fprintf(&c, "bind 127.0.0.1\nport %d\ntls-port %d\ndir %s\nsave \"\"\nappendonly no\ndatabases 4\n", port, tlsPort, s.dir)
	if s.password != "" {
		fmt.Fprintf(&c, "requirepass %s\n", strconv.Quote(s.password))
	}
	return c.Bytes()
}

// run starts it in a thread of its own, with which it would die.
func run(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.gone)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// answers waits until the server does.
func (s *Server) answers() error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.Tell("PING")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.running.gone:
			return errors.New("it has ended")
		case <-deadline.C:
			return err
		}
	}
}

// Stop shuts the server down.
func (s *Server) Stop() error {
	if s.running == nil {
		return nil
	}
	s.Resume()
	if err := s.running.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, s.Kill())
	}
	select {
	case <-s.running.gone:
		s.running = nil
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("Redis does not stop"), s.Kill())
	}
}

// Kill kills the server at once (SIGKILL).
func (s *Server) Kill() error {
	if s.running == nil {
		return nil
	}
	_ = s.running.cmd.Process.Kill()
	<-s.running.gone
	s.running = nil
	return nil
}

// Pause freezes the server: who connects, or is connected, has no answer until
// Resume.
func (s *Server) Pause() { _ = s.running.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { _ = s.running.cmd.Process.Signal(syscall.SIGCONT) }
