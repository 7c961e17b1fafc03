package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// lookAtBooks is how often the database is asked whether it is there, and how much
// is still to be deleted.
const lookAtBooks = 5 * time.Second

// prepare makes the database ready for use. A PostgreSQL that does not answer is
// waited for while the service runs; one that can never be used is an error.
func (s *service) prepare(ctx context.Context) error {
	if s.database == nil {
		return nil
	}
	err := s.cfg.prepareStore(ctx, s.database.store)
	if err == nil || errors.Is(err, directory.ErrUnavailable) && s.cfg.Directory.Kind == "postgres" {
		s.observer.directoryIs(err)
		return nil
	}
	return errors.Join(fmt.Errorf("directory: %w", err), s.database.close())
}

// bookkeeping is what goes on beside the requests until its context is done.
func (s *service) bookkeeping() []func(context.Context) {
	b := s.database
	if b == nil {
		return nil
	}
	all := []func(context.Context){
		b.store.Run,
		b.remover.Run,
		s.watchBooks,
		func(ctx context.Context) { b.store.Follow(ctx, s.changed) },
	}
	if b.renewer != nil {
		all = append(all, b.renewer.Run)
	}
	if every := s.cfg.Reconcile.Every; every > 0 {
		options := provisioning.Options{Apply: s.cfg.Reconcile.Mode == "apply"}
		all = append(all, func(ctx context.Context) { b.reconciler.Schedule(ctx, every, options, s.observer.reconciled) })
	}
	return all
}

func (s *service) closeBooks() {
	if s.database == nil {
		return
	}
	if err := s.database.close(); err != nil {
		s.log.Error().Err(err).Msg("closing the database")
	}
}

// watchBooks looks at the database, so that somebody knows when it is away.
func (s *service) watchBooks(ctx context.Context) {
	tick := time.NewTicker(lookAtBooks)
	defer tick.Stop()
	for {
		s.lookAtBooks(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *service) lookAtBooks(ctx context.Context) {
	var err error
	if _, opened := s.observer.directory(); !opened {
		err = s.database.store.Check(ctx)
	}
	if err == nil {
		var n int64
		var oldest time.Time
		if n, oldest, err = s.database.store.Pending(ctx); err == nil {
			s.observer.pending(n, oldest)
		}
	}
	if ctx.Err() == nil {
		s.observer.directoryIs(err)
	}
}

// changed is told of every change of the directory, on whichever replica.
func (s *service) changed(c store.Change) {
	s.database.finder.Changed(c)
	if !c.Released.IsZero() {
		s.machine.Forget(context.Background(), c.Released)
	}
	if c.All || !c.Released.IsZero() {
		s.database.remover.Nudge()
	}
}

// administered is told of every change that was made here, of a user or of any, so
// that it is not heard of a moment later. What is to be deleted is not told.
func (s *service) administered(user string) {
	s.changed(store.Change{User: user, All: user == ""})
	s.database.remover.Nudge()
}

// issued is told of every token that was handed over.
func (s *service) issued(id telnyx.CredentialID, at time.Time) {
	if s.database != nil {
		s.database.store.Vended(id, at)
	}
}

// administer serves the admin API, if somebody may use it.
func (s *service) administer(metrics *handler.Metrics) error {
	a := s.cfg.Admin
	if s.database == nil || !a.isSet() {
		return nil
	}
	cfg := handler.AdminConfig{
		Store: s.database.store, SharedDevices: s.cfg.Devices.Mode == "shared", InFlight: max(s.cfg.Limits.InFlight/8, 8), Timeout: s.cfg.Limits.RequestTimeout,
		Changed: s.administered, Trail: s.trail,
		Tracer: s.tracer, Metrics: metrics, Log: s.log, Now: now,
	}
	for _, i := range s.cfg.Issuers {
		cfg.Issuers = append(cfg.Issuers, i.Name)
	}
	if a.TokenFile != "" {
		token, err := openSecretFile(a.TokenFile, readAdminToken)
		if err != nil {
			return fmt.Errorf("admin.token_file: %w", err)
		}
		s.follow("admin token", a.TokenFile, token.readAgain)
		cfg.Token = token.Text
	}
	if a.Issuer != "" {
		issuer := s.issuer(a.Issuer)
		cfg.Issuer, cfg.Verifier, cfg.Require, cfg.Opaque = issuer.Issuer, s.verifier, a.Require, issuer.Introspect.isSet()
	}
	var err error
	if s.admin, err = handler.NewAdmin(cfg); err != nil {
		return err
	}
	s.ops.Administer(s.admin)
	return nil
}

// issuer returns the issuer of that name, which there is.
func (s *service) issuer(name string) IssuerConfig {
	n := slices.IndexFunc(s.cfg.Issuers, func(i IssuerConfig) bool { return i.Name == name })
	return s.cfg.Issuers[n]
}
