package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tokensvc/tokensvc/internal/testserver"
)

// Start starts the server, and returns when it answers. After Stop or Kill it has
// the same address and the same databases.
func (s *Server) Start() error {
	if s.running != nil {
		return errors.New("pgtest: the server runs")
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
	attributes, err := unprivileged(s.dir)
	if err != nil {
		return err
	}
	//nolint:gosec,noctx // a program of PostgreSQL's, which runs until it is stopped
	postgres := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+s.dir,
		"-c", "max_connections="+strconv.Itoa(maxConnections), "-c", "shared_buffers=32MB",
		// The machine's power stays on, so what was written is there after a kill.
		"-c", "fsync=off")
	postgres.Dir, postgres.SysProcAttr = s.dir, attributes
	s.running, err = testserver.Run(postgres, s.log(), s.answers)
	return err
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// answers asks whether the server takes connections.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	connection, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return connection.Close(ctx)
}

// Stop shuts the server down, and ends what its clients are at.
func (s *Server) Stop() error {
	if s.running == nil {
		return nil
	}
	running := s.running
	s.running = nil
	return running.Stop(syscall.SIGINT)
}

// Kill kills the server and its children at once (SIGKILL), and returns when none
// is left.
func (s *Server) Kill() error {
	if s.running == nil {
		return nil
	}
	p := s.running
	_ = p.Signal(syscall.SIGSTOP) // it has no more children from here on
	family := children(p.Pid)
	for _, pid := range family {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	p.Kill()
	s.running = nil
	deadline := time.NewTimer(stopTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range family {
		for alive(pid) {
			select {
			case <-tick.C:
			case <-deadline.C:
				return fmt.Errorf("process %d of PostgreSQL does not end", pid)
			}
		}
	}
	return nil
}

// Pause freezes the server and its children: who connects, or is connected, has no
// answer until Resume. Neither Stop nor Close is possible meanwhile, but Kill is.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	postmaster := s.running
	_ = postmaster.Signal(signal)
	for _, pid := range children(postmaster.Pid) {
		_ = syscall.Kill(pid, signal)
	}
}

// Close stops the server and removes its files.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}

// children returns a process's children. It knows them where there is a /proc;
// elsewhere they end by themselves, a moment later.
func children(parent int) []int {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	var found []int
	for _, folder := range processes {
		if state, ppid := status(folder); ppid == parent && state != "Z" {
			if pid, err := strconv.Atoi(filepath.Base(folder)); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

func alive(pid int) bool {
	state, _ := status("/proc/" + strconv.Itoa(pid))
	return state != "" && state != "Z"
}

// status reads a process's state and its parent, which stand behind its name.
func status(folder string) (state string, parent int) {
	file, err := os.Open(filepath.Join(folder, "stat"))
	if err != nil {
		return "", 0
	}
	defer file.Close()
	text, _ := io.ReadAll(file)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

// unprivileged makes a command run as somebody else if we are root, which
// PostgreSQL refuses to be, and gives the folder to whom it will be.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	nobody, err := user.Lookup("postgres")
	if err != nil {
		if nobody, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	for _, name := range append(files, dir) {
		if err := os.Chown(name, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}
