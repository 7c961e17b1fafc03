package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/tokensvc/tokensvc/internal/testserver"
)

// Start starts the server, and returns when it answers. After Stop or Kill it has
// the same address, and is empty.
func (s *Server) Start() error {
	if s.running != nil {
		return errors.New("redistest: the server runs")
	}
	if s.port != 0 {
		return s.start()
	}
	return testserver.Port(func(port int) error {
		s.port = port
		return s.start()
	})
}

func (s *Server) start() error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return ErrNotInstalled
	}
	redis := exec.Command(program, "-") //nolint:gosec,noctx // a program of Redis's, which runs until it is stopped
	redis.Stdin = bytes.NewReader(s.configuration())
	redis.Dir = s.dir
	s.running, err = testserver.Run(redis, s.log(), func() error { return s.Tell("PING") })
	return err
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

// Stop shuts the server down.
func (s *Server) Stop() error {
	if s.running == nil {
		return nil
	}
	s.Resume()
	running := s.running
	s.running = nil
	return running.Stop(syscall.SIGTERM)
}

// Kill kills the server at once (SIGKILL).
func (s *Server) Kill() error {
	if s.running == nil {
		return nil
	}
	s.running.Kill()
	s.running = nil
	return nil
}

// Pause freezes the server: who connects, or is connected, has no answer until
// Resume.
func (s *Server) Pause() { _ = s.running.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { _ = s.running.Signal(syscall.SIGCONT) }
