package provisioning

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	// cacheLife is how long the books are not asked again. It is short, because for
	// so long a replica that does not hear of a change goes on as before.
	cacheLife = 2 * time.Second
	// maxCached bounds the entries. A user's key has up to 300 bytes.
	maxCached = 50_000
	// groups is how many groups of users there are. A change outdates what is kept
	// of its user's group, a few in a thousand.
	groups = 1024
)

// A place is where a credential belongs.
type place struct {
	user   string
	device directory.Device
}

// cached is a usable credential, as the books had it.
type cached struct {
	id         telnyx.CredentialID
	until      time.Time
	generation uint64
}

// A cache keeps for a moment what the books said of credentials that can be used.
// Everything in it has the generation of its user's group from before the books
// were asked, and counts only as long as that is still the group's. So nothing
// that was read before a change is used after it, however late it is put in.
type cache struct {
	now    func() time.Time
	kept   *otter.Cache[place, cached]
	seed   maphash.Seed
	all    atomic.Uint64
	groups [groups]atomic.Uint64
}

func newCache(now func() time.Time) (*cache, error) {
	kept, err := otter.New(&otter.Options[place, cached]{
		MaximumSize:      maxCached,
		ExpiryCalculator: otter.ExpiryWriting[place, cached](cacheLife),
	})
	return &cache{now: now, kept: kept, seed: maphash.MakeSeed()}, err
}

func (c *cache) close() { c.kept.StopAllGoroutines() }

// generation grows with every change in the user's group.
func (c *cache) generation(user string) uint64 { return c.all.Load() + c.group(user).Load() }

func (c *cache) group(user string) *atomic.Uint64 {
	return &c.groups[maphash.String(c.seed, user)%groups]
}

func (c *cache) changed(change store.Change) {
	if change.All || change.User == "" {
		c.all.Add(1)
		return
	}
	c.group(change.User).Add(1)
}

func (c *cache) get(p place) (telnyx.CredentialID, bool) {
	k, ok := c.kept.GetIfPresent(p)
	if !ok || k.generation != c.generation(p.user) || !c.now().Before(k.until) {
		return telnyx.CredentialID{}, false
	}
	return k.id, true
}

// keep keeps a credential that was read at the generation or after it began.
func (c *cache) keep(p place, found store.Credential, generation uint64) {
	until := c.now().Add(cacheLife)
	if !found.ExpiresAt.IsZero() && found.ExpiresAt.Before(until) {
		until = found.ExpiresAt
	}
	c.kept.Set(p, cached{found.ID, until, generation})
}
