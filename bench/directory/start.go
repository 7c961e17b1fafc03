package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz/oidctest"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	starts       = 5
	readyTimeout = 30 * time.Second
)

func (b *bench) build(ctx context.Context) error {
	b.binary = filepath.Join(b.folder, "tokensvc")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.binary, "./cmd/tokensvc") //nolint:gosec // ours
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")                                                                    //nolint:forbidigo // go's
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// start returns how long the service takes from its start until it is ready, the
// median of several.
func (b *bench) start(ctx context.Context, directory string) (time.Duration, error) {
	issuer, err := oidctest.Start(oidctest.Options{Audience: "softphone"})
	if err != nil {
		return 0, err
	}
	defer issuer.Close()
	telnyx, err := telnyxtest.Start(telnyxtest.Options{})
	if err != nil {
		return 0, err
	}
	defer telnyx.Close()
	var took []time.Duration
	for range starts {
		ops, err := freeAddress(ctx)
		if err != nil {
			return 0, err
		}
		d, err := b.startOnce(ctx, ops, []string{
			"TELNYX_API_KEY=" + telnyxtest.DefaultAPIKey, "TELNYX_BASE_URL=" + telnyx.URL(),
			"TOKENSVC_OIDC_ISSUER=" + issuer.URL(), "TOKENSVC_OIDC_AUDIENCE=softphone", "TOKENSVC_DIRECTORY=" + directory,
			"TOKENSVC_LISTEN=127.0.0.1:0", "TOKENSVC_OPS_LISTEN=" + ops,
		})
		if err != nil {
			return 0, err
		}
		took = append(took, d)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func (b *bench) startOnce(ctx context.Context, ops string, env []string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, b.binary, "serve") //nolint:gosec // ours
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &output, &output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err := awaitReady(ctx, "http://"+ops+"/readyz")
	took := time.Since(began)
	cancel()
	_ = cmd.Wait() // was told to end
	if err != nil {
		return 0, fmt.Errorf("%w:\n%s", err, output.String())
	}
	return took, nil
}

func awaitReady(ctx context.Context, address string) error {
	client := &http.Client{Timeout: time.Second}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("it was not ready in time")
		case <-tick.C:
		}
	}
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
