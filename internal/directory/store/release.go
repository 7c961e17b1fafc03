package store

import (
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A fate is what becomes at Telnyx of a credential that is nobody's any more.
type fate int

const (
	toDelete fate = iota // it is to be deleted
	toKeep               // it stays, by order: it may bear our name, and is no orphan
	isGone               // it is not there any more
)

const keptDetail = "kept at Telnyx"

// kept is the fate of what somebody may have ordered to be kept.
func kept(keep bool) fate {
	if keep {
		return toKeep
	}
	return toDelete
}

// released is a credential that was somebody's.
type released struct {
	Credential
	to fate
}

// event says that the credential was released, and why, which may be empty.
func (r released) event(why string) Event {
	switch {
	case r.to == toKeep && why == "":
		why = keptDetail
	case r.to == toKeep:
		why += ", " + keptDetail
	}
	return Event{Action: CredentialReleased, User: r.User, Device: r.Device, Credential: r.ID, Detail: why}
}

// release makes a credential nobody's. The user's version is the caller's to touch.
func (c *change) release(held Credential, to fate, why string) error {
	r := released{held, to}
	if _, err := c.note(r.event(why)); err != nil {
		return err
	}
	return c.takeOut(r)
}

// takeOut takes credentials out of the books and writes down what is to become of
// them. The events are the caller's.
func (c *change) takeOut(all ...released) error {
	if len(all) == 0 {
		return nil
	}
	ids := make([]string, len(all))
	queued, kept := c.deletions(), insertion{into: "kept", columns: []string{"credential_id"}, conflict: `ON CONFLICT (credential_id) DO NOTHING`}
	for n, r := range all {
		ids[n] = r.ID.String()
		switch r.to {
		case toDelete:
			queued.values = append(queued.values, []any{r.ID.String(), r.User, string(r.Device), c.at, c.at})
		case toKeep:
			kept.values = append(kept.values, []any{r.ID.String()})
		case isGone:
		}
	}
	if err := c.exec(`DELETE FROM credentials WHERE credential_id `+c.store.inList(), asJSON(ids)); err != nil {
		return err
	}
	if err := c.insert(queued); err != nil {
		return err
	}
	return c.insert(kept)
}

// unkeep forgets that credentials were kept: they are somebody's again, or gone.
func (c *change) unkeep(ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	return c.exec(`DELETE FROM kept WHERE credential_id `+c.store.inList(), asJSON(ids))
}

// deletions is the list of what to delete at Telnyx, to be added to.
func (c *change) deletions() insertion {
	return insertion{
		into: "deletions", columns: []string{"credential_id", "user_key", "device", "since", "due_at"},
		conflict: `ON CONFLICT (credential_id) DO NOTHING`,
	}
}

// queue puts a credential that is in no books on the list of what to delete at
// Telnyx, if it is not there yet.
func (c *change) queue(id telnyx.CredentialID, user string, device directory.Device) error {
	list := c.deletions()
	list.values = [][]any{{id.String(), user, string(device), c.at, c.at}}
	return c.insert(list)
}

// deleting reports whether the credential is on the list of what to delete.
func (c *change) deleting(id telnyx.CredentialID) (is bool, err error) {
	err = c.row(`SELECT EXISTS (SELECT 1 FROM deletions WHERE credential_id = $1)`, id.String()).Scan(&is)
	return is, err
}

// notKept returns ErrTaken if the credential is kept by order: what finds it at
// Telnyx by its name neither gives it to anybody nor deletes it.
func (c *change) notKept(id telnyx.CredentialID) error {
	var is bool
	err := c.row(`SELECT EXISTS (SELECT 1 FROM kept WHERE credential_id = $1)`, id.String()).Scan(&is)
	if err == nil && is {
		err = ErrTaken
	}
	return err
}
