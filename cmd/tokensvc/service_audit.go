package main

import (
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/audit"
)

// openTrail opens what records of decisions are written to.
func (s *service) openTrail(registry prometheus.Registerer, out io.Writer) error {
	var err error
	if s.trail, err = s.cfg.Audit.open(out, s.recording); err != nil {
		return fmt.Errorf("audit.file: %w", err)
	}
	registry.MustRegister(newAuditCollector(s.trail.State))
	return nil
}

// open opens the trail of a run.
func (a AuditConfig) open(out io.Writer, trouble func(error)) (*audit.Trail, error) {
	cfg := audit.Config{GrantUnrecorded: a.OnFailure == onFailureVend, Version: version, Trouble: trouble, Now: now}
	if a.File == standardOutput {
		cfg.Out = out
	} else {
		cfg.Path = a.File
	}
	return audit.Open(cfg)
}

// recording is told when decisions can no longer be recorded, and when they can again.
func (s *service) recording(trouble error) {
	if trouble == nil {
		s.log.Info().Msg("decisions are recorded again")
		return
	}
	meanwhile := "no tokens are handed out"
	if s.cfg.Audit.OnFailure == onFailureVend {
		meanwhile = "tokens are handed out, and their records wait"
	}
	s.log.Error().Err(trouble).Msg("decisions cannot be recorded; " + meanwhile)
}

// records says whether decisions can be recorded, and whether tokens are granted.
func (s *service) records() (text string, granting bool) {
	state := s.trail.State()
	if state.Failure == nil {
		return "ok", true
	}
	return "cannot be written: " + state.Failure.Error(), s.cfg.Audit.OnFailure == onFailureVend
}

// closeTrail ends the records, when there is nothing more to decide.
func (s *service) closeTrail() {
	if err := s.trail.Close(); err != nil {
		s.log.Error().Err(err).Msg("records of decisions")
	}
}
