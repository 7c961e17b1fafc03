package store

import (
	"context"
	"errors"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const learntDetail = "SIP user name or expiry filled in"

// An Assignment is a credential that somebody knows to be at Telnyx.
type Assignment struct {
	ID          telnyx.CredentialID
	SIPUsername string    // may be empty: not known
	ExpiresAt   time.Time // zero: never, or not known
}

func (a Assignment) check(device directory.Device) error {
	if a.ID.IsZero() {
		return invalid("a credential's id is missing")
	}
	if !IsSIPUsername(a.SIPUsername) {
		return invalid("a SIP user name is at most %d bytes of printable characters without spaces", MaxSIPUsernameBytes)
	}
	return checkDevice(device)
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
		held, there := u.On(device)
		if !there {
			return User{}, ErrNotFound
		}
		if err := c.release(held, kept(keep), ""); err != nil {
			return User{}, err
		}
		return u, c.touch(key)
	})
	return err
}

// On returns what the device has.
func (u User) On(device directory.Device) (Credential, bool) {
	for _, credential := range u.Credentials {
		if credential.Device == device {
			return credential, true
		}
	}
	return Credential{}, false
}

// Live reports whether there is a credential and it has not expired. One that has
// is as good as none.
func (c Credential) Live(now time.Time) bool {
	return !c.ID.IsZero() && (c.ExpiresAt.IsZero() || c.ExpiresAt.After(now))
}

// replaced is the fate of a credential in whose place there is another: what we
// did not create is not ours to delete.
func (c Credential) replaced() fate { return kept(!c.Provisioned) }

// holding returns what the device has, if the credential may become the device's:
// nobody else has it, and it is not being deleted.
func (c *change) holding(u User, device directory.Device, id telnyx.CredentialID) (Credential, error) {
	if err := c.free(id, u.Key, device); err != nil {
		return Credential{}, err
	}
	deleting, err := c.deleting(id)
	if err == nil && deleting {
		err = ErrDeleting
	}
	held, _ := u.On(device)
	return held, err
}

// owner returns a credential with whose it is, if it is somebody's.
func (c *change) owner(id telnyx.CredentialID) (Credential, bool, error) {
	owners, err := credentialsIn(c.ctx, c, `credential_id = $1`, id.String())
	if err != nil || len(owners) == 0 {
		return Credential{}, false, err
	}
	return owners[0], true, nil
}

// free returns ErrTaken if another user or device has the credential.
func (c *change) free(id telnyx.CredentialID, user string, device directory.Device) error {
	has, taken, err := c.owner(id)
	if err == nil && taken && (has.User != user || has.Device != device) {
		err = ErrTaken
	}
	return err
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
		if err := c.release(held, held.replaced(), ""); err != nil {
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
	if err := c.unkeep(new.ID.String()); err != nil {
		return err
	}
	return c.exec(`INSERT INTO credentials (`+credentialColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		new.ID.String(), new.User, string(new.Device), new.SIPUsername, provisioned,
		millis(new.CreatedAt), millis(new.UsableAt), millis(new.ExpiresAt), millis(new.VendedAt))
}
