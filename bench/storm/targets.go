package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/tokensvc/tokensvc/bench/lab"
)

// calm is how long nothing happens before and after a storm that is watched.
const calm = 15 * time.Second

// showTargets tells a Prometheus where the replicas are, if one watches, and gives it
// time to find them.
func (s *storm) showTargets(ctx context.Context) error {
	if s.targets == "" {
		return nil
	}
	var ops []string
	for _, service := range s.services {
		ops = append(ops, service.Ops)
	}
	content, err := json.Marshal([]map[string]any{{"targets": ops}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.targets, content, 0o600); err != nil {
		return err
	}
	return s.calm(ctx)
}

// calm waits, if a Prometheus watches.
func (s *storm) calm(ctx context.Context) error {
	if s.targets == "" {
		return nil
	}
	return lab.Sleep(ctx, calm)
}
