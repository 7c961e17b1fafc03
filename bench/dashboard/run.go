package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
)

// A run is one storm and its picture.
type run struct {
	picture  string
	replicas int
	postgres bool

	lab *lab.Lab
}

// config has a Prometheus look every second, because a storm is over in a minute.
const config = `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q, %q]
scrape_configs:
  - job_name: tokensvc
    file_sd_configs: [{files: [%q], refresh_interval: 1s}]
`

func (r *run) all(ctx context.Context) (err error) {
	if r.lab, err = lab.New(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.lab.Close()) }()
	shown, err := read(filepath.Join(r.lab.Root(), "deploy/grafana/dashboard.json"))
	if err != nil {
		return err
	}
	targets, rules := r.lab.Path("targets.json"), filepath.Join(r.lab.Root(), "deploy/prometheus")
	address, err := r.lab.Prometheus(ctx, fmt.Sprintf(config, filepath.Join(rules, "rules.yaml"), filepath.Join(rules, "alerts.yaml"), targets))
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.storm(ctx, targets); err != nil {
		return err
	}
	p := prometheus{address: address, from: began, to: time.Now()}
	for i := range shown.Panels {
		if err := p.fill(ctx, &shown.Panels[i]); err != nil {
			return fmt.Errorf("panel %q: %w", shown.Panels[i].Title, err)
		}
	}
	return r.draw(ctx, shown, p)
}

func (r *run) storm(ctx context.Context, targets string) error {
	args := []string{
		"run", "./bench/storm", "-plot", "", "-targets", targets, "-replicas", strconv.Itoa(r.replicas), "-postgres=" + strconv.FormatBool(r.postgres),
	}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // ours
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.lab.Root(), os.Stdout, os.Stderr
	// It ends what it has started, when it is told to.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd.Run()
}

// draw has a browser make a picture of the page.
func (r *run) draw(ctx context.Context, d dashboard, p prometheus) error {
	var page strings.Builder
	if err := write(&page, d, p); err != nil {
		return err
	}
	path, err := r.lab.Write("dashboard.html", []byte(page.String()))
	if err != nil {
		return err
	}
	picture, err := filepath.Abs(r.picture)
	if err != nil {
		return err
	}
	size := fmt.Sprintf("--window-size=%d,%d", pageWidth, d.height())
	out, err := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", size, //nolint:gosec // a page of ours
		"--user-data-dir="+r.lab.Path("chromium"), "--screenshot="+picture, "file://"+path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("chromium: %w\n%s", err, out)
	}
	return nil
}
