package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// maxSIPUsername bounds in bytes what Telnyx may call a credential.
const maxSIPUsername = 256

// An Assignment is a credential that somebody knows to be at Telnyx.
type Assignment struct {
	ID          telnyx.CredentialID
	SIPUsername string    // may be empty: not known
	ExpiresAt   time.Time // zero: never, or not known
}

func (a Assignment) check(device directory.Device) error {
	if a.ID.IsZero() {
		return fmt.Errorf("%w: a credential's id is missing", ErrInvalid)
	}
	if !printable(a.SIPUsername, maxSIPUsername) {
		return fmt.Errorf("%w: a SIP user name is up to %d bytes of printable characters", ErrInvalid, maxSIPUsername)
	}
	if _, err := directory.ParseDevice(string(device)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// Assign gives a credential to a user's device. The one that the device had is
// deleted at Telnyx if we created it, and else forgotten. A credential that the
// device has already is told what the assignment knows more; created is false
// then. Errors: ErrInvalid; ErrNotFound, if there is no such user; ErrChanged;
// directory.ErrDisabled; ErrTaken, also if another device of the user has it;
// ErrDeleting; directory.ErrUnavailable.
func (s *Store) Assign(ctx context.Context, by By, key string, device directory.Device, a Assignment, m Match) (assigned Credential, created bool, err error) {
	if err := a.check(device); err != nil {
		return Credential{}, false, err
	}
	_, err = s.changeUser(ctx, by, key, m, func(c *change, u User) (User, error) {
		if !u.DisabledAt.IsZero() {
			return User{}, directory.ErrDisabled
		}
		held, err := c.holding(u, device, a.ID)
		if err != nil {
			return User{}, err
		}
		if held.ID == a.ID {
			assigned, err = c.learn(held, a)
			return u, err
		}
		created = true
		assigned, err = c.assign(held, Credential{
			ID: a.ID, User: key, Device: device, SIPUsername: a.SIPUsername, ExpiresAt: moment(millis(a.ExpiresAt)), CreatedAt: moment(c.at),
		})
		return u, err
	})
	if err != nil {
		return Credential{}, false, err
	}
	return assigned, created, nil
}

// Unassign takes the credential of a user's device away. It is deleted at Telnyx,
// or with keep just forgotten. Errors: ErrNotFound, if the user or the credential
// is not there; ErrChanged; directory.ErrUnavailable.
func (s *Store) Unassign(ctx context.Context, by By, key string, device directory.Device, keep bool, m Match) error {
	_, err := s.changeUser(ctx, by, key, m, func(c *change, u User) (User, error) {
		held := u.on(device)
		if held.ID.IsZero() {
			return User{}, ErrNotFound
		}
		if err := c.release(held, keep); err != nil {
			return User{}, err
		}
		return u, c.touch(key)
	})
	return err
}

// on returns the device's credential, or the zero Credential.
func (u User) on(device directory.Device) Credential {
	for _, credential := range u.Credentials {
		if credential.Device == device {
			return credential
		}
	}
	return Credential{}
}

// holding returns what the device has, if the credential may become the device's:
// nobody else has it, and it is not being deleted.
func (c *change) holding(u User, device directory.Device, id telnyx.CredentialID) (Credential, error) {
	owners, err := credentialsIn(c.ctx, c, `credential_id = $1`, id.String())
	if err != nil {
		return Credential{}, err
	}
	if len(owners) > 0 && (owners[0].User != u.Key || owners[0].Device != device) {
		return Credential{}, ErrTaken
	}
	deleting, err := c.deleting(id)
	if err == nil && deleting {
		err = ErrDeleting
	}
	return u.on(device), err
}

// deleting reports whether the credential is on the list of what to delete.
func (c *change) deleting(id telnyx.CredentialID) (is bool, err error) {
	err = c.row(`SELECT EXISTS (SELECT 1 FROM deletions WHERE credential_id = $1)`, id.String()).Scan(&is)
	return is, err
}

// learn writes down what an assignment knows more of a credential.
func (c *change) learn(held Credential, a Assignment) (Credential, error) {
	known := held
	if a.SIPUsername != "" {
		held.SIPUsername = a.SIPUsername
	}
	if !a.ExpiresAt.IsZero() {
		held.ExpiresAt = moment(millis(a.ExpiresAt))
	}
	if held == known {
		return held, nil
	}
	_, err := c.note(Event{Action: CredentialAssigned, User: held.User, Device: held.Device, Credential: held.ID, Detail: learntDetail})
	return held, errors.Join(err, c.exec(`UPDATE credentials SET sip_username = $1, expires_at = $2 WHERE credential_id = $3`,
		held.SIPUsername, millis(held.ExpiresAt), held.ID.String()), c.touch(held.User))
}

// assign puts a credential in the place of the one that the device had, if any.
func (c *change) assign(held, assigned Credential) (Credential, error) {
	if !held.ID.IsZero() {
		if err := c.release(held, !held.Provisioned); err != nil {
			return Credential{}, err
		}
	}
	if err := c.insertCredential(assigned, CredentialAssigned, ""); err != nil {
		return Credential{}, err
	}
	return assigned, c.touch(assigned.User)
}

// insertCredential writes a credential down, and the event. The user's version is
// the caller's to touch.
func (c *change) insertCredential(new Credential, action Action, detail string) error {
	if _, err := c.note(Event{Action: action, User: new.User, Device: new.Device, Credential: new.ID, Detail: detail}); err != nil {
		return err
	}
	provisioned := 0
	if new.Provisioned {
		provisioned = 1
	}
	if err := c.exec(`DELETE FROM kept WHERE credential_id = $1`, new.ID.String()); err != nil {
		return err
	}
	return c.exec(`INSERT INTO credentials (`+credentialColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		new.ID.String(), new.User, string(new.Device), new.SIPUsername, provisioned,
		millis(new.CreatedAt), millis(new.UsableAt), millis(new.ExpiresAt), millis(new.VendedAt))
}

// release makes a credential nobody's: it is deleted at Telnyx, or with keep just
// forgotten. The user's version is the caller's to touch.
func (c *change) release(held Credential, keep bool) error {
	detail := ""
	if keep {
		detail = keptDetail
	}
	if err := c.exec(`DELETE FROM credentials WHERE credential_id = $1`, held.ID.String()); err != nil {
		return err
	}
	if _, err := c.note(Event{Action: CredentialReleased, User: held.User, Device: held.Device, Credential: held.ID, Detail: detail}); err != nil {
		return err
	}
	switch {
	case keep && held.Provisioned: // it bears our name, and is no orphan
		return c.exec(`INSERT INTO kept (credential_id) VALUES ($1) ON CONFLICT (credential_id) DO NOTHING`, held.ID.String())
	case keep:
		return nil
	}
	return c.queue(held.ID, held.User, held.Device)
}

// queue puts a credential on the list of what to delete at Telnyx, if it is not
// there yet.
func (c *change) queue(id telnyx.CredentialID, user string, device directory.Device) error {
	return c.exec(`INSERT INTO deletions (credential_id, user_key, device, since, due_at) VALUES ($1, $2, $3, $4, $4)
		ON CONFLICT (credential_id) DO NOTHING`, id.String(), user, string(device), c.at)
}
