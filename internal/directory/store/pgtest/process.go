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
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a postmaster.
type process struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

// Start starts the server, and returns when it answers. After Stop or Kill it has
// the same address and the same databases.
func (s *Server) Start() error {
	if s.running != nil {
		return errors.New("pgtest: the server runs")
	}
	if s.port != 0 {
		return s.start()
	}
	var err error
	for range 3 { // somebody may take the port before the server does
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(); err == nil {
			return nil
		}
	}
	return err
}

func (s *Server) start() error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
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
	postgres.Dir, postgres.SysProcAttr, postgres.Stdout, postgres.Stderr = s.dir, attributes, log, log
	diesWithUs(attributes)
	if s.running, err = run(postgres); err != nil {
		return err
	}
	if err := s.answers(); err != nil {
		tail, _ := os.ReadFile(s.log())
		return errors.Join(fmt.Errorf("starting PostgreSQL: %w\n%s", err, tail[max(0, len(tail)-4000):]), s.Kill())
	}
	return nil
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

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
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		connection, err := s.connect(ctx)
		if err == nil {
			return connection.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-s.running.gone:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		}
	}
}

// Stop shuts the server down, and ends what its clients are at.
func (s *Server) Stop() error {
	if s.running == nil {
		return nil
	}
	if err := s.running.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return errors.Join(err, s.Kill())
	}
	select {
	case <-s.running.gone:
		s.running = nil
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("PostgreSQL does not stop"), s.Kill())
	}
}

// Kill kills the server and its children at once (SIGKILL), and returns when none
// is left.
func (s *Server) Kill() error {
	if s.running == nil {
		return nil
	}
	p := s.running.cmd.Process
	_ = p.Signal(syscall.SIGSTOP) // it has no more children from here on
	family := children(p.Pid)
	for _, pid := range family {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = p.Kill()
	<-s.running.gone
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
	postmaster := s.running.cmd.Process
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
