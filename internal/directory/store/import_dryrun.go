package store

import "hash/maphash"

// A pretence is what the earlier batches of a dry run would have made of the
// books, as far as it matters to the later ones: a device and a credential come
// only once in an import.
type pretence struct {
	seed  maphash.Seed
	users map[uint64]pretended
	gone  map[uint64]bool // credentials that are nobody's any more; true: and are being deleted
}

type pretended struct {
	disabled bool
	name     uint64
}

func newPretence(seed maphash.Seed) *pretence {
	return &pretence{seed: seed, users: make(map[uint64]pretended), gone: make(map[uint64]bool)}
}

// otherName is no name that a row can have.
const otherName = "\x00"

// before makes a batch that was just read what it would be by now.
func (p *pretence) before(b *batch, rows []Row, good []int) {
	for _, n := range good {
		p.user(b, rows[n])
		if deleting, gone := p.gone[maphash.Comparable(p.seed, rows[n].Credential)]; gone {
			delete(b.owners, rows[n].Credential)
			b.deleting[rows[n].Credential] = deleting
		}
	}
	for _, u := range b.users {
		u.Credentials = p.left(u.Credentials)
	}
}

func (p *pretence) user(b *batch, r Row) {
	would, known := p.users[maphash.String(p.seed, r.User)]
	if !known {
		return
	}
	u := b.users[r.User]
	if u == nil {
		u = &account{User: User{Key: r.User, CreatedAt: moment(b.at)}}
		b.users[r.User] = u
	}
	u.DisabledAt = moment(0)
	if would.disabled {
		u.DisabledAt = moment(b.at)
	}
	switch would.name {
	case maphash.String(p.seed, u.Name):
	case maphash.String(p.seed, r.Name):
		u.Name = r.Name
	default:
		u.Name = otherName
	}
}

// left returns those that are not gone.
func (p *pretence) left(all []Credential) []Credential {
	var left []Credential
	for _, c := range all {
		if _, gone := p.gone[maphash.Comparable(p.seed, c.ID)]; !gone {
			left = append(left, c)
		}
	}
	return left
}

// after remembers what became of a batch.
func (p *pretence) after(b *batch) {
	for _, u := range b.users {
		if !u.changed {
			continue
		}
		key, would := maphash.String(p.seed, u.Key), pretended{!u.DisabledAt.IsZero(), maphash.String(p.seed, u.Name)}
		if u.Name == otherName {
			would.name = p.users[key].name
		}
		p.users[key] = would
	}
	for id := range b.released {
		p.gone[maphash.Comparable(p.seed, id)] = b.deleting[id]
	}
}
