package phone_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startLimit    = 30 * time.Second // from exec to ready, on a busy machine
	shutdownLimit = 20 * time.Second // from SIGTERM to the end
)

// operator asks the services how they are.
var operator = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// service is a running `tokensvc serve`.
type service struct {
	url, ops string

	cmd    *exec.Cmd
	output output
	exited chan error
}

// startService runs the binary with these variables and nothing else, and returns
// when it is ready. It ends with the test, unless it has before.
func startService(t *testing.T, env map[string]string) *service {
	t.Helper()
	s := &service{exited: make(chan error, 1)}
	// The test's context is done before its clean-up, and would kill.
	s.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve")
	s.cmd.Dir = t.TempDir()
	s.cmd.Env = []string{"TOKENSVC_LISTEN=127.0.0.1:0", "TOKENSVC_OPS_LISTEN=127.0.0.1:0"}
	for name, value := range env {
		s.cmd.Env = append(s.cmd.Env, name+"="+value)
	}
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })
	eventually(t, startLimit, "tokensvc serve ready", func() error {
		if s.gone() {
			t.Fatalf("tokensvc serve ended before it was ready:\n%s", s.output.String())
		}
		return s.ready(t.Context())
	})
	return s
}

// ready finds where it listens, in the log line that says so, and asks.
func (s *service) ready(ctx context.Context) error {
	for _, entry := range s.logged("serving") {
		s.url, s.ops = fmt.Sprint("http://", entry["listen"]), fmt.Sprint("http://", entry["ops_listen"])
	}
	if s.ops == "" {
		return errors.New("no log line says where it serves")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ops+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	res, err := operator.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz answers %d", res.StatusCode)
	}
	return nil
}

// gone reports whether it has ended.
func (s *service) gone() bool {
	select {
	case err := <-s.exited:
		s.exited <- err
		return true
	default:
		return false
	}
}

// stop asks it to end, as a container runtime does, unless it has ended before.
func (s *service) stop(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.exited:
		s.exited <- err
		if err != nil {
			t.Errorf("tokensvc serve after SIGTERM: %v, want exit status 0", err)
		}
	case <-time.After(shutdownLimit):
		_ = s.cmd.Process.Kill()
		t.Errorf("tokensvc serve still ran %v after SIGTERM, and was killed", shutdownLimit)
	}
	if t.Failed() {
		t.Logf("tokensvc serve wrote:\n%s", s.output.String())
	}
}

// logged returns the log lines with that message.
func (s *service) logged(message string) []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(s.output.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["message"] == message {
			all = append(all, entry)
		}
	}
	return all
}
