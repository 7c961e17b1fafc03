package store_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// A process that is stopped in the middle of a change keeps its connections: some
// of them have what all wait for, and others are next.
func TestAReplicaThatIsFrozenHoldsUpNobodyForLong(t *testing.T) {
	t.Parallel() // it waits, mostly
	b := postgresBooks(t, sharedPostgres(t))
	s := b.open(t)
	w := startWriting(t, b, 0)
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*store.ChangeTimeout, "others go on", func(ctx context.Context) error {
		_, _, err := s.PutUser(ctx, by, "main:alice", "", store.Match{})
		return err
	})
	if err := w.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.holds(t, w.kill(t))
}

func TestTheServersDefaultsDoNotMatter(t *testing.T) {
	b := postgresBooks(t, sharedPostgres(t))
	b.exec(t, `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET default_transaction_isolation = ''serializable'''; END $$`)
	replicas := []*store.Store{b.open(t), b.open(t)}
	var writers sync.WaitGroup
	for n := range 16 {
		writers.Go(func() {
			for i := range 10 {
				if _, _, err := replicas[n%2].PutUser(t.Context(), by, fmt.Sprintf("main:%d.%d", n, i), "", store.Match{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	b.consistent(t)
}
