package lab

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os/exec"
)

// Redis starts one, and returns the variables with which services share it.
func (l *Lab) Redis(ctx context.Context) ([]string, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := l.start(ctx, command{
		name: "redis", path: binary, dir: l.folder, listen: address,
		args: []string{"--bind", host, "--port", port, "--save", "", "--appendonly", "no"},
	}); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	path, err := l.Write("cache.key", []byte(base64.StdEncoding.EncodeToString(key)+"\n"))
	return []string{"TOKENSVC_CACHE=redis://" + address, "TOKENSVC_CACHE_KEY_FILE=" + path}, err
}
