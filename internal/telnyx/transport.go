package telnyx

import (
	"compress/flate"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// newTransport keeps as many connections as it may open. The default of two
// idle ones a host makes every burst of mints open its connections anew, a
// TLS handshake each.
func newTransport(cfg Config) (*http.Transport, *dialer) {
	step := cfg.Timeout / 4
	d := &dialer{patience: step / 2, dial: (&net.Dialer{
		Timeout: step,
		// A connection whose other end vanished is found out in 30 s.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}).DialContext}
	return &http.Transport{
		Proxy:               cfg.Proxy,
		DialContext:         d.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: step,
		// Half of the call: an attempt on a connection that died unnoticed
		// leaves time for another one.
		ResponseHeaderTimeout: 2 * step,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: step},
		MaxConnsPerHost:       cfg.MaxConnections,
		MaxIdleConnsPerHost:   cfg.MaxConnections,
		MaxIdleConns:          cfg.MaxConnections,
		// Below the 60 s after which common load balancers hang up.
		IdleConnTimeout:        50 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}, d
}

// What a transport's error is called in ours. The errors of net/http, crypto
// and encoding packages quote what they stumbled over, and that came over the
// wire, so only constants and errno leave this file.
var (
	errNoSuchHost  = errors.New("no such host")
	errNameLookup  = errors.New("the host name could not be looked up")
	errUnknownCA   = errors.New("the certificate is signed by an unknown authority")
	errOtherName   = errors.New("the certificate is for another name")
	errCertificate = errors.New("the certificate is not valid")
	errHandshake   = errors.New("the TLS handshake failed")
	errNotTLS      = errors.New("the server speaks plain HTTP, not TLS")
	errClosed      = errors.New("the connection was closed before the answer was complete")
	errTimedOut    = errors.New("an attempt took too long")
	errCompression = errors.New("the body is not the gzip it says it is")
	errConnection  = errors.New("the connection failed")
	errNotHTTP     = errors.New("the answer is not HTTP")
)

// broken is the error of an attempt that the network cut short. answered says
// that the head of an answer had begun: when nothing else explains the
// failure, it was malformed.
func broken(err error, answered bool) *Error {
	cause := safeCause(err)
	switch {
	case errors.Is(cause, errTimedOut):
		return &Error{Kind: ErrTimeout, cause: cause}
	case errors.Is(cause, errCompression):
		return &Error{Kind: ErrBadAnswer, cause: cause}
	case errors.Is(cause, errConnection) && answered:
		return &Error{Kind: ErrBadAnswer, cause: errNotHTTP}
	}
	return &Error{Kind: ErrUnavailable, cause: cause}
}

// safeCause translates a transport's error, most telling class first.
func safeCause(err error) error {
	var timeout interface{ Timeout() bool }
	var errno syscall.Errno
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errTimedOut
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return errClosed
	}
	for _, class := range []func(error) error{nameCause, tlsCause, gzipCause} {
		if cause := class(err); cause != nil {
			return cause
		}
	}
	return errConnection
}

func nameCause(err error) error {
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case !ok:
		return nil
	case dns.IsNotFound:
		return errNoSuchHost
	}
	return errNameLookup
}

func tlsCause(err error) error {
	switch {
	case is[x509.UnknownAuthorityError](err):
		return errUnknownCA
	case is[x509.HostnameError](err):
		return errOtherName
	case is[x509.CertificateInvalidError](err), is[*tls.CertificateVerificationError](err):
		return errCertificate
	case errors.Is(err, http.ErrSchemeMismatch):
		return errNotTLS
	case is[tls.RecordHeaderError](err):
		return errHandshake
	}
	return nil
}

func gzipCause(err error) error {
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || is[flate.CorruptInputError](err) {
		return errCompression
	}
	return nil
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
