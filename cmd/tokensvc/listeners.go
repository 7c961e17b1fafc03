package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"github.com/tokensvc/tokensvc/internal/authz"
)

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

// A listener is an address and who answers there.
type listener struct {
	setting string // that says where it listens
	address string
	most    int // connections at once
	server  *http.Server
	tls     *certificate // nil for plain HTTP
	open    net.Listener // once it listens
}

// openListeners makes the listeners, and reads and follows their certificates.
// They do not listen yet.
func (s *service) openListeners() error {
	public := &listener{setting: "listen", address: s.cfg.Listen, most: s.files.callers, server: s.newServer(s.lastAnswer(s.handler))}
	s.callers = []*listener{public}
	s.operators = &listener{setting: "ops_listen", address: s.cfg.OpsListen, most: s.files.operators, server: s.newServer(s.ops)}
	if s.cfg.ProxyListen == "" {
		return nil
	}
	proxy := &listener{
		setting: "proxy_listen", address: s.cfg.ProxyListen, most: s.files.callers,
		server: s.newServer(s.lastAnswer(s.handler.ProxyListener())),
	}
	s.callers = append(s.callers, proxy)
	if s.cfg.ProxyTLS.CertFile == "" {
		return nil
	}
	var err error
	if proxy.tls, err = newCertificate(s.cfg.ProxyTLS); err != nil {
		return err
	}
	proxy.server.TLSConfig = proxy.tls.config()
	proxy.server.ConnContext = proxy.tls.admit
	proxy.server.Handler = proxy.tls.asOfNow(proxy.server.Handler)
	for n, f := range s.cfg.ProxyTLS.files() {
		if f.path != "" {
			s.follow(f.what+" of proxy_listen", f.path, func() outcome { return proxy.tls.readAgain(n) })
		}
	}
	return nil
}

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

// listen opens all listeners, or none. It must be called once, before run.
func (s *service) listen(ctx context.Context) error {
	var opened []*listener
	for _, l := range s.listeners() {
		open, err := listenOn(ctx, l.address)
		if err != nil {
			for _, o := range opened {
				_ = o.open.Close()
			}
			return &listenError{l.setting, err}
		}
		l.open = atMost(open, l.most)
		opened = append(opened, l)
	}
	return nil
}

// listeners are all of them, the callers' first.
func (s *service) listeners() []*listener { return append(slices.Clone(s.callers), s.operators) }

// serve serves until the server is shut down.
func (l *listener) serve() error {
	if l.tls != nil {
		return l.server.ServeTLS(l.open, "", "")
	}
	return l.server.Serve(l.open)
}

// addr returns the address that is listened to.
func (l *listener) addr() string { return l.open.Addr().String() }

// Why an address cannot be listened on. The system's words would repeat the
// address, or what was asked of the name server for it.
var (
	errTaken       = errors.New("the address is taken")
	errForbidden   = errors.New("this user may not listen there: permission denied")
	errNotOurs     = errors.New("the address is not one of this machine's")
	errUnknownHost = errors.New("the host's name cannot be looked up")
	errListen      = errors.New("the address cannot be listened on")
)

// listenError says which setting's address cannot be listened on, and why.
type listenError struct {
	setting string // like "ops_listen"
	why     error
}

func (e *listenError) Error() string { return e.setting + ": " + e.why.Error() }
func (e *listenError) Unwrap() error { return e.why }

// listenOn opens a listener, or says why it cannot.
func listenOn(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, whyNot(err)
	}
	return l, nil
}

// atMost lets a listener have so many connections open at once. More wait in the
// kernel's queue, which is short.
func atMost(l net.Listener, connections int) net.Listener {
	return netutil.LimitListener(l, connections)
}

// whyNot returns the kind of an error of net.Listen's.
func whyNot(err error) error {
	_, unknown := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return errTaken
	case errors.Is(err, syscall.EACCES):
		return errForbidden
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return errNotOurs
	case unknown:
		return errUnknownHost
	}
	return errListen
}
