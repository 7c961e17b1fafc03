package redistest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/shared/redistest"
)

// says connects and returns the beginning of what the server says to a command, or
// what kept it from doing so.
func says(t *testing.T, s *redistest.Server, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	return string(answer[:n]), err
}

func TestAKillOrAStopEmptiesIt(t *testing.T) {
	s := redistest.StartT(t)
	address := s.Addr()
	for name, end := range map[string]func() error{"stop": s.Stop, "kill": s.Kill} {
		if err := s.Tell("SET", "a", "1"); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Ask("GET", "a"); err != nil || got != "1" {
			t.Fatalf("%s: %v, %v", name, got, err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if got, err := says(t, s, "PING"); err == nil {
			t.Errorf("%s: it says %q when it is down", name, got)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Ask("GET", "a"); err != nil || got != nil {
			t.Errorf("%s: it has %v, %v", name, got, err)
		}
		if s.Addr() != address {
			t.Errorf("%s: it has moved to %s", name, s.Addr())
		}
	}
}

func TestAPausedServerDoesNotAnswer(t *testing.T) {
	s := redistest.StartT(t)
	s.Pause()
	got, err := says(t, s, "PING")
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Errorf("it says %q, %v", got, err)
	}
	s.Resume()
	if got, err := says(t, s, "PING"); !strings.HasPrefix(got, "+PONG") {
		t.Errorf("it says %q, %v", got, err)
	}
}

func TestAFullServerTakesNothing(t *testing.T) {
	s := redistest.StartT(t)
	if err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Tell("SET", "a", "1"); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("got %v", err)
	}
	if err := s.Drain(); err != nil {
		t.Fatal(err)
	}
	if err := s.Tell("SET", "a", "1"); err != nil {
		t.Error(err)
	}
}

func TestAServerWithAPassword(t *testing.T) {
	s := redistest.StartWithT(t, redistest.Options{Password: `of "quotes"`})
	if got, err := says(t, s, "PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("it says %q, %v", got, err)
	}
	if got, err := s.Ask("PING"); err != nil || got != "PONG" {
		t.Errorf("with the password: %v, %v", got, err)
	}
}

func TestAServerThatSpeaksTLS(t *testing.T) {
	s := redistest.StartWithT(t, redistest.Options{TLS: true})
	if got, err := says(t, s, "PING"); strings.HasPrefix(got, "+PONG") {
		t.Errorf("without TLS it says %q, %v", got, err)
	}
	if got, err := s.Ask("PING"); err != nil || got != "PONG" {
		t.Errorf("with TLS: %v, %v", got, err)
	}
}
