package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bounds of a question to a process on this machine.
const (
	askTimeout = 3 * time.Second
	askBytes   = 64 << 10
)

// A neighbour is a listener of a service on this machine.
type neighbour struct {
	address string
	tls     TLSConfig // without a certificate it speaks plain HTTP
}

// dialable is where to reach somebody who listens on the address: whoever
// listens everywhere does so here too.
func dialable(address string) string {
	host, port, _ := net.SplitHostPort(address)
	if isAnyHost(host) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// get asks, and returns a short answer.
//
// A certificate is not looked at. Its names are not those by which a process is
// reached on its own machine, and what its file holds may be refused or not read yet,
// while the service is well: a probe that failed then would end it. Nothing secret is
// sent, and who else could listen in its place could without TLS.
func (n neighbour) get(ctx context.Context, path string) (status int, body string, err error) {
	if n.tls.CertFile == "" {
		return get(ctx, "http://"+n.address+path, nil)
	}
	return get(ctx, "https://"+n.address+path, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // as said above
}

// get asks a process on this machine, and returns a short answer.
func get(ctx context.Context, address string, trust *tls.Config) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // who answers here is asked, and nobody else
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(io.LimitReader(res.Body, askBytes))
	return res.StatusCode, strings.TrimSpace(string(content)), err
}
