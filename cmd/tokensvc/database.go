package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

var errNoDatabase = errors.New("the directory is no database: directory must be sqlite:PATH or postgres://…")

// openStore opens the directory that is a database. It does not yet touch a
// PostgreSQL.
func (c Config) openStore() (*store.Store, error) {
	cfg := store.Config{Connections: c.DirectoryConnections, Now: now}
	if c.Directory.Kind == "sqlite" {
		cfg.SQLite = c.Directory.Value
		return store.Open(cfg)
	}
	cfg.Postgres = c.Directory.Value
	switch {
	case c.DirectoryPasswordFile != "":
		cfg.Password = func() (secret.Text, error) { return readDatabasePassword(c.DirectoryPasswordFile) }
	case !c.Directory.Password.Empty():
		cfg.Password = func() (secret.Text, error) { return c.Directory.Password, nil }
	}
	return store.Open(cfg)
}

// prepareStore is for serve. It brings a database in a file to this version's
// schema, and looks whether a PostgreSQL has it: many use that one, so somebody
// decides when it changes, by `tokensvc migrate`.
func (c Config) prepareStore(ctx context.Context, s *store.Store) error {
	if c.Directory.Kind == "sqlite" {
		_, _, err := s.Migrate(ctx)
		return err
	}
	return s.Check(ctx)
}

// errNoFile says that there is nothing to look at.
var errNoFile = errors.New("there is no database yet: serve, users add and users import make it")

// openPrepared is for commands that do one thing with the database. There may be a
// service of an older version on it, so they change no schema. Only a file that has
// nothing in it is made one of, if they are to fill it: somebody else's, at a path
// misspelt, should not be.
func (c Config) openPrepared(ctx context.Context, fill bool) (*store.Store, error) {
	if !c.Directory.isDatabase() {
		return nil, errNoDatabase
	}
	there, empty := true, false
	if c.Directory.Kind == "sqlite" {
		there, empty = lookAtFile(c.Directory.Value)
	}
	if !there && !fill {
		return nil, errNoFile
	}
	s, err := c.openStore()
	if err != nil {
		return nil, err
	}
	if fill && empty {
		_, _, err = s.Migrate(ctx)
	} else {
		err = s.Check(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// lookAtFile reports whether there is a file, and whether there is nothing in it.
// One that cannot be looked at is taken to be there.
func lookAtFile(path string) (there, empty bool) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, true
	}
	return true, err == nil && info.Size() == 0
}

// finder is what a Finder of the directory takes. client creates credentials, if the
// configuration says so.
func (c Config) finder(s *store.Store, client *telnyx.Client, holder string) provisioning.Config {
	cfg := provisioning.Config{
		Store: s, Shared: c.Devices.Mode == "shared", Holder: holder,
		MaxDevices: c.Devices.Max, Replace: c.Devices.AtMax == "replace",
		MaxWaiting: max(c.Limits.InFlight/4, 1), Now: now,
	}
	p := c.Provision
	if p.ConnectionID == "" {
		return cfg
	}
	cfg.Telnyx, cfg.CallTimeout = client, c.Telnyx.Timeout
	cfg.ConnectionID, cfg.Instance = p.ConnectionID, p.Instance
	cfg.Everyone, cfg.Wait = p.Users == "everyone", p.FirstLogin == "wait"
	cfg.ReadyAfter, cfg.ExpiresAfter = p.ReadyAfter, p.ExpiresAfter
	return cfg
}

// database is a directory that is a database, and what keeps it and Telnyx in step.
type database struct {
	store *store.Store
	// background is for what nobody waits for: what it may retry when Telnyx is in
	// trouble is not taken from those who do.
	background *telnyx.Client
	finder     *provisioning.Finder
	remover    *provisioning.Remover
	reconciler *provisioning.Reconciler
	renewer    *provisioning.Renewer // nil if nothing expires by us
}

// openDatabase wires it. Nothing of it runs yet.
func (c Config) openDatabase(client, background *telnyx.Client, o *observer) (*database, error) {
	s, err := c.openStore()
	if err != nil {
		return nil, err
	}
	b := &database{store: s, background: background}
	if err := b.wire(c, client, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return b, nil
}

func (b *database) wire(c Config, client *telnyx.Client, o *observer) (err error) {
	holder := newHolder()
	finder := c.finder(b.store, client, holder)
	finder.OnCreate = o.created
	if b.finder, err = provisioning.NewFinder(finder); err != nil {
		return err
	}
	b.remover, err = provisioning.NewRemover(provisioning.RemoverConfig{
		Store: b.store, Telnyx: b.background, CallTimeout: c.Telnyx.Timeout, OnDelete: o.deleted, OnError: o.troubled("credentials cannot be deleted now"), Now: now,
	})
	if err != nil {
		return err
	}
	if b.reconciler, err = provisioning.NewReconciler(c.reconciler(b, holder)); err != nil {
		return err
	}
	if c.Provision.ExpiresAfter == 0 {
		return nil
	}
	b.renewer, err = provisioning.NewRenewer(provisioning.RenewerConfig{
		Store: b.store, Telnyx: b.background, ExpiresAfter: c.Provision.ExpiresAfter, Holder: holder,
		OnRenew: o.renewed, OnError: o.troubled("credentials cannot be renewed now"), Now: now,
	})
	return err
}

func (c Config) reconciler(b *database, holder string) provisioning.ReconcilerConfig {
	return provisioning.ReconcilerConfig{
		Store: b.store, Telnyx: b.background, Remover: b.remover, Holder: holder,
		Instance: c.Provision.Instance, ConnectionID: c.Provision.ConnectionID, MaxDevices: c.Devices.Max, Now: now,
	}
}

// newHolder names this process among all that use the database.
func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%.64s %d %s", host, os.Getpid(), rand.Text()[:8])
}

// close closes the database, with nothing of it running any more.
func (b *database) close() error {
	b.finder.Close()
	b.background.CloseIdleConnections()
	return b.store.Close()
}

// lookOnly is the directory for whoever only looks. One in a file that is not there
// yet has nobody in it.
func (c Config) lookOnly() (finder, error) {
	if c.Directory.Kind == "sqlite" {
		if there, _ := lookAtFile(c.Directory.Value); !there {
			return nobody{creates: c.Provision.ConnectionID != "" && c.Provision.Users == "everyone"}, nil
		}
	}
	s, err := c.openStore()
	if err != nil {
		return nil, err
	}
	client, err := telnyx.New(c.telnyx(c.Telnyx.keys))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	f, err := provisioning.NewFinder(c.finder(s, client, "nobody"))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return f, nil
}

// nobody is an empty directory.
type nobody struct{ creates bool }

func (nobody) DeviceOf(context.Context, directory.Query, telnyx.CredentialID) (directory.Device, error) {
	return "", directory.ErrNoCredential
}

func (n nobody) Find(context.Context, directory.Query) (telnyx.CredentialID, error) {
	if n.creates {
		return telnyx.CredentialID{}, directory.ErrNotCreated
	}
	return telnyx.CredentialID{}, directory.ErrNoCredential
}
