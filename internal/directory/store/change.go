package store

import (
	"context"
	"database/sql"
	"time"
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
	tx, err := s.writes.BeginTx(ctx, nil)
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
