package store

import (
	"context"
	"time"
)

// TryLease makes the holder the only one with the lease, until hold is over, and
// reports whether it is. Who has it already has it for longer. The only error is
// directory.ErrUnavailable.
func (s *Store) TryLease(ctx context.Context, name, holder string, hold time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	// The clock is read first: a wait for the row makes the lease shorter, never
	// longer than the holder takes it to be.
	now, err := s.clock(ctx, s.writes)
	if err != nil {
		return false, unavailable(err)
	}
	result, err := s.write(ctx, `INSERT INTO leases (name, holder, held_until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
		WHERE leases.holder = excluded.holder OR leases.held_until <= $4`, name, holder, now+hold.Milliseconds(), now)
	if err != nil {
		return false, unavailable(err)
	}
	n, err := result.RowsAffected()
	return n == 1, unavailable(err)
}

// ReleaseLease ends the holder's lease. One that another has by now is left to
// them. The only error is directory.ErrUnavailable.
func (s *Store) ReleaseLease(ctx context.Context, name, holder string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	_, err := s.write(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
	return unavailable(err)
}

// clock returns the time for whatever is held and for how long. Replicas go by
// PostgreSQL's, since their own need not agree.
func (s *Store) clock(ctx context.Context, q querier) (int64, error) {
	if s.postgres == nil {
		return s.now().UnixMilli(), nil
	}
	var now int64
	err := q.QueryRowContext(ctx, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint`).Scan(&now)
	return now, err
}
