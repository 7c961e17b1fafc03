package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
)

// TLSConfig says how a listener proves who it is, and who may connect.
type TLSConfig struct {
	// CertFile and KeyFile hold the certificate with its chain, and its private
	// key, in PEM. Both or neither: then the listener speaks plain HTTP.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities, in PEM, of which every client must
	// show a certificate. Optional.
	ClientCAFile string
}

// A pemFile is one of the files of a listener.
type pemFile struct {
	field string // like "cert_file"
	what  string // in the log and in the metric
	path  string // "" if there is none
}

func (c TLSConfig) files() [3]pemFile {
	return [3]pemFile{
		{"cert_file", "certificate", c.CertFile},
		{"key_file", "private key", c.KeyFile},
		{"client_ca_file", "client authorities", c.ClientCAFile},
	}
}

const maxPEMFile = 1 << 20 // bytes

// A certificate is what a listener proves itself with. It follows its files.
type certificate struct {
	files   [3]pemFile
	current atomic.Pointer[tls.Config]
	held    [3][]byte // by the files, of what is in force
	told    [3][]byte // of that, what readAgain has told
}

// newCertificate reads the files. The error is one or several of certificateError.
func newCertificate(files TLSConfig) (*certificate, error) {
	c := &certificate{files: files.files()}
	_, err := c.read()
	c.told = c.held
	return c, err
}

// A certificateError says which file is wrong, and repeats nothing of it.
type certificateError struct {
	field string // like "cert_file"
	err   error
}

func (e *certificateError) Error() string { return e.field + ": " + e.err.Error() }
func (e *certificateError) Unwrap() error { return e.err }

// read reads the files, and returns what they hold. Unless that fits together,
// what was read before stays.
func (c *certificate) read() (held [3][]byte, err error) {
	var unread []error
	for n, f := range c.files {
		if f.path == "" {
			continue
		}
		text, err := readSmallFile(f.path, maxPEMFile, "certificates or a key")
		if err != nil {
			unread = append(unread, &certificateError{f.field, err})
			continue
		}
		held[n] = []byte(text)
	}
	if len(unread) > 0 {
		return held, errors.Join(unread...)
	}
	if c.current.Load() != nil && slices.EqualFunc(held[:], c.held[:], bytes.Equal) {
		return held, nil
	}
	next, err := tlsOf(held[0], held[1], held[2])
	if err != nil {
		return held, err
	}
	c.current.Store(next)
	c.held = held
	return held, nil
}

// readAgain reads the files again, and returns what came of the one with that
// number. While one of them is being replaced they do not fit together; then
// those are refused that are new or gone, and the others are still in force.
func (c *certificate) readAgain(n int) outcome {
	held, err := c.read()
	if err != nil && (held[n] == nil || !bytes.Equal(held[n], c.held[n])) {
		return outcome{refused: err}
	}
	changed := !bytes.Equal(c.held[n], c.told[n])
	c.told[n] = c.held[n]
	return outcome{changed: changed}
}

// tlsOf makes what a server takes. authorities are nil for none: a file that is
// empty is one that is being written, and no reason to let everybody connect.
func tlsOf(cert, key, authorities []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil { // whose text could quote the file
		return nil, &certificateError{"cert_file", errors.New("is not a certificate in PEM that fits the key_file")}
	}
	cfg := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if authorities == nil {
		return cfg, nil
	}
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, &certificateError{"client_ca_file", errors.New("holds no certificate in PEM")}
	}
	return cfg, nil
}

// config is for a server, which asks for every connection what holds now.
func (c *certificate) config() *tls.Config {
	cfg := c.current.Load().Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil }
	return cfg
}

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
