package shared

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"github.com/tokensvc/tokensvc/internal/crash"
)

// What Redis refuses to do, and why. Its own words can repeat what was asked, so
// only their first leaves this file, as one of these.
var (
	errLogin      = errors.New("it refuses the login: user or password are wrong, or missing")
	errACL        = errors.New("its ACL does not let the user do what is needed")
	errFull       = errors.New("it is full: nothing more can be stored")
	errReadOnly   = errors.New("it is a replica, which takes no writes")
	errLoading    = errors.New("it is loading its data")
	errScript     = errors.New("it is busy with a script")
	errDisk       = errors.New("it takes no writes because it cannot save them")
	errCluster    = errors.New("it is a part of a cluster, which needs a proxy in front of it")
	errType       = errors.New("there is something else under a name of ours")
	errNoDatabase = errors.New("it has no database of that number")
	errRefused    = errors.New("it refuses a command")
)

// refusalWords are the first words of Redis's errors.
var refusalWords = []struct {
	word string
	err  error
}{
	{"NOAUTH", errLogin}, {"WRONGPASS", errLogin}, {"NOPERM", errACL}, {"OOM", errFull}, {"READONLY", errReadOnly},
	{"LOADING", errLoading}, {"MASTERDOWN", errLoading}, {"BUSY", errScript}, {"MISCONF", errDisk},
	{"MOVED", errCluster}, {"ASK", errCluster}, {"CLUSTERDOWN", errCluster}, {"CROSSSLOT", errCluster}, {"WRONGTYPE", errType},
}

// refusalOf says in our words why Redis refuses something. Before its version 7, what
// a command in a script was refused for stands further behind.
func refusalOf(err error) error {
	text := err.Error()
	for _, known := range refusalWords {
		if strings.HasPrefix(text, known.word+" ") || strings.Contains(text, " -"+known.word+" ") {
			return known.err
		}
	}
	switch {
	case strings.Contains(text, "AUTH") && strings.Contains(text, "password"): // a password where none is set
		return errLogin
	case strings.Contains(text, "can't run this command"), strings.Contains(text, "can't access"): // in a script
		return errACL
	case strings.Contains(text, "DB index"):
		return errNoDatabase
	}
	return errRefused
}

// refusals bounds how often one is told.
type refusals struct {
	mu   sync.Mutex
	last map[error]time.Time
}

const tellAgain = time.Minute

func (f *refusals) news(reason error, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, told := f.last[reason]
	if told && now.Sub(last) < tellAgain {
		return false
	}
	if f.last == nil {
		f.last = map[error]time.Time{}
	}
	f.last[reason] = now
	return true
}

// What a connection's error is called in ours. The errors of net and crypto quote
// what they stumbled over, and that came over the wire.
var (
	errClosed      = errors.New("the connection was closed")
	errConnection  = errors.New("the connection failed")
	errNoSuchHost  = errors.New("no such host")
	errNameLookup  = errors.New("the host name could not be looked up")
	errUnknownCA   = errors.New("the certificate is signed by an unknown authority")
	errOtherName   = errors.New("the certificate is for another name")
	errCertificate = errors.New("the certificate is not valid")
	errNotTLS      = errors.New("it does not speak TLS")
)

// passwordError says that there is no password to be had: a file's matter, not
// Redis's.
type passwordError struct{ cause error }

func (e *passwordError) Error() string { return "the password cannot be had: " + e.cause.Error() }
func (e *passwordError) Unwrap() error { return e.cause }

// inOurWords translates what ended a connection, or kept it from being made.
func inOurWords(err error) error {
	var timeout interface{ Timeout() bool }
	var errno syscall.Errno
	switch {
	case is[*crash.Error](err), is[*passwordError](err), errors.Is(err, errProtocol), errors.Is(err, errSlow), errors.Is(err, errReadOnly):
		return err
	case is[*rueidis.RedisError](err):
		return refusalOf(err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return errSlow
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled):
		return errClosed
	}
	if cause := nameOrTLS(err); cause != nil {
		return cause
	}
	return errConnection
}

func nameOrTLS(err error) error {
	dns, ok := errors.AsType[*net.DNSError](err)
	switch {
	case ok && dns.IsNotFound:
		return errNoSuchHost
	case ok:
		return errNameLookup
	case is[x509.UnknownAuthorityError](err):
		return errUnknownCA
	case is[x509.HostnameError](err):
		return errOtherName
	case is[x509.CertificateInvalidError](err), is[*tls.CertificateVerificationError](err):
		return errCertificate
	case is[tls.RecordHeaderError](err):
		return errNotTLS
	}
	return nil
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
