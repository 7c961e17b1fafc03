package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The names of the files of a server that speaks TLS.
const (
	caFile   = "ca.pem"
	certFile = "certificate.pem"
	keyFile  = "key.pem"
)

// writeCertificates writes an authority's certificate, and one that it signed for
// this machine, with its key.
func writeCertificates(dir string) error {
	authority, err := newCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "redistest"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return err
	}
	server, err := newCertificate(&x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.key)
	if err != nil {
		return err
	}
	return errors.Join(
		writePEM(filepath.Join(dir, caFile), "CERTIFICATE", authority.Raw),
		writePEM(filepath.Join(dir, certFile), "CERTIFICATE", server.Raw),
		writePEM(filepath.Join(dir, keyFile), "PRIVATE KEY", key))
}

type certificate struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// newCertificate signs a certificate, by itself if there is no authority.
func newCertificate(template *x509.Certificate, authority *certificate) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if authority == nil {
		authority = &certificate{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Certificate, &key.PublicKey, authority.key)
	if err != nil {
		return nil, err
	}
	made, err := x509.ParseCertificate(der)
	return &certificate{made, key}, err
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
