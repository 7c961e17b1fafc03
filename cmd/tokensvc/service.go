package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/tokensvc/tokensvc"
	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// service is a tokensvc with its parts wired together.
type service struct {
	cfg      Config
	log      zerolog.Logger
	verifier *authz.Verifier
	client   *telnyx.Client
	machine  *vending.Machine
	handler  *handler.Service
	ops      *handler.Ops
	reloads  []reload

	public, private             *http.Server
	publicListen, privateListen net.Listener
	draining                    atomic.Bool
}

// newService builds every part and reads every file, but asks nothing of the
// network.
func newService(cfg Config, log zerolog.Logger) (*service, error) {
	s := &service{cfg: cfg, log: log}
	registry := newRegistry()
	observer := newObserver(log, registry)

	issuers, err := s.openIssuers()
	if err != nil {
		return nil, err
	}
	s.verifier, err = authz.New(authz.Config{Issuers: issuers, OnFetch: observer.keyFetch})
	if err != nil {
		return nil, err
	}
	s.followKeys()
	key := newSecretFile(cfg.Telnyx.APIKeyFile, readAPIKey, cfg.Telnyx.APIKey)
	s.client, err = telnyx.New(telnyx.Config{
		BaseURL: cfg.Telnyx.BaseURL, APIKey: key.Text, Timeout: cfg.Telnyx.Timeout,
		UserAgent: "tokensvc/" + version, Proxy: http.ProxyFromEnvironment,
	})
	if err != nil {
		return nil, err
	}
	s.machine, err = vending.New(vending.Config{Minter: s.client, MinLife: cfg.Vending.MinLife, OnMint: observer.mint})
	if err != nil {
		return nil, err
	}
	users, err := s.openDirectory()
	if err != nil {
		return nil, err
	}
	if key.path != "" {
		s.reloads = append(s.reloads, reload{"API key", key.path, key.Reload})
	}
	s.handler, err = handler.New(handler.Config{
		Verifier: s.verifier, Policy: policyOf(cfg.Issuers), Directory: users, Vendor: s.machine,
		OpenAPI: tokensvc.OpenAPI, BasePath: cfg.BasePath, Origins: cfg.CORSOrigins, TrustedProxies: cfg.TrustedProxies,
		UserPerMinute: cfg.Limits.UserPerMinute, UserBurst: cfg.Limits.UserBurst,
		InFlight: cfg.Limits.InFlight, Timeout: cfg.Limits.RequestTimeout,
		Metrics: handler.NewMetrics(registry), Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.ops = handler.NewOps(s.readiness, registry)
	return s, nil
}

// finder is a directory of either kind.
type finder interface {
	Find(ctx context.Context, q directory.Query) (telnyx.CredentialID, error)
}

func (s *service) openDirectory() (finder, error) {
	if s.cfg.Directory.Kind == "claim" {
		return directory.NewClaim(s.cfg.Directory.Value)
	}
	var names []string
	for _, i := range s.cfg.Issuers {
		names = append(names, i.Name)
	}
	users, err := directory.OpenFile(s.cfg.Directory.Value, names)
	if err != nil {
		return nil, err
	}
	s.reloads = append(s.reloads, reload{"users file", s.cfg.Directory.Value, users.Reload})
	return users, nil
}

// readiness says what the service needs and whether it is there. The directory
// is: neither kind can go away once it has been opened.
func (s *service) readiness() handler.Readiness {
	parts := map[string]string{"directory": "ok"}
	for _, i := range s.cfg.Issuers {
		parts["issuer "+i.Name] = "ok"
	}
	for _, name := range s.verifier.Missing() {
		parts["issuer "+name] = "its keys, or where to ask it, have not been fetched yet"
	}
	return handler.Readiness{Ready: s.verifier.Ready(), Parts: parts}
}

// Bounds on connections. The time to write an answer is what the request may
// take and a little for the line.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	writeMargin   = 5 * time.Second

	// A header holds a bearer, and whatever else browsers and proxies add.
	// Beyond it net/http itself answers 431.
	maxHeaderBytes = authz.MaxBearerBytes + 16<<10
)

func (s *service) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + s.cfg.Limits.RequestTimeout + writeMargin,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          newErrorLog(s.log),
	}
}

// listen opens both listeners. It must be called once, before run.
func (s *service) listen(ctx context.Context) error {
	var err error
	open := new(net.ListenConfig)
	if s.publicListen, err = open.Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return err
	}
	if s.privateListen, err = open.Listen(ctx, "tcp", s.cfg.OpsListen); err != nil {
		_ = s.publicListen.Close()
		return err
	}
	s.public = s.newServer(s.lastAnswer(s.handler))
	s.private = s.newServer(s.ops)
	return nil
}

// lastAnswer closes connections politely while the service is stopping: with the
// answer, not under the next request.
func (s *service) lastAnswer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// run serves until ctx is done and every request in flight has been answered.
// Requests have contexts of their own: a stop does not cancel them.
func (s *service) run(ctx context.Context) error {
	var background sync.WaitGroup
	defer background.Wait()
	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	background.Go(func() { s.verifier.Run(working) })
	background.Go(func() { s.keepReloading(working) })

	failed := make(chan error, 2)
	go func() { failed <- s.public.Serve(s.publicListen) }()
	go func() { failed <- s.private.Serve(s.privateListen) }()
	s.log.Info().Str("version", version).
		Str("listen", s.publicListen.Addr().String()).
		Str("ops_listen", s.privateListen.Addr().String()).
		Msg("serving")
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
	err := s.public.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were still in flight after %v: %w", s.cfg.Limits.DrainTimeout, err)
		_ = s.public.Close()
	}
	err = errors.Join(err, s.private.Shutdown(ctx))
	s.machine.Close()
	s.handler.Close()
	s.client.CloseIdleConnections()
	s.log.Info().Msg("stopped")
	return err
}
