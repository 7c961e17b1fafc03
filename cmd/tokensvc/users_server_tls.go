package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// serverTrust says whom to take for the service at an https address, and who we are.
type serverTrust struct {
	caFile            string // "" for this machine's authorities
	certFile, keyFile string // "" for no client certificate
}

func (s serverTrust) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.caFile != "" {
		text, err := readSmallFile(s.caFile, maxPEMFile, "certificates")
		if err != nil {
			return nil, fmt.Errorf("-ca-file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(text)) {
			return nil, errors.New("-ca-file: holds no certificate in PEM")
		}
	}
	if (s.certFile == "") != (s.keyFile == "") {
		return nil, errors.New("-cert-file and -key-file go together")
	}
	if s.certFile == "" {
		return cfg, nil
	}
	cert, err := readSmallFile(s.certFile, maxPEMFile, "a certificate")
	if err != nil {
		return nil, fmt.Errorf("-cert-file: %w", err)
	}
	key, err := readSmallFile(s.keyFile, maxPEMFile, "a key")
	if err != nil {
		return nil, fmt.Errorf("-key-file: %w", err)
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil { // whose text could quote a file
		return nil, errors.New("-cert-file: is not a certificate in PEM that fits the -key-file")
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}
