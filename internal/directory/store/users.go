package store

import (
	"context"
	"errors"
)

// refuses returns ErrChanged if the condition does not hold for the user, who is
// there or not.
func (m Match) refuses(u User, there bool) error {
	if m.Absent && there || (m.Exists || m.Version != 0) && !there || m.Version != 0 && m.Version != u.Version {
		return ErrChanged
	}
	return nil
}

// PutUser makes a user, or gives one that is there another name; whether it is
// disabled does not change. Errors: ErrInvalid, ErrChanged,
// directory.ErrUnavailable.
func (s *Store) PutUser(ctx context.Context, by By, key, name string, m Match) (u User, created bool, err error) {
	if err := errors.Join(checkKey(key), checkName(name)); err != nil {
		return User{}, false, err
	}
	err = s.change(ctx, by, func(c *change) error {
		u, err = c.user(key)
		there := err == nil
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := m.refuses(u, there); err != nil {
			return err
		}
		switch {
		case !there:
			created = true
			u, err = c.createUser(key, name)
		case u.Name != name:
			u, err = c.rename(u, name)
		}
		return err
	})
	if err != nil {
		return User{}, false, err
	}
	return u, created, nil
}

// Disable takes the user's access away: its credentials are nobody's any more and
// are deleted at Telnyx, and it gets none until it is enabled. Errors:
// ErrNotFound, ErrChanged, directory.ErrUnavailable.
func (s *Store) Disable(ctx context.Context, by By, key string, m Match) (User, error) {
	return s.changeUser(ctx, by, key, m, func(c *change, u User) (User, error) {
		if !u.DisabledAt.IsZero() {
			return u, nil
		}
		return c.disable(u)
	})
}

// Enable lets the user have credentials again. Those that it had do not come
// back. Errors: ErrNotFound, ErrChanged, directory.ErrUnavailable.
func (s *Store) Enable(ctx context.Context, by By, key string, m Match) (User, error) {
	return s.changeUser(ctx, by, key, m, func(c *change, u User) (User, error) {
		if u.DisabledAt.IsZero() {
			return u, nil
		}
		return c.enable(u)
	})
}

// Remove takes the user out of the books. Its credentials are deleted at Telnyx,
// or with keep just forgotten. Errors: ErrNotFound, ErrChanged,
// directory.ErrUnavailable.
func (s *Store) Remove(ctx context.Context, by By, key string, keep bool, m Match) error {
	_, err := s.changeUser(ctx, by, key, m, func(c *change, u User) (User, error) {
		for _, credential := range u.Credentials {
			if err := c.release(credential, kept(keep), ""); err != nil {
				return User{}, err
			}
		}
		if _, err := c.note(Event{Action: UserRemoved, User: key}); err != nil {
			return User{}, err
		}
		return User{}, c.exec(`DELETE FROM users WHERE user_key = $1`, key)
	})
	return err
}

// changeUser makes a change to a user that is there and matches. Whether it is
// there comes first: what is not there is not found, whatever the condition.
func (s *Store) changeUser(ctx context.Context, by By, key string, m Match, do func(*change, User) (User, error)) (User, error) {
	if checkKey(key) != nil {
		return User{}, ErrNotFound
	}
	var u User
	err := s.change(ctx, by, func(c *change) (err error) {
		if u, err = c.user(key); err != nil {
			return err
		}
		if err := m.refuses(u, true); err != nil {
			return err
		}
		u, err = do(c, u)
		return err
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// user returns the user as this change sees it, or ErrNotFound.
func (c *change) user(key string) (User, error) { return userIn(c.ctx, c, key) }

// createUser makes a user that is not there.
func (c *change) createUser(key, name string) (User, error) {
	version, err := c.note(Event{Action: UserCreated, User: key})
	if err != nil {
		return User{}, err
	}
	return User{Key: key, Name: name, CreatedAt: moment(c.at), Version: version},
		c.exec(`INSERT INTO users (user_key, name, created_at, version) VALUES ($1, $2, $3, $4)`, key, name, c.at, version)
}

func (c *change) rename(u User, name string) (User, error) {
	version, err := c.note(Event{Action: UserChanged, User: u.Key, Detail: "name"})
	if err != nil {
		return User{}, err
	}
	u.Name, u.Version = name, version
	return u, c.exec(`UPDATE users SET name = $1, version = $2 WHERE user_key = $3`, name, version, u.Key)
}

func (c *change) disable(u User) (User, error) {
	for _, credential := range u.Credentials {
		if err := c.release(credential, toDelete, ""); err != nil {
			return User{}, err
		}
	}
	version, err := c.note(Event{Action: UserDisabled, User: u.Key})
	if err != nil {
		return User{}, err
	}
	u.Credentials, u.DisabledAt, u.Version = nil, moment(c.at), version
	return u, c.exec(`UPDATE users SET disabled_at = $1, version = $2 WHERE user_key = $3`, c.at, version, u.Key)
}

func (c *change) enable(u User) (User, error) {
	version, err := c.note(Event{Action: UserEnabled, User: u.Key})
	if err != nil {
		return User{}, err
	}
	u.DisabledAt, u.Version = moment(0), version
	return u, c.exec(`UPDATE users SET disabled_at = 0, version = $1 WHERE user_key = $2`, version, u.Key)
}

// touch gives the user the number of the last event as its version.
func (c *change) touch(key string) error {
	return c.exec(`UPDATE users SET version = $1 WHERE user_key = $2`, c.last, key)
}
