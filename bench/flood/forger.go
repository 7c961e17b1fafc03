package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokensvc/tokensvc/bench/load"
)

// The kinds of bearers.
const (
	badSignature = "a key that is the issuer's, a signature that is not"
	unknownKey   = "a key that nobody has"
	garbage      = "garbage"
)

var kinds = []string{badSignature, unknownKey, garbage}

// forgeries is how many different bearers there are of a kind: more than anybody
// would remember.
const forgeries = 20_000

// forge makes a bearer out of a good one.
func forge(kind, good string) string {
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	switch kind {
	case badSignature:
		return header + "." + payload + "." + noise(len(signature))
	case unknownKey:
		header = fmt.Sprintf(`{"alg":"RS256","kid":"%s","typ":"at+jwt"}`, noise(16))
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + payload + "." + noise(len(signature))
	}
	return noise(len(good))
}

// noise is so much base64url.
func noise(length int) string {
	raw := make([]byte, length)
	for i := range raw {
		raw[i] = byte(rand.Uint32()) //nolint:gosec // noise, cut to a byte
	}
	return base64.RawURLEncoding.EncodeToString(raw)[:length]
}

// forge is the forger's own process: it sends for as long as it is told to, and says
// how many answers there were of each status. The good bearer is its standard input.
func (f *flood) forge(ctx context.Context, address, kind string) error {
	good, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	counts := map[int]int{}
	plan := load.Plan{
		Address: address, From: forgerAddress, Connections: f.connections,
		Check: func(a load.Answer) error {
			if load.WantToken(a) == nil {
				return errors.New("a forged bearer got a token")
			}
			mu.Lock()
			defer mu.Unlock()
			counts[a.Status]++
			return nil
		},
	}
	for range forgeries {
		plan.Requests = append(plan.Requests, load.Post(address, "/v1/token", forge(kind, string(good)), ""))
	}
	fmt.Fprintln(os.Stdout, "ready")
	if _, err := load.Closed(ctx, plan, f.lasting); err != nil {
		return err
	}
	var said []string
	for status, n := range counts {
		said = append(said, fmt.Sprintf("%d with %d", n, status))
	}
	slices.Sort(said)
	fmt.Fprintln(os.Stdout, strings.Join(said, ", "))
	return nil
}

// A forger is a process that floods.
type forger struct {
	cmd  *exec.Cmd
	out  io.Reader
	stop context.CancelFunc
}

// startForger starts one, and returns when it sends. It has the lowest priority:
// elsewhere it would have processors of its own, here it would take the service's.
func (f *flood) startForger(ctx context.Context, kind string) (*forger, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	//nolint:gosec // ourselves
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", self, "-forger", f.service.Address, "-kind", kind,
		"-time", (f.lasting + time.Second).String(), "-connections", fmt.Sprint(f.connections))
	cmd.Stdin, cmd.Stderr = strings.NewReader(f.user.Bearer), os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = io.ReadFull(out, make([]byte, len("ready\n")))
	}
	if err != nil {
		stop()
		return nil, err
	}
	return &forger{cmd: cmd, out: out, stop: stop}, nil
}

// end waits until it has ended, or ends it when something else failed, and returns
// what it has said.
func (r *forger) end(failed error) (string, error) {
	defer r.stop()
	if failed != nil {
		r.stop()
	}
	said, err := io.ReadAll(r.out)
	return strings.TrimSpace(string(said)), errors.Join(failed, err, r.cmd.Wait())
}
