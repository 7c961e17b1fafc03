package store

import (
	"context"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// A batch is the part of the books that some rows are about, and what becomes of
// it.
type batch struct {
	users    map[string]*account
	owners   map[telnyx.CredentialID]owner
	deleting map[telnyx.CredentialID]bool // true: since this batch

	at, last int64 // as of a change
	events   []Event
	put      map[telnyx.CredentialID]Credential // to be written, new or not
	assigned []string                           // ids that were given to somebody, who may have lost them again
	released map[telnyx.CredentialID]released   // to be taken out, before the others are put
}

type account struct {
	User
	changed bool
}

type owner struct {
	user   string
	device directory.Device
}

// readBatch reads what the good rows are about.
func (s *Store) readBatch(ctx context.Context, q querier, rows []Row, good []int) (*batch, error) {
	var keys, ids []string
	for _, n := range good {
		keys = append(keys, rows[n].User)
		if id := rows[n].Credential; !id.IsZero() {
			ids = append(ids, id.String())
		}
	}
	b := &batch{
		users: make(map[string]*account, len(keys)), owners: make(map[telnyx.CredentialID]owner), deleting: make(map[telnyx.CredentialID]bool),
		put: make(map[telnyx.CredentialID]Credential, len(ids)), released: make(map[telnyx.CredentialID]released),
	}
	users, err := usersIn(ctx, q, `user_key `+s.inList(), asJSON(keys))
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		b.users[u.Key] = &account{User: u}
	}
	if len(ids) == 0 {
		return b, nil
	}
	return b, s.readOwners(ctx, q, b, asJSON(ids))
}

func (s *Store) readOwners(ctx context.Context, q querier, b *batch, ids string) error {
	owned, err := credentialsIn(ctx, q, `credential_id `+s.inList(), ids)
	if err != nil {
		return err
	}
	for _, c := range owned {
		b.owners[c.ID] = owner{c.User, c.Device}
	}
	return eachID(ctx, q, func(id telnyx.CredentialID) { b.deleting[id] = true },
		`SELECT credential_id FROM deletions WHERE credential_id `+s.inList(), ids)
}

// decide takes or refuses each good row.
func (b *batch) decide(rows []Row, good []int, verdicts []Verdict) {
	for _, n := range good {
		u := b.users[rows[n].User]
		if verdicts[n].Err = b.refuses(u, rows[n]); verdicts[n].Err == nil {
			verdicts[n].Did = b.take(u, rows[n])
		}
	}
}

// refuses says why a row cannot be taken. The user is nil if there is none.
func (b *batch) refuses(u *account, r Row) error {
	if r.Credential.IsZero() {
		return nil
	}
	if r.Disabled == nil && u != nil && !u.DisabledAt.IsZero() {
		return directory.ErrDisabled
	}
	if has, taken := b.owners[r.Credential]; taken && has != (owner{r.User, r.Device}) {
		return ErrTaken
	}
	if b.deleting[r.Credential] {
		return ErrDeleting
	}
	return nil
}

// take does what a row says.
func (b *batch) take(u *account, r Row) Did {
	did := RowUnchanged
	if u == nil {
		u = &account{User: User{Key: r.User, Name: r.Name, CreatedAt: moment(b.at)}}
		b.users[r.User] = u
		b.note(u, Event{Action: UserCreated})
		did = RowCreated
	}
	if r.NameSet && r.Name != u.Name {
		u.Name = r.Name
		b.note(u, Event{Action: UserChanged, Detail: "name"})
		did = did.and(RowUpdated)
	}
	if r.Disabled != nil && *r.Disabled != !u.DisabledAt.IsZero() {
		b.able(u, !*r.Disabled)
		did = did.and(RowUpdated)
	}
	if r.Credential.IsZero() {
		return did
	}
	return did.and(b.give(u, r))
}

// and is what became of a row that both became of: what is created is not updated.
func (d Did) and(other Did) Did {
	if d == RowCreated || other == RowUnchanged {
		return d
	}
	return other
}

// able enables or disables a user.
func (b *batch) able(u *account, enable bool) {
	if enable {
		u.DisabledAt = moment(0)
		b.note(u, Event{Action: UserEnabled})
		return
	}
	for _, held := range u.Credentials {
		b.release(u, held, toDelete)
	}
	u.Credentials, u.DisabledAt = nil, moment(b.at)
	b.note(u, Event{Action: UserDisabled})
}

// give gives a row's credential to the device.
func (b *batch) give(u *account, r Row) Did {
	for n, held := range u.Credentials {
		if held.Device == r.Device {
			return b.replace(u, n, r)
		}
	}
	u.Credentials = append(u.Credentials, b.assign(u, r))
	return RowCreated
}

// replace puts a row's credential in the place of one of the user's, if it is
// another.
func (b *batch) replace(u *account, n int, r Row) Did {
	held := &u.Credentials[n]
	switch {
	case held.ID != r.Credential:
		b.release(u, *held, held.replaced())
		*held = b.assign(u, r)
	case r.SIPUsername != "" && r.SIPUsername != held.SIPUsername:
		held.SIPUsername = r.SIPUsername
		b.put[held.ID] = *held
		b.note(u, Event{Action: CredentialAssigned, Device: r.Device, Credential: held.ID, Detail: learntDetail})
	default:
		return RowUnchanged
	}
	return RowUpdated
}

func (b *batch) assign(u *account, r Row) Credential {
	assigned := Credential{ID: r.Credential, User: u.Key, Device: r.Device, SIPUsername: r.SIPUsername, CreatedAt: moment(b.at)}
	b.assigned = append(b.assigned, assigned.ID.String())
	b.put[assigned.ID], b.owners[assigned.ID] = assigned, owner{u.Key, r.Device}
	b.note(u, Event{Action: CredentialAssigned, Device: r.Device, Credential: r.Credential})
	return assigned
}

// release is that of a change.
func (b *batch) release(u *account, held Credential, to fate) {
	delete(b.put, held.ID)
	delete(b.owners, held.ID)
	r := released{held, to}
	b.released[held.ID] = r
	if to == toDelete {
		b.deleting[held.ID] = true
	}
	b.note(u, r.event(""))
}

// note remembers an event of the user's.
func (b *batch) note(u *account, e Event) {
	b.last++
	e.Number, e.User = b.last, u.Key
	u.Version, u.changed = b.last, true
	b.events = append(b.events, e)
}
