package lab

import (
	"context"
	"fmt"
	"os/exec"
)

// Prometheus starts one with this configuration, and returns its address. It needs
// Debian's package of that name.
func (l *Lab) Prometheus(ctx context.Context, config string) (string, error) {
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	path, err := l.Write("prometheus.yaml", []byte(config))
	if err != nil {
		return "", err
	}
	address, err := freeAddress()
	if err != nil {
		return "", err
	}
	_, err = l.start(ctx, command{
		name: "prometheus", path: binary, dir: l.folder, ready: "http://" + address + "/-/ready",
		args: []string{"--config.file", path, "--storage.tsdb.path", l.Path("prometheus"), "--web.listen-address", address},
	})
	return address, err
}

// Root is the folder of the sources.
func (l *Lab) Root() string { return l.root }
