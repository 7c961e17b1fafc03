package authz

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
)

// Evidence is what a request shows of who sends it. Nothing in it is verified,
// and nothing else of a request is looked at.
type Evidence struct {
	Header http.Header // as received, names in canonical form
	Method string      // what a DPoP proof must be for, and
	Path   string      // where: below the service's public address, like "/v1/token"

	// RemoteAddr is the "address:port" that opened the connection, never what a
	// header says of it.
	RemoteAddr string
	// Certificate is the client's, already verified by the listener, or nil.
	Certificate *x509.Certificate
	// ProxyListener says that the request came in where only the trusted proxy
	// is listened to.
	ProxyListener bool
}

// Format implements fmt.Formatter for every verb: the headers hold secrets.
func (Evidence) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// What may be wrong before there is anything to verify.
var (
	// ErrUnauthenticated says that no credential was sent, of the kinds that are
	// configured.
	ErrUnauthenticated = errors.New("no credential was sent")
	// ErrAmbiguous says that more than one credential was sent. Which of them
	// should count is not for us to guess: whoever could add one to another's
	// request would otherwise choose who is meant.
	ErrAmbiguous = errors.New("more than one credential was sent")
)
