package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc"
	"github.com/tokensvc/tokensvc/internal/audit"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/pacing"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/tracing"
	"github.com/tokensvc/tokensvc/internal/vending"
	"github.com/tokensvc/tokensvc/web"
)

// service is a tokensvc with its parts wired together.
type service struct {
	cfg      Config
	log      zerolog.Logger
	verifier *authz.Verifier
	files    descriptors
	keys     secretFiles // of Telnyx's API
	pacer    *pacing.Pacer
	machine  *vending.Machine
	shared   *shared.Redis // nil if replicas share nothing
	database *database     // nil if the directory is no database
	handler  *handler.Service
	ops      *handler.Ops
	admin    *handler.Admin // nil if nobody may use it
	observer *observer
	tls      *tlsObserver
	trail    *audit.Trail
	tracer   *tracing.Tracer // nil if nothing is traced
	followed []*followed
	hangup   <-chan os.Signal // to read files again; nil where nobody asks so

	// client calls Telnyx for those who wait, and background for nobody.
	client, background *telnyx.Client
	sharedObserver     *sharedObserver

	// callers are where tokens are asked for, and operators where health is.
	callers   []*listener
	operators *listener
	draining  atomic.Bool
}

// newService builds every part and reads the files that cfg does not hold, but
// asks nothing of the network. out is standard output.
func newService(cfg Config, log zerolog.Logger, out io.Writer) (*service, error) {
	limit := openFiles()
	s := &service{cfg: cfg, log: log, files: cfg.descriptors(limit)}
	s.files.warn(cfg, limit, log)
	registry := newRegistry()
	s.observer = newObserver(log, registry)
	s.tls = newTLSObserver(registry)

	if err := s.openTrail(registry, out); err != nil {
		return nil, err
	}
	if err := s.openTracer(registry); err != nil {
		return nil, err
	}
	if err := s.openVerifier(); err != nil {
		return nil, err
	}
	s.openAPIKeys()
	if err := s.openShared(registry); err != nil {
		return nil, err
	}
	if err := s.openTelnyx(registry); err != nil {
		return nil, err
	}
	users, err := s.openDirectory()
	if err != nil {
		return nil, err
	}
	if err := s.openMachine(); err != nil {
		return nil, err
	}
	registry.MustRegister(newKeptCollector(s.measured()))
	metrics := handler.NewMetrics(registry)
	s.handler, err = handler.New(handler.Config{
		Verifier: s.verifier, Policy: policyOf(cfg.Issuers), Directory: users, DirectoryName: cfg.Directory.name(), Vendor: s.machine,
		OpenAPI: tokensvc.OpenAPI, ClientModule: web.Client, BasePath: cfg.BasePath, TrustedProxies: cfg.TrustedProxies,
		Origins: cfg.CORSOrigins, Cookies: usesCookies(cfg.Issuers), DPoP: usesDPoP(cfg.Issuers),
		UserPerMinute: cfg.Limits.UserPerMinute, UserBurst: cfg.Limits.UserBurst,
		AddressPerMinute: cfg.Limits.AddressPerMinute, AddressBurst: cfg.Limits.AddressBurst, SharedRate: s.sharedRate(),
		InFlight: cfg.Limits.InFlight, Timeout: cfg.Limits.RequestTimeout,
		Tracer: s.tracer, TrustParent: cfg.Tracing.TrustParent == trustAnybody,
		Trail: s.trail, Metrics: metrics, Log: log, Issued: s.issued, Now: now,
	})
	if err != nil {
		return nil, err
	}
	s.ops = handler.NewOps(s.readiness, registry)
	if err := s.administer(metrics); err != nil {
		return nil, err
	}
	return s, s.openListeners()
}

// openDirectory opens the directory, and follows it if it is a file.
func (s *service) openDirectory() (finder, error) {
	if s.cfg.Directory.isDatabase() {
		var err error
		if s.database, err = s.cfg.openDatabase(s.client, s.background, s.observer); err != nil {
			return nil, err
		}
		return s.database.finder, nil
	}
	s.observer.directoryIs(nil) // neither of the others can go away once it has been opened
	if s.cfg.Users != nil {
		s.follow("users file", s.cfg.Directory.Value, func() outcome { return outcomeOf(s.cfg.Users.Reload()) })
	}
	return s.cfg.openDirectory()
}

// openVerifier reads the files that the issuers need, and follows them.
func (s *service) openVerifier() error {
	issuers, err := s.cfg.openIssuers(s.follow)
	if err != nil {
		return err
	}
	cfg := s.cfg.authz(issuers)
	cfg.OnFetch = s.observer.fetch
	if s.tracer != nil {
		cfg.Around = s.tracer.ToIssuer
	}
	if path := s.cfg.DPoPNonceKeyFile; path != "" {
		key, err := openSecretFile(path, readNonceKey)
		if err != nil {
			return fmt.Errorf("dpop_nonce_key_file: %w", err)
		}
		s.follow("key of nonces", path, key.readAgain)
		cfg.NonceKey = key.Text
	}
	s.verifier, err = authz.New(cfg)
	s.followKeys()
	return err
}

// readiness says what the service needs and whether it is there. A database must
// have answered once. One that goes away later does not make the service unready:
// all replicas would be, and callers told nothing in place of what is the matter.
// Nor does Telnyx, whatever it does or says of our keys: it does so to all replicas,
// and the tokens that they keep would reach nobody. What cannot be recorded does, if then
// no token is handed out: mostly it is one machine's disk.
func (s *service) readiness() handler.Readiness {
	directory, opened := s.observer.directory()
	records, granting := s.records()
	parts := map[string]string{"directory": directory, "telnyx": s.observer.telnyx(len(s.keys)), "audit": records}
	for _, i := range s.cfg.Issuers {
		parts["issuer "+i.Name] = "ok"
	}
	for _, name := range s.verifier.Missing() {
		parts["issuer "+name] = "its keys, or where to ask it, have not been fetched yet"
	}
	if s.shared != nil { // without it, it is only slower
		parts["shared cache"] = s.sharedObserver.text()
	}
	return handler.Readiness{Ready: opened && granting && s.verifier.Ready(), Parts: parts}
}

// run serves until ctx is done and every request in flight has been answered.
// Requests have contexts of their own: a stop does not cancel them.
func (s *service) run(ctx context.Context) error {
	var background sync.WaitGroup
	defer s.closeTrail()
	defer s.closeBooks()
	defer s.closeShared()
	defer background.Wait()
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	background.Go(func() { s.verifier.Run(working) })
	background.Go(func() { s.keepReloading(working) })
	background.Go(func() { s.trail.Run(working) })
	_ = s.trail.Begin() // readiness tells
	if s.shared != nil {
		background.Go(func() { s.shared.Run(working) })
	}
	for _, work := range s.bookkeeping() {
		background.Go(func() { work(working) })
	}

	failed := make(chan error, len(s.listeners()))
	started := s.log.Info().Str("version", version)
	for _, l := range s.listeners() {
		started.Str(l.setting, l.addr())
		go func() { failed <- l.serve() }()
	}
	started.Msg("serving")
	select {
	case err := <-failed:
		return errors.Join(err, s.shutdown(0))
	case <-ctx.Done():
		return s.shutdown(s.cfg.Limits.DrainDelay)
	}
}

// shutdown says that the service is not ready, goes on for a while so that
// whoever sends requests can notice, and then waits for those in flight.
func (s *service) shutdown(delay time.Duration) error {
	s.ops.Stopping()
	s.draining.Store(true)
	s.log.Info().Dur("delay_ms", delay).Msg("stopping")
	<-time.After(delay)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Limits.DrainTimeout)
	defer cancel()
	err := s.drain(ctx)
	err = errors.Join(err, s.operators.server.Shutdown(ctx))
	s.machine.Close()
	s.handler.Close()
	s.pacer.Close()
	s.client.CloseIdleConnections()
	s.background.CloseIdleConnections()
	s.closeTracer()
	s.log.Info().Msg("stopped")
	return err
}

// drain waits for the callers' requests in flight, on all listeners at once.
func (s *service) drain(ctx context.Context) error {
	drained := make(chan error, len(s.callers))
	for _, l := range s.callers {
		go func() { drained <- l.server.Shutdown(ctx) }()
	}
	var failed error
	for range s.callers {
		failed = cmp.Or(failed, <-drained)
	}
	if failed == nil {
		return nil
	}
	for _, l := range s.callers {
		_ = l.server.Close()
	}
	return fmt.Errorf("requests were still in flight after %v: %w", s.cfg.Limits.DrainTimeout, failed)
}
