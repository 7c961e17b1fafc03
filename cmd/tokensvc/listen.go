package main

import (
	"context"
	"errors"
	"net"
	"syscall"

	"golang.org/x/net/netutil"
)

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
	setting string // "listen" or "ops_listen"
	why     error
}

func (e *listenError) Error() string { return e.setting + ": " + e.why.Error() }
func (e *listenError) Unwrap() error { return e.why }

// listenOn opens a listener that has at most so many connections open at once.
// More wait in the kernel's queue, which is short.
func listenOn(ctx context.Context, setting, address string, connections int) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &listenError{setting, whyNot(err)}
	}
	return netutil.LimitListener(l, connections), nil
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
