package store_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// After a failover the old server may live on and only be read from. Whoever is
// connected to it stays so, as here to a database whose sessions only read: what a
// connection is good for is decided when it is made.
func TestAfterAFailoverOneChangeFails(t *testing.T) {
	for _, connections := range []int{3, 16} { // one pool for all, and several
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			b := postgresBooks(t, sharedPostgres(t))
			put(t, b.open(t), "main:before", "")
			b.onlyReads(t, "SET default_transaction_read_only = on")
			b.cfg.Connections = connections
			s := b.open(t)
			reads, writes := ways(t, s)
			for way, do := range writes {
				if err := do(); !errors.Is(err, directory.ErrUnavailable) || !strings.Contains(err.Error(), "25006") {
					t.Errorf("%s: %v, want %v", way, err, directory.ErrUnavailable)
				}
				work(t, reads)
			}
			b.connectAll(t, s, connections)
			b.onlyReads(t, "RESET default_transaction_read_only")
			work(t, reads)
			if err := writes["PutUser"](); !errors.Is(err, directory.ErrUnavailable) {
				t.Errorf("a connection that only reads: %v, want %v", err, directory.ErrUnavailable)
			}
			work(t, writes)
			work(t, reads)
		})
	}
}

// onlyReads changes what the sessions of the database may do that begin from now on.
func (b *books) onlyReads(t *testing.T, setting string) {
	t.Helper()
	address, err := url.Parse(b.cfg.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.server.Exec("ALTER DATABASE " + strings.TrimPrefix(address.Path, "/") + " " + setting); err != nil {
		t.Fatal(err)
	}
}

// connectAll makes so many statements at once that each connection for changes has one.
func (b *books) connectAll(t *testing.T, s *store.Store, statements int) {
	t.Helper()
	var all sync.WaitGroup
	for range statements {
		all.Go(func() {
			if err := store.ExecWriting(t.Context(), s, "SELECT pg_sleep(0.1)"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
