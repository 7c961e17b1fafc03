package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A change is a transaction of one who changes the books, and of nobody else at
// the same time.
type change struct {
	*sql.Tx
	ctx   context.Context //nolint:containedctx // lives as long as the transaction
	store *Store
	by    By
	at    int64 // Unix milliseconds
	last  int64 // number of the last event
	made  int   // events of this change
}

// change makes a change: all of what do does, or with an error none of it.
func (s *Store) change(ctx context.Context, by By, do func(c *change) error) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	c, err := s.begin(ctx, by)
	if err != nil {
		return unavailable(err)
	}
	defer c.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if err := do(c); err != nil {
		return unavailable(err)
	}
	return unavailable(c.commit())
}

// begin begins a change and waits until no other is under way.
func (s *Store) begin(ctx context.Context, by By) (*change, error) {
	var tx *sql.Tx
	err := s.patiently(ctx, func() (err error) {
		tx, err = s.writes.BeginTx(ctx, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	c := &change{Tx: tx, ctx: ctx, store: s, by: by, at: s.now().UnixMilli()}
	// The lock is on the row, and goes with the transaction.
	if err := c.row(`UPDATE counter SET value = value WHERE id = 1 RETURNING value`).Scan(&c.last); err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return c, nil
}

// SQLite looks ever less often whether another process is done with its change:
// within longestWait at least every longestPause.
const (
	longestPause = 15 * time.Millisecond
	longestWait  = 33 * time.Millisecond
)

// patiently does something that waits for the other processes that change a SQLite
// database, for as long as answerTimeout. SQLite by itself would soon look for a gap
// between their changes only every tenth of a second, so it is asked anew before.
func (s *Store) patiently(ctx context.Context, do func() error) error {
	began := time.Now()
	for {
		err := do()
		busy, ok := errors.AsType[*sqlite.Error](err)
		if !ok || busy.Code()&0xff != sqlite3.SQLITE_BUSY || time.Since(began) > answerTimeout || ctx.Err() != nil {
			return err
		}
	}
}

// write executes a statement outside of a change.
func (s *Store) write(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	err = s.patiently(ctx, func() (err error) {
		result, err = s.writes.ExecContext(ctx, query, args...)
		return err
	})
	return result, err
}

// channel is what replicas listen to on PostgreSQL.
const channel = "tokensvc"

func (c *change) commit() error {
	if c.made > 0 {
		if err := c.exec(`UPDATE counter SET value = $1 WHERE id = 1`, c.last); err != nil {
			return err
		}
		if c.store.postgres != nil {
			if err := c.exec(`SELECT pg_notify($1, '')`, channel); err != nil {
				return err
			}
		}
	}
	return c.Commit()
}

func (c *change) exec(query string, args ...any) error {
	_, err := c.ExecContext(c.ctx, query, args...)
	return err
}

func (c *change) row(query string, args ...any) *sql.Row {
	return c.QueryRowContext(c.ctx, query, args...)
}

// count makes a change to rows and returns how many there were.
func (c *change) count(query string, args ...any) (int64, error) {
	result, err := c.ExecContext(c.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// note writes an event down and returns its number.
func (c *change) note(e Event) (int64, error) {
	c.last++
	c.made++
	return c.last, c.exec(`INSERT INTO events (number, at, actor, request_id, action, user_key, device, credential_id, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		c.last, c.at, c.by.Actor, c.by.RequestID, string(e.Action), e.User, string(e.Device), e.Credential.String(), e.Detail)
}

// moment and millis are the two ways of a time: zero is 0.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
