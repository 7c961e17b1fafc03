package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// An EventList says which events are wanted.
type EventList struct {
	User   string // whose; "" for everybody's
	Before int64  // only those with a smaller number; 0 for the newest
	Limit  int    // 1 to MaxPage; 0 is 100
}

// Events lists events, the newest first. The error is ErrInvalid or
// directory.ErrUnavailable.
func (s *Store) Events(ctx context.Context, l EventList) ([]Event, error) {
	limit, err := pageOf(l.Limit)
	if err != nil {
		return nil, err
	}
	if l.Before < 0 || !printable(l.User, MaxKeyBytes) {
		return nil, invalid("no such number or user can be")
	}
	where, args := `number < $1`, []any{l.Before, limit}
	if l.Before == 0 {
		args[0] = int64(math.MaxInt64)
	}
	if l.User != "" {
		where += ` AND user_key = $3`
		args = append(args, l.User)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	events, err := eventsIn(ctx, s.lists, where+` ORDER BY number DESC LIMIT $2`, args...)
	return events, unavailable(err)
}

// eventsIn returns the events for which the condition holds.
func eventsIn(ctx context.Context, q querier, condition string, args ...any) ([]Event, error) {
	rows, err := q.QueryContext(ctx, `SELECT number, at, actor, request_id, action, user_key, device, credential_id, detail
		FROM events WHERE `+condition, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []Event
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// errUnreadable says that an event of the books is none that we have written.
var errUnreadable = errors.New("an event cannot be read")

func scanEvent(rows *sql.Rows) (Event, error) {
	var e Event
	var at int64
	var action, device, id string
	if err := rows.Scan(&e.Number, &at, &e.By.Actor, &e.By.RequestID, &action, &e.User, &device, &id, &e.Detail); err != nil {
		return Event{}, err
	}
	e.At, e.Action, e.Device = moment(at), Action(action), directory.Device(device)
	if id == "" {
		return e, nil
	}
	var err error
	if e.Credential, err = telnyx.ParseCredentialID(id); err != nil {
		return Event{}, fmt.Errorf("%w: number %d: %w", errUnreadable, e.Number, err)
	}
	return e, nil
}
