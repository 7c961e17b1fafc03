package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// Known is what the books know of a credential that is at Telnyx.
type Known string

// What may be known.
const (
	KnownRecorded Known = "recorded" // it is somebody's
	KnownDeleting Known = "deleting" // it is on the list of what to delete
	KnownKept     Known = "kept"     // it is nobody's, and is to stay
	KnownAbsent   Known = "absent"   // nothing
)

// See writes down that the reconciliation with that number saw the credentials at
// Telnyx, and returns what is known of each. The error is ErrInvalid, for more
// than MaxPage ids, or directory.ErrUnavailable.
func (s *Store) See(ctx context.Context, run int64, ids []telnyx.CredentialID) (map[telnyx.CredentialID]Known, error) {
	if len(ids) > MaxPage {
		return nil, invalid("a page has up to %d", MaxPage)
	}
	known := make(map[telnyx.CredentialID]Known, len(ids))
	for _, id := range ids {
		known[id] = KnownAbsent
	}
	// A change, for no credential may go from here to there between the two.
	err := s.change(ctx, By{}, func(c *change) error {
		of, seen := ` WHERE credential_id `+s.inList(), asJSON(texts(ids))
		if err := c.know(known, KnownDeleting, `SELECT credential_id FROM deletions`+of, seen); err != nil {
			return err
		}
		if err := c.know(known, KnownKept, `SELECT credential_id FROM kept`+of, seen); err != nil {
			return err
		}
		return c.know(known, KnownRecorded, `UPDATE credentials SET seen_in = $2`+of+` RETURNING credential_id`, seen, run)
	})
	if err != nil {
		return nil, err
	}
	return known, nil
}

// know adds what is known of those that the query returns.
func (c *change) know(known map[telnyx.CredentialID]Known, as Known, query string, args ...any) error {
	return eachID(c.ctx, c, func(id telnyx.CredentialID) { known[id] = as }, query, args...)
}

// Unseen lists credentials that were in the books before the time and that the
// reconciliation with that number has not seen, ordered by id, from behind after.
// The limit is as in List. The error is ErrInvalid or directory.ErrUnavailable.
func (s *Store) Unseen(ctx context.Context, run int64, recordedBefore time.Time, after telnyx.CredentialID, limit int) ([]Credential, error) {
	limit, err := pageOf(limit)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	unseen, err := credentialsIn(ctx, s.reads, `seen_in <> $1 AND created_at < $2 AND credential_id > $3 ORDER BY credential_id LIMIT $4`,
		run, millis(recordedBefore), after.String(), limit)
	return unseen, unavailable(err)
}

// Renewed writes down that a credential expires later. The error is ErrNotFound,
// if it is nobody's, or directory.ErrUnavailable.
func (s *Store) Renewed(ctx context.Context, by By, id telnyx.CredentialID, expires time.Time) error {
	return s.change(ctx, by, func(c *change) error {
		held, there, err := c.owner(id)
		if err != nil || !there {
			return cmp.Or(err, ErrNotFound)
		}
		_, err = c.renew(held, expires)
		return err
	})
}

// renew writes down that a credential expires at another time.
func (c *change) renew(held Credential, expires time.Time) (Credential, error) {
	if millis(held.ExpiresAt) == millis(expires) {
		return held, nil
	}
	held.ExpiresAt = moment(millis(expires))
	_, err := c.note(Event{Action: CredentialRenewed, User: held.User, Device: held.Device, Credential: held.ID})
	return held, errors.Join(err, c.exec(`UPDATE credentials SET expires_at = $1 WHERE credential_id = $2`,
		millis(expires), held.ID.String()), c.touch(held.User))
}

// Expiring lists credentials that we created and that expire before the time, or
// have expired, the soonest first. The limit is as in List. The error is
// ErrInvalid or directory.ErrUnavailable.
func (s *Store) Expiring(ctx context.Context, before time.Time, limit int) ([]Credential, error) {
	limit, err := pageOf(limit)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	// A disabled user has none.
	expiring, err := credentialsIn(ctx, s.reads, `expires_at > 0 AND expires_at < $1 AND provisioned = 1
		ORDER BY expires_at, credential_id LIMIT $2`, millis(before), limit)
	return expiring, unavailable(err)
}
