package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
)

type admittedBy struct{}

// admit remembers what a connection is admitted by.
func (c *certificate) admit(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, admittedBy{}, c.current.Load())
}

// asOfNow ends connections that were admitted by what no longer holds, with their
// next answer, and lets their certificate count for it only if it still would: a
// proxy keeps its connections for as long as they are used.
func (c *certificate) asOfNow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if now := c.current.Load(); r.Context().Value(admittedBy{}) != now {
			w.Header().Set("Connection", "close")
			if !admits(now, r.TLS) {
				r.TLS = nil
			}
		}
		next.ServeHTTP(w, r)
	})
}

func admits(cfg *tls.Config, conn *tls.ConnectionState) bool {
	if conn == nil || len(conn.PeerCertificates) == 0 || cfg.ClientCAs == nil {
		return false
	}
	between := x509.NewCertPool()
	for _, cert := range conn.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := conn.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: cfg.ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

// certified lets in whoever showed a certificate that counts, if there must be one,
// and anybody to the paths that are free. Where there are none the handshake has seen
// to it, and this is for connections whose certificate has ceased to count since.
func (c *certificate) certified(next http.Handler, free ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case c.current.Load().ClientCAs == nil, slices.Contains(free, r.URL.Path):
			next.ServeHTTP(w, r)
		case r.TLS == nil: // as asOfNow has it
			http.Error(w, "what this connection was admitted by no longer counts: make another", http.StatusMisdirectedRequest)
		case len(r.TLS.VerifiedChains) == 0:
			http.Error(w, "a client certificate is required", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
