package main

import (
	"context"
	"errors"
	"flag"
	"io"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/roster"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// books are the directory's, wherever they are. A user is named as people write
// it: with a single issuer, its name may be left out.
type books interface {
	users(ctx context.Context, after, search string, limit int) (page []handler.UserAnswer, next string, err error)
	user(ctx context.Context, user string) (handler.UserAnswer, error)
	// mayAdd returns a usageError if a user is to be put in whose name has a colon, and
	// before it what is no issuer's name, or who could never be anybody; and if what
	// is put in has a device that is never looked at.
	mayAdd(ctx context.Context, user string, device directory.Device) error
	// put makes a user who is not there, or gives one who is there this name.
	put(ctx context.Context, user, name string, there bool) (handler.UserAnswer, error)
	disable(ctx context.Context, user string) (handler.UserAnswer, error)
	enable(ctx context.Context, user string) (handler.UserAnswer, error)
	remove(ctx context.Context, user string, keep bool) error
	assign(ctx context.Context, user string, device directory.Device, id telnyx.CredentialID) error
	unassign(ctx context.Context, user string, device directory.Device, keep bool) error
	events(ctx context.Context, user string, before int64, limit int) ([]handler.EventAnswer, error)
	// take imports a list. What is wrong with a line is told; the error is about
	// all of it, or its rest.
	take(ctx context.Context, list newcomers) (tally, error)
	// firstLogin says what a login needs of somebody who has no credential. %[1]s is
	// the user.
	firstLogin() string
	close() error
}

// What a login needs of somebody who has no credential.
const (
	loginCreates = "the next login creates a credential"
	loginNeeds   = "give one: tokensvc users add %[1]s -credential UUID"
)

// errNoUser says that the user, or the user's device, is not in the books.
var errNoUser = errors.New("not in the directory")

// A noDeviceError is an errNoUser that says what a user lacks.
type noDeviceError struct {
	user   string
	device directory.Device
}

func (e *noDeviceError) Error() string { return e.user + " has no device " + string(e.device) }

// Is implements errors.Is.
func (e *noDeviceError) Is(target error) bool { return target == errNoUser }

// newcomers are a list to be taken in.
type newcomers struct {
	from           io.Reader
	again          func() (io.Reader, error) // reads it from its beginning, if it is atomic and no dry run
	format         roster.Format
	dryRun, atomic bool
	wrong          func(line int, text string)
}

// A tally is what became of a list's lines, or would.
type tally struct {
	roster.Tally
	DryRun bool `json:"dry_run"`
}

// whereBooks says where the directory's books are.
type whereBooks struct {
	config, server, tokenFile string
	trust                     serverTrust

	audit AuditConfig // zero if a service keeps the records
}

func (w *whereBooks) declare(flags *flag.FlagSet) {
	flags.StringVar(&w.config, "config", "", "`file` in YAML that names the directory; without one, environment variables alone")
	flags.StringVar(&w.server, "server", "", "`URL` of a service's ops listener, to go by its admin API instead of the database")
	flags.StringVar(&w.tokenFile, "token-file", "", "`file` with the token for the admin API")
	flags.StringVar(&w.trust.caFile, "ca-file", "", "`file` of authorities in PEM that the service's certificate is of; without one, this machine's")
	flags.StringVar(&w.trust.certFile, "cert-file", "", "`file` with the client certificate in PEM, for a service that wants one")
	flags.StringVar(&w.trust.keyFile, "key-file", "", "`file` with its private key")
}

// open opens the books. Those that there are none of yet are made if they are to
// be filled.
func (w *whereBooks) open(ctx context.Context, environ []string, fill bool) (books, error) {
	switch {
	case w.server != "" && w.config != "":
		return nil, misused("either -config or -server: the directory is reached in one way")
	case (w.server == "") != (w.tokenFile == ""):
		return nil, misused("-server and -token-file go together")
	case w.server == "" && w.trust != serverTrust{}:
		return nil, misused("-ca-file, -cert-file and -key-file are about the -server")
	case w.server != "":
		return openServer(w.server, w.tokenFile, w.trust)
	}
	cfg, problems := loadAlone(w.config, environ)
	switch {
	case len(problems) > 0:
		return nil, usageError{joined(problems)}
	case !cfg.Directory.isDatabase():
		return nil, usageError{errNoDatabase}
	}
	w.audit = cfg.Audit
	return cfg.openBooks(ctx, fill)
}
