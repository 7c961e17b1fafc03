package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A Deletion is a credential that is nobody's any more and is still to be deleted
// at Telnyx.
type Deletion struct {
	ID       telnyx.CredentialID
	User     string           // whose it was; may be empty
	Device   directory.Device // may be empty
	Since    time.Time
	Attempts int // with the one that this claim is for
}

// ClaimDeletions gives up to n deletions that are due to the caller, until hold is
// over: then another gets them who claims, unless they are Deleted or Postponed.
// The error is ErrInvalid, if n is not 1 to MaxPage, or directory.ErrUnavailable.
func (s *Store) ClaimDeletions(ctx context.Context, n int, hold time.Duration) ([]Deletion, error) {
	if n < 1 || n > MaxPage {
		return nil, invalid("a page has 1 to %d", MaxPage)
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	now, err := s.clock(ctx, s.writes)
	if err != nil {
		return nil, unavailable(err)
	}
	// What nobody has tried yet is due, whatever the time was on the machine of
	// whoever put it there.
	due := `SELECT credential_id FROM deletions WHERE due_at <= $1 OR attempts = 0 ORDER BY due_at LIMIT $3`
	in := ` IN (` + due + `)`
	if s.postgres != nil { // the array is made once, before anything is changed
		in = ` = ANY (ARRAY(` + due + ` FOR UPDATE SKIP LOCKED))`
	}
	var claimed []Deletion
	err = s.patiently(ctx, func() error {
		rows, err := s.writes.QueryContext(ctx, `UPDATE deletions SET due_at = $2, attempts = attempts + 1 WHERE credential_id`+in+`
			RETURNING credential_id, user_key, device, since, attempts`, now, now+hold.Milliseconds(), n)
		if err == nil {
			claimed, err = scanDeletions(rows)
		}
		return err
	})
	return claimed, unavailable(err)
}

// scanDeletions returns the oldest first.
func scanDeletions(rows *sql.Rows) ([]Deletion, error) {
	defer rows.Close()
	var all []Deletion
	for rows.Next() {
		var d Deletion
		var id string
		var since int64
		if err := rows.Scan(&id, &d.User, &d.Device, &since, &d.Attempts); err != nil {
			return nil, err
		}
		var err error
		if d.ID, err = telnyx.ParseCredentialID(id); err != nil {
			return nil, fmt.Errorf("a deletion of the books: %w", err)
		}
		d.Since = moment(since)
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Deletion) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return all, rows.Err()
}

// Deleted takes a credential off the list: it is not at Telnyx any more, and need
// not be kept there either. One that is not on the list is no event. The only error
// is directory.ErrUnavailable.
func (s *Store) Deleted(ctx context.Context, by By, id telnyx.CredentialID, detail string) error {
	return s.change(ctx, by, func(c *change) error {
		if err := c.unkeep(id.String()); err != nil {
			return err
		}
		e := Event{Action: CredentialDeleted, Credential: id, Detail: detail}
		err := c.row(`DELETE FROM deletions WHERE credential_id = $1 RETURNING user_key, device`, id.String()).Scan(&e.User, &e.Device)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			_, err = c.note(e)
		}
		return err
	})
}

// Postpone makes a deletion due at another time. The only error is
// directory.ErrUnavailable.
func (s *Store) Postpone(ctx context.Context, id telnyx.CredentialID, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	now, err := s.clock(ctx, s.writes)
	if err != nil {
		return unavailable(err)
	}
	due := now + until.Sub(s.now()).Milliseconds() // by everybody's clock
	_, err = s.write(ctx, `UPDATE deletions SET due_at = $1 WHERE credential_id = $2`, due, id.String())
	return unavailable(err)
}

// Pending returns how many deletions are still to be made at Telnyx, and since when
// the oldest is waiting; zero if there is none. The only error is
// directory.ErrUnavailable.
func (s *Store) Pending(ctx context.Context) (n int64, oldest time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var since int64
	err = s.reads.QueryRowContext(ctx, `SELECT count(*), COALESCE(min(since), 0) FROM deletions`).Scan(&n, &since)
	return n, moment(since), unavailable(err)
}

// QueueDeletion puts a credential on the list that is at Telnyx and nobody's. One
// that is on it changes nothing. The error is ErrTaken, if it is somebody's or kept
// by order, or directory.ErrUnavailable.
func (s *Store) QueueDeletion(ctx context.Context, by By, id telnyx.CredentialID, detail string) error {
	return s.change(ctx, by, func(c *change) error {
		if _, taken, err := c.owner(id); err != nil || taken {
			return cmp.Or(err, ErrTaken)
		}
		if err := c.notKept(id); err != nil {
			return err
		}
		if deleting, err := c.deleting(id); err != nil || deleting {
			return err
		}
		_, err := c.note(Event{Action: CredentialReleased, Credential: id, Detail: detail})
		return errors.Join(err, c.queue(id, "", ""))
	})
}

// Retire takes a credential out of the books, whoever has it, and puts it on the
// list of what to delete, unless it is gone from Telnyx already. The error is
// ErrNotFound, if nobody has it, or directory.ErrUnavailable.
func (s *Store) Retire(ctx context.Context, by By, id telnyx.CredentialID, detail string, gone bool) error {
	return s.change(ctx, by, func(c *change) error {
		held, there, err := c.owner(id)
		if err == nil && !there {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		to := toDelete
		if gone {
			to = isGone
		}
		return errors.Join(c.release(held, to, detail), c.touch(held.User))
	})
}
