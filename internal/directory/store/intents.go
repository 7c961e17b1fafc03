package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
)

// An Intent is a credential that is being created at Telnyx. It is written down
// before Telnyx is asked, so that one is made however many ask, and that of what a
// crash leaves at Telnyx it can be told whose it was to be.
type Intent struct {
	Name   string // of the credential at Telnyx; the intent is known by it
	User   string
	Device directory.Device
	Holder string // who creates it

	// As Intents tells them.
	BeganAt time.Time
	Held    bool // somebody may be creating it now
}

// Limits is what may be done for a user who asks.
type Limits struct {
	CreateUsers bool // a user who is not in the books is put into them
	MaxDevices  int  // how many devices a user may have credentials for; 0 for any number
	Replace     bool // beyond that the longest unused makes room, and otherwise nobody
}

// Begin returns what the user's device has, or with the zero Credential makes the
// caller the one who is to create it, until hold is over. A credential that has
// expired counts as none, for MaxDevices too. One that is being created for another
// device counts there, and makes no room. What was begun ends with Record or
// Abandon. Errors: directory.ErrDisabled; directory.ErrNoCredential, if the user
// is not in the books and may not be, or nobody and no device can be called so;
// ErrInvalid, if the intent has no name or no holder; directory.ErrTooManyDevices;
// ErrHeld, if somebody has begun already, the same holder included;
// directory.ErrUnavailable.
func (s *Store) Begin(ctx context.Context, i Intent, l Limits, hold time.Duration) (Credential, error) {
	if err := i.check(); err != nil {
		return Credential{}, err
	}
	var has Credential
	err := s.change(ctx, By{}, func(c *change) error {
		now, err := s.clock(ctx, c)
		if err != nil {
			return err
		}
		u, _, err := c.whoAsks(i.User, l)
		if err != nil {
			return err
		}
		if held, _ := u.On(i.Device); held.Live(moment(now)) {
			has = held
			return nil
		}
		if l, err = c.left(u, i, now, l); err != nil {
			return err
		}
		if len(u.tooMany(i.Device, moment(now), l)) > 0 && !l.Replace {
			return directory.ErrTooManyDevices
		}
		return c.hold(i, now, hold)
	})
	if err != nil {
		return Credential{}, err
	}
	return has, nil
}

// check refuses what can be in no books.
func (i Intent) check() error {
	if err := checkKey(i.User); err != nil {
		return fmt.Errorf("%w: %w", directory.ErrNoCredential, err)
	}
	if _, err := directory.ParseDevice(string(i.Device)); err != nil {
		return fmt.Errorf("%w: %w", directory.ErrNoCredential, err)
	}
	if i.Name == "" || i.Holder == "" {
		return invalid("an intent needs a name and a holder")
	}
	return nil
}

// whoAsks returns the user, or one that is still to be created if there is none.
func (c *change) whoAsks(key string, l Limits) (u User, there bool, err error) {
	u, err = c.user(key)
	switch {
	case errors.Is(err, ErrNotFound) && l.CreateUsers:
		return User{Key: key}, false, nil
	case errors.Is(err, ErrNotFound):
		return User{}, false, directory.ErrNoCredential
	case err != nil:
		return User{}, false, err
	case !u.DisabledAt.IsZero():
		return User{}, false, directory.ErrDisabled
	}
	return u, true, nil
}

// left returns the limits less the devices that others create credentials for at this
// moment. The error is directory.ErrTooManyDevices if these are enough.
func (c *change) left(u User, i Intent, now int64, l Limits) (Limits, error) {
	if l.MaxDevices <= 0 {
		return l, nil
	}
	rows, err := c.QueryContext(c.ctx, `SELECT device FROM intents WHERE user_key = $1 AND device <> $2 AND held_until > $3`,
		i.User, string(i.Device), now)
	if err != nil {
		return Limits{}, err
	}
	defer rows.Close()
	for rows.Next() {
		var device directory.Device
		if err := rows.Scan(&device); err != nil {
			return Limits{}, err
		}
		if has, _ := u.On(device); !has.Live(moment(now)) { // else it counts already
			l.MaxDevices--
		}
	}
	if l.MaxDevices <= 0 { // which would be no limit
		return Limits{}, cmp.Or(rows.Err(), directory.ErrTooManyDevices)
	}
	return l, rows.Err()
}

// hold makes the intent's holder the one who creates it. What another began whose
// hold is over goes on as it was begun.
func (c *change) hold(i Intent, now int64, hold time.Duration) error {
	n, err := c.count(`INSERT INTO intents (name, user_key, device, holder, held_until, began_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
		WHERE intents.held_until <= excluded.began_at`,
		i.Name, i.User, string(i.Device), i.Holder, now+hold.Milliseconds(), now)
	if err == nil && n == 0 {
		err = ErrHeld
	}
	return err
}

// Abandon ends an intent of which nothing came. If it is uncertain whether
// something did, at Telnyx, it is kept, and whoever begins next can find out. An
// intent that another holds by now is left to them. The only error is
// directory.ErrUnavailable.
func (s *Store) Abandon(ctx context.Context, i Intent, uncertain bool) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	statement := `DELETE FROM intents WHERE name = $1 AND holder = $2`
	if uncertain {
		statement = `UPDATE intents SET held_until = 0 WHERE name = $1 AND holder = $2`
	}
	_, err := s.write(ctx, statement, i.Name, i.Holder)
	return unavailable(err)
}

// Intents returns those of the names that are being created, or may have been. The
// error is ErrInvalid, for more than MaxPage names, or directory.ErrUnavailable.
func (s *Store) Intents(ctx context.Context, names []string) (map[string]Intent, error) {
	if len(names) > MaxPage {
		return nil, invalid("a page has up to %d", MaxPage)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	found, err := s.intents(ctx, names)
	return found, unavailable(err)
}

func (s *Store) intents(ctx context.Context, names []string) (map[string]Intent, error) {
	now, err := s.clock(ctx, s.reads)
	if err != nil {
		return nil, err
	}
	//nolint:gosec // what is put together are constants
	rows, err := s.reads.QueryContext(ctx, `SELECT name, user_key, device, holder, held_until, began_at FROM intents
		WHERE name `+s.inList(), asJSON(names))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[string]Intent)
	for rows.Next() {
		var i Intent
		var heldUntil, began int64
		if err := rows.Scan(&i.Name, &i.User, &i.Device, &i.Holder, &heldUntil, &began); err != nil {
			return nil, err
		}
		i.Held, i.BeganAt = heldUntil > now, moment(began)
		found[i.Name] = i
	}
	return found, rows.Err()
}
