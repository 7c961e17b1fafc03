package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// backgroundConnections bounds those to Telnyx of what nobody waits for.
const backgroundConnections = 16

// openShared opens what replicas share, if they do. Nobody is connected to yet.
func (s *service) openShared(registry prometheus.Registerer) error {
	c := s.cfg.Cache
	if !c.isShared() {
		return nil
	}
	keys, err := openSecretFile(c.KeyFile, readSealingKeys)
	if err != nil {
		return fmt.Errorf("cache_key_file: %w", err)
	}
	s.follow("keys of the cache", c.KeyFile, keys.readAgain)
	s.sharedObserver = newSharedObserver(s.log, registry)
	s.shared, err = shared.Open(shared.Config{
		URL: c.URL, Password: c.password(), Keys: func() []secret.Text { return sealingKeys(keys.Text()) },
		Realm: s.cfg.Telnyx.BaseURL, OnRefused: s.sharedObserver.refuse, OnState: s.sharedObserver.state, Now: now,
	})
	return err
}

// password is asked for at every connection.
func (c CacheConfig) password() func() (secret.Text, error) {
	switch {
	case c.PasswordFile != "":
		return func() (secret.Text, error) { return readCachePassword(c.PasswordFile) }
	case !c.Password.Empty():
		return func() (secret.Text, error) { return c.Password, nil }
	}
	return nil
}

// openTelnyx makes what speaks to Telnyx: a client for calls that somebody waits
// for, and another for the others, whose retries and connections are not taken from
// the first. Both are at one pace, since Telnyx limits the account.
func (s *service) openTelnyx(registry prometheus.Registerer) error {
	paced := &paceObserver{log: s.log}
	cfg := pacing.Config{
		// Half of who may wait for Telnyx at all, so that whoever must come back is
		// told when, and not that there is no room.
		MaxWaiting: max(s.cfg.Limits.InFlight/4, 1),
		Now:        now, OnChange: paced.changed,
	}
	if s.shared != nil {
		cfg.Window = s.shared.Calls("telnyx")
	}
	var err error
	if s.pacer, err = pacing.New(cfg); err != nil {
		return err
	}
	measurePace(registry, s.pacer.State)
	measureConnections(registry, s.files.telnyx+backgroundConnections)
	waitedFor := s.cfg.telnyx(s.keys.Texts)
	waitedFor.Gate, waitedFor.MaxConnections, waitedFor.OnKeys = observedGate{s.pacer.Logins(), s.observer}, s.files.telnyx, s.observer.keysAre
	if s.tracer != nil {
		waitedFor.Tracer = spansOfCalls{s.tracer}
	}
	if s.client, err = telnyx.New(waitedFor); err != nil {
		return err
	}
	registry.MustRegister(newKeyCollector(s.client.State))
	background := s.cfg.telnyx(s.keys.Texts)
	background.Gate, background.MaxConnections = observedGate{s.pacer.Background(), s.observer}, backgroundConnections
	s.background, err = telnyx.New(background)
	return err
}

// observedGate is a gate of which is told what came of every call.
type observedGate struct {
	*pacing.Gate
	observer *observer
}

// Leave is told how a call ended.
func (g observedGate) Leave(a telnyx.Attempt) {
	g.observer.called(a)
	g.Gate.Leave(a)
}

// openMachine makes what vends tokens. Of a directory that creates credentials it
// is told which are new.
func (s *service) openMachine() error {
	cfg := vending.Config{
		Minter: s.client, Background: s.background, KeepNothing: s.cfg.Cache.Kind == "none",
		MaxBytes: tokenBytes(debug.SetMemoryLimit(-1)), // which sets nothing
		MinLife:  s.cfg.Vending.MinLife, OnMint: s.observer.mint, Now: now,
		// Half of the requests may wait for Telnyx; there is always room for
		// those who need not.
		MaxWaiting: max(s.cfg.Limits.InFlight/2, 1),
	}
	if s.database != nil {
		cfg.Minter, cfg.Background = s.database.finder.Minter(s.client), s.database.finder.Minter(s.background)
	}
	if s.shared != nil {
		cfg.Shelf = s.shared
	}
	var err error
	s.machine, err = vending.New(cfg)
	return err
}

// sharedRate is how users and addresses are kept to their rates on all replicas
// together, or nil if each does so by itself.
func (s *service) sharedRate() func(ctx context.Context, kind, key string, perMinute, burst int) (time.Duration, bool) {
	if s.cfg.Limits.Scope != scopeShared {
		return nil
	}
	return s.shared.Allow
}

func (s *service) closeShared() {
	if s.shared != nil {
		s.shared.Close()
	}
}
