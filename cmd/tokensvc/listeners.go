package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

	// Of HTTP/2, which is spoken over TLS only. A proxy sends what many people ask
	// over one connection; more streams than that wait in the client. How many
	// requests are served at once is limits.in_flight, however they come.
	maxStreams = 100
	// A connection on which nothing came for a while is asked whether it is there,
	// so that one whose peer is gone ends before idleTimeout, and one that stands
	// still in the middle of a header does at all.
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
	// What is sent to us at once and not read yet: bodies are at most a few KiB,
	// but for the admin API's imports.
	maxFrame      = 16 << 10
	streamBuffer  = 64 << 10
	connectBuffer = 256 << 10
)

// A listener is an address and who answers there.
type listener struct {
	setting string // that says where it listens
	address string
	most    int // connections at once
	server  *http.Server
	tls     *certificate // nil for plain HTTP
	free    []string     // paths at which nobody needs a client certificate
	judges  bool         // the handler looks at client certificates itself
	open    net.Listener // once it listens
}

// probes are the paths of the ops listener at which nobody needs a client
// certificate: those who look after processes have none, in a cluster or a container.
var probes = []string{"/livez", "/readyz"}

// openListeners makes the listeners, and reads and follows their certificates.
// They do not listen yet.
func (s *service) openListeners() error {
	s.callers = []*listener{s.newListener("listen", s.cfg.Listen, s.files.callers, s.lastAnswer(s.handler))}
	s.operators = s.newListener("ops_listen", s.cfg.OpsListen, s.files.operators, s.ops)
	s.operators.free = probes
	if err := s.certify(s.callers[0], s.cfg.TLS, tls.RequireAndVerifyClientCert); err != nil {
		return err
	}
	if err := s.certify(s.operators, s.cfg.OpsTLS, tls.VerifyClientCertIfGiven); err != nil {
		return err
	}
	if s.cfg.ProxyListen == "" {
		return nil
	}
	proxy := s.newListener("proxy_listen", s.cfg.ProxyListen, s.files.callers, s.lastAnswer(s.handler.ProxyListener()))
	proxy.judges = true
	s.callers = append(s.callers, proxy)
	return s.certify(proxy, s.cfg.ProxyTLS, tls.RequireAndVerifyClientCert)
}

func (s *service) newListener(setting, address string, most int, h http.Handler) *listener {
	return &listener{setting: setting, address: address, most: most, server: s.newServer(setting, h)}
}

// certify has a listener prove who it is, and ask clients to, as the files say now
// and whenever they change.
func (s *service) certify(l *listener, files TLSConfig, clients tls.ClientAuthType) error {
	if files.CertFile == "" {
		return nil
	}
	var err error
	if l.tls, err = newCertificate(files, clients); err != nil {
		return fmt.Errorf("TLS of %s: %w", l.setting, err)
	}
	l.server.TLSConfig = l.tls.config()
	l.server.ConnContext = l.tls.admit
	if !l.judges {
		l.server.Handler = l.tls.certified(l.server.Handler, l.free...)
	}
	l.server.Handler = lastInChunks(l.tls.asOfNow(l.server.Handler))
	s.tls.ends(l.setting, l.tls.end())
	for n, f := range files.files() {
		if f.path != "" {
			s.follow(f.what+" of "+l.setting, f.path, func() outcome {
				defer func() { s.tls.ends(l.setting, l.tls.end()) }()
				return l.tls.readAgain(n)
			})
		}
	}
	return nil
}

func (s *service) newServer(setting string, h http.Handler) *http.Server {
	return &http.Server{
		Handler: lastInChunks(h),

		DisableGeneralOptionsHandler: true, // it would go round the handler, and with it the end of a connection

		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      bodyTimeout + s.cfg.Limits.RequestTimeout + writeMargin,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             http2Bounds(),
		ErrorLog:          newErrorLog(s.log, func() { s.tls.failed(setting) }),
	}
}

func http2Bounds() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, PingTimeout: pingTimeout, WriteByteTimeout: bodyTimeout,
		MaxReadFrameSize: maxFrame, MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: connectBuffer,
	}
}

// lastInChunks has an HTTP/1 connection end with the answer to a request whose body comes
// in chunks, or may. Where a Content-Length says otherwise, net/http goes by the chunks and
// shows the length to nobody, and in HTTP/1.0 the other way round. A proxy that goes by what
// is not gone by here takes for a body what would be the next request, and then gives
// somebody the answer to somebody else's (RFC 9112 section 6.1).
func lastInChunks(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// lastAnswer closes connections politely while the service is stopping: with the
// answer, not under the next request. In HTTP/2, which has no such header, net/http
// says it by GOAWAY, and goes on with the streams that it has begun.
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
