package store

import (
	"context"
	"time"
)

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
