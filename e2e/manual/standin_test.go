package manual_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The programs of testdata/bin that stand in for docker compose, helm and kubectl
// are this test's binary with standInFor in its environment. What they cannot do
// they say, and fail.
const (
	standInFor = "STAND_IN_FOR"  // the name of the program
	standInIn  = "STAND_IN_FILE" // where the surroundings are

	comesUp = 30 * time.Second // until a container is ready
)

// surroundings are what a container finds here.
type surroundings struct {
	Binary    string            // of the image
	Template  string            // command that renders a chart
	Folder    string            // for what is kept from one command to the next
	Names     []string          // pairs: what files and variables name, and what it is here
	Variables map[string]string // of every container, besides its own
	Ops       string            // where the service's ops listener is
	Passwords map[string]string // secret that the database or the cache is to have, by its name
	Database  string            // URL of one who may set its password
	Cache     string            // host:port
}

// A container is the binary as it is to run.
type container struct {
	Args   []string
	Env    map[string]string
	Mounts []string // pairs: a path in it, and what is there
}

func standIn(name string, args []string) int {
	text, err := os.ReadFile(os.Getenv(standInIn))
	if err != nil {
		return complain(name, err)
	}
	var s surroundings
	if err := json.Unmarshal(text, &s); err != nil {
		return complain(name, err)
	}
	programs := map[string]func(surroundings, []string) error{"compose": compose, "helm": helm, "kubectl": kubectl}
	if err := programs[name](s, args); err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) { // and has said why
			return ended.ExitCode()
		}
		return complain(name, err)
	}
	return 0
}

func complain(name string, err error) int {
	fmt.Fprintf(os.Stderr, "the stand-in for %s: %v\n", name, err)
	return 125
}

// command is what the container runs, with everything that it names as it is here.
func (s surroundings) command(c container, args ...string) *exec.Cmd {
	here := strings.NewReplacer(append(slices.Clone(c.Mounts), s.Names...)...)
	var words []string
	for _, word := range args {
		words = append(words, here.Replace(word))
	}
	cmd := exec.CommandContext(context.Background(), s.Binary, words...)
	env := maps.Clone(s.Variables)
	for name, value := range c.Env {
		env[name] = here.Replace(value)
	}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Folder, os.Stdout, os.Stderr
	return cmd
}

// toEnd runs one that is to end.
func (s surroundings) toEnd(c container) error {
	cmd := s.command(c, c.Args...)
	cmd.Stdout, cmd.Stderr = nil, nil // what containers write is in their logs
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %s", err, out)
	}
	return err
}

// up starts one that goes on, remembers it, and waits until it is ready.
func (s surroundings) up(c container) error {
	kept, err := json.Marshal(c)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(filepath.Dir(s.Folder), "step-container.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command(c, c.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(os.WriteFile(filepath.Join(s.Folder, "container"), kept, 0o600), cmd.Start()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Folder, "pid"), fmt.Append(nil, cmd.Process.Pid), 0o600); err != nil {
		return err
	}
	return s.awaitReady(cmd.Process.Pid)
}

// awaitReady asks the image's own health check.
func (s surroundings) awaitReady(pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), comesUp)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		check := exec.CommandContext(ctx, s.Binary, "healthcheck")
		check.Env = []string{"TOKENSVC_OPS_LISTEN=" + s.Ops}
		if check.Run() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the container, process %d, is not ready", pid)
		case <-tick.C:
		}
	}
}

// exec runs the binary once more in the container that goes on.
func (s surroundings) exec(words []string) error {
	if len(words) == 0 || words[0] != "/tokensvc" {
		return fmt.Errorf("there is no %q in the image", words)
	}
	text, err := os.ReadFile(filepath.Join(s.Folder, "container"))
	if err != nil {
		return err
	}
	var c container
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	return s.command(c, words[1:]...).Run()
}
