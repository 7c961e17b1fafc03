package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// followEvery is how often the books are looked at, and how soon a lost
	// connection is made anew. On PostgreSQL a change is heard of at once, as long
	// as the connection lives.
	followEvery = time.Second
	// followRest is how long nothing is read after a reading: a change that comes alone
	// is heard of at once, and of many in a row, each replica reads some together.
	followRest = 50 * time.Millisecond
	// maxBehind is how many changes are told one by one.
	maxBehind = 10_000
)

// A Change says what is no longer as it was in the books.
type Change struct {
	User     string              // may be empty
	Released telnyx.CredentialID // a credential that is nobody's any more; may be zero
	All      bool                // anything may have changed
}

// changeOf is what an event means to whoever follows. That somebody has got a
// credential takes nothing away from anybody: on every replica, at every first
// login, it would cause work for nothing.
func changeOf(e Event) Change {
	c := Change{User: e.User}
	if e.Action == CredentialReleased {
		c.Released = e.Credential
	}
	return c
}

// Follow tells of every change to the books, by whatever process, until ctx is
// done, from the first call of changed, which is for All. Some changes are told
// more than once, and none is missed. It waits for changed. While the database is away
// there is nothing to tell; what happened then is told when it is back.
func (s *Store) Follow(ctx context.Context, changed func(Change)) {
	heard := make(chan struct{}, 1)
	var listening sync.WaitGroup
	defer listening.Wait()
	if s.postgres != nil {
		listening.Go(func() { s.listen(ctx, heard) })
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	f := follower{store: s, at: -1, changed: changed}
	for {
		f.catchUp(ctx)
		rest(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-heard:
		}
	}
}

func rest(ctx context.Context) {
	timer := time.NewTimer(followRest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// listen says when PostgreSQL has something to tell.
func (s *Store) listen(ctx context.Context, heard chan<- struct{}) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		s.listenOnce(ctx, heard)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// listenOnce listens until the connection is lost. Why it was does not matter:
// Follow looks at the books every followEvery all the same.
func (s *Store) listenOnce(ctx context.Context, heard chan<- struct{}) {
	cfg := s.postgres.Copy()
	if s.beforeConnect(ctx, cfg) != nil {
		return
	}
	connection, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = connection.Close(ctx) // it is lost, or not needed
	}()
	if _, err := connection.Exec(ctx, `LISTEN `+channel); err != nil {
		return
	}
	for {
		select { // what was changed before it listened, too
		case heard <- struct{}{}:
		default:
		}
		if _, err := connection.WaitForNotification(ctx); err != nil {
			return
		}
	}
}

// A follower knows how far it has read.
type follower struct {
	store   *Store
	at      int64 // number of the last event that was told; -1 for none
	changed func(Change)
}

// catchUp tells what has changed. If the database does not answer it is left for
// the next time.
func (f *follower) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var last int64
	if err := f.store.reads.QueryRowContext(ctx, `SELECT value FROM counter WHERE id = 1`).Scan(&last); err != nil {
		return
	}
	switch {
	case last == f.at:
	case f.at < 0, last < f.at, last-f.at > maxBehind: // less than before: the books are from a backup
		f.at = last
		f.changed(Change{All: true})
	default:
		f.tell(ctx, last)
	}
}

// tell tells of the events up to the last, which are all there: the counter is
// written with them.
func (f *follower) tell(ctx context.Context, last int64) {
	events, err := eventsIn(ctx, f.store.reads, `number > $1 AND number <= $2 ORDER BY number`, f.at, last)
	if errors.Is(err, errUnreadable) { // it never will be, and the next ones may be
		f.at = last
		f.changed(Change{All: true})
		return
	}
	if err != nil {
		return
	}
	f.at = last
	told := Change{}
	for _, e := range events {
		if change := changeOf(e); change != told {
			f.changed(change)
			told = change
		}
	}
}
