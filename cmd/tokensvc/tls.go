package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"
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

// isHalf reports whether something is missing without which the rest is of no use.
func (c TLSConfig) isHalf() bool {
	return (c.CertFile == "") != (c.KeyFile == "") || c.CertFile == "" && c.ClientCAFile != ""
}

// certificates are the TLSConfigs of all listeners, each by what its keys begin with.
func (c Config) certificates() iter.Seq2[string, TLSConfig] {
	return func(yield func(string, TLSConfig) bool) {
		_ = yield("tls.", c.TLS) && yield("ops_tls.", c.OpsTLS) && yield("proxy_tls.", c.ProxyTLS)
	}
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
	clients tls.ClientAuthType // if there are authorities
	current atomic.Pointer[tls.Config]
	held    [3][]byte // by the files, of what is in force
	told    [3][]byte // of that, what readAgain has told
}

// newCertificate reads the files. clients says what is asked of those who connect,
// if there are authorities. The error is one or several of certificateError.
func newCertificate(files TLSConfig, clients tls.ClientAuthType) (*certificate, error) {
	c := &certificate{files: files.files(), clients: clients}
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
	next, err := tlsOf(held[0], held[1], held[2], c.clients)
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
func tlsOf(cert, key, authorities []byte, clients tls.ClientAuthType) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil { // whose text could quote the file
		return nil, &certificateError{"cert_file", errors.New("is not a certificate in PEM that fits the key_file")}
	}
	cfg := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: suites(),
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if authorities == nil {
		return cfg, nil
	}
	cfg.ClientAuth, cfg.ClientCAs = clients, x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, &certificateError{"client_ca_file", errors.New("holds no certificate in PEM")}
	}
	return cfg, nil
}

// suites are those of TLS 1.2 that encrypt and authenticate in one (AEAD) with a key
// of this connection alone. Those of TLS 1.3 all do, and cannot be chosen.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// end is when the certificate in force ends to be one, or an earlier one of its chain.
func (c *certificate) end() time.Time {
	pair := c.current.Load().Certificates[0]
	end := pair.Leaf.NotAfter
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil && cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return end
}

// config is for a server, which asks for every connection what holds now.
func (c *certificate) config() *tls.Config {
	cfg := c.current.Load().Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil }
	return cfg
}
