package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
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

// paths returns the files that there are.
func (c TLSConfig) paths() []string {
	return slices.DeleteFunc([]string{c.CertFile, c.KeyFile, c.ClientCAFile}, func(p string) bool { return p == "" })
}

const maxPEMFile = 1 << 20 // bytes

// A certificate is what a listener proves itself with. It follows its files.
type certificate struct {
	files   TLSConfig
	current atomic.Pointer[tls.Config]
	seen    [3][]byte // what the files held
}

// newCertificate reads the files. The error names the setting that is wrong, as
// the key below the listener's, and repeats nothing of the files.
func newCertificate(files TLSConfig) (*certificate, error) {
	c := &certificate{files: files}
	_, err := c.Reload()
	return c, err
}

// A certificateError says which file is wrong.
type certificateError struct {
	field string // like "cert_file"
	err   error
}

func (e *certificateError) Error() string { return e.field + ": " + e.err.Error() }
func (e *certificateError) Unwrap() error { return e.err }

// Reload reads the files again. If they do not fit together, which is so while
// one of them is being replaced, what was read before stays.
func (c *certificate) Reload() (changed bool, err error) {
	var held [3][]byte
	for i, f := range []struct{ field, path string }{
		{"cert_file", c.files.CertFile}, {"key_file", c.files.KeyFile}, {"client_ca_file", c.files.ClientCAFile},
	} {
		if f.path == "" {
			continue
		}
		if held[i], err = readPEM(f.path); err != nil {
			return false, &certificateError{f.field, err}
		}
	}
	if c.current.Load() != nil && bytes.Equal(held[0], c.seen[0]) && bytes.Equal(held[1], c.seen[1]) && bytes.Equal(held[2], c.seen[2]) {
		return false, nil
	}
	next, err := tlsOf(held[0], held[1], held[2])
	if err != nil {
		return false, err
	}
	c.current.Store(next)
	c.seen = held
	return true, nil
}

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
	if len(authorities) == 0 {
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

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPEMFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(data) > maxPEMFile {
		return nil, errors.New("the file is larger than 1 MiB")
	}
	return data, nil
}
