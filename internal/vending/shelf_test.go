package vending_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// emptyHanded is a minter that makes nothing and a shelf with nothing on it.
type emptyHanded struct{}

func (emptyHanded) Mint(context.Context, telnyx.CredentialID) (telnyx.LoginToken, error) {
	return telnyx.LoginToken{}, telnyx.ErrUnavailable
}

func (emptyHanded) Take(context.Context, telnyx.CredentialID) (telnyx.LoginToken, time.Time, bool) {
	return telnyx.LoginToken{}, time.Time{}, false
}

func (emptyHanded) Claim(context.Context, telnyx.CredentialID) (func(), bool) { return func() {}, true }

func (emptyHanded) Put(context.Context, telnyx.CredentialID, telnyx.LoginToken, time.Time) {}

func (emptyHanded) Forget(context.Context, telnyx.CredentialID) {}

// fleet is replicas in front of one Telnyx, with a Redis between them.
type fleet struct {
	*shop // the first; its clock and its Telnyx are everybody's
	redis *redistest.Server
}

func openFleet(t *testing.T, o telnyxtest.Options) *fleet {
	t.Helper()
	f := &fleet{redis: redistest.StartT(t)}
	clock := &clock{start: time.Now()}
	o.Now = clock.Now
	f.shop = openShop(t, clock, telnyxtest.StartT(t, o), vending.Config{Shelf: f.shelf(t, clock)})
	return f
}

// replica opens another.
func (f *fleet) replica(t *testing.T) *shop {
	t.Helper()
	return openShop(t, f.clock, f.telnyx, vending.Config{Shelf: f.shelf(t, f.clock)})
}

func (f *fleet) shelf(t *testing.T, clock *clock) *shared.Redis {
	t.Helper()
	key := secret.New(string(bytes.Repeat([]byte{7}, 32)))
	up := make(chan bool, 100)
	r, err := shared.Open(shared.Config{
		URL: f.redis.URL(), Keys: func() []secret.Text { return []secret.Text{key} }, Realm: "https://telnyx.test",
		OnState: func(is bool, _ error) { up <- is }, Now: clock.Now,
		Timeout: time.Second, // the machine of a test may be busy
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); r.Close() })
	if !<-up {
		t.Fatal("the Redis is not up")
	}
	return r
}

func TestCallersOfOneColdCredentialOnAllReplicasShareOneMint(t *testing.T) {
	one := openFleet(t, telnyxtest.Options{Latency: 300 * time.Millisecond})
	other := one.replica(t)
	id := one.credential(t)
	var wg sync.WaitGroup
	for range 64 {
		for _, replica := range []*shop{one.shop, other} {
			wg.Go(func() {
				if _, err := replica.Vend(t.Context(), id, vending.Ask{}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := one.telnyx.Requests(telnyxtest.Token); n != 1 {
		t.Errorf("%d mints, want 1", n)
	}
}

func TestAReplicaThatStartsTakesWhatTheOthersHaveMinted(t *testing.T) {
	one := openFleet(t, telnyxtest.Options{})
	id := one.credential(t)
	minted := one.vend(t, id, vending.Minted)
	other := one.replica(t)
	if taken := other.vend(t, id, vending.Shared); taken.JWT.Reveal() != minted.JWT.Reveal() {
		t.Error("another token")
	}
	other.vend(t, id, vending.Cached) // without asking the Redis again
}

func TestAReplicaThatStartsInAnOutageHandsOutWhatIsShared(t *testing.T) {
	one := openFleet(t, telnyxtest.Options{TokenLife: 24 * time.Hour})
	id := one.credential(t)
	one.vend(t, id, vending.Minted)
	one.clock.Advance(20 * time.Hour)
	one.telnyx.Inject(telnyxtest.Fault{Op: telnyxtest.Token, Status: 503})
	one.replica(t).vend(t, id, vending.Stale)
}

func TestASuccessorIsMintedByOneReplicaForAll(t *testing.T) {
	one := openFleet(t, telnyxtest.Options{TokenLife: 24 * time.Hour})
	other := one.replica(t)
	id := one.credential(t)
	first := one.vend(t, id, vending.Minted)
	other.vend(t, id, vending.Shared)
	one.clock.Advance(11*time.Hour + 30*time.Minute) // due for both, and good
	one.vend(t, id, vending.Cached)
	until(t, "a successor", func() bool {
		return one.vend(t, id, vending.Cached).JWT.Reveal() != first.JWT.Reveal()
	})
	other.vend(t, id, vending.Cached)
	until(t, "the other's", func() bool {
		return other.vend(t, id, vending.Cached).JWT.Reveal() == one.vend(t, id, vending.Cached).JWT.Reveal()
	})
	if n := one.telnyx.Requests(telnyxtest.Token); n != 2 {
		t.Errorf("%d mints, want 2", n)
	}
}

func TestWhatOneReplicaForgetsNoneHandsOutFromTheShelf(t *testing.T) {
	one := openFleet(t, telnyxtest.Options{})
	id := one.credential(t)
	first := one.vend(t, id, vending.Minted)
	one.Forget(t.Context(), id)
	if got := one.replica(t).vend(t, id, vending.Minted); got.JWT.Reveal() == first.JWT.Reveal() {
		t.Error("the forgotten token")
	}
}

func TestAFreshTokenTakesTheOldOnesPlaceOnTheShelf(t *testing.T) {
	one := openFleet(t, telnyxtest.Options{})
	id := one.credential(t)
	one.vend(t, id, vending.Minted)
	fresh, err := one.Vend(t.Context(), id, vending.Ask{Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := one.replica(t).vend(t, id, vending.Shared); got.JWT.Reveal() != fresh.JWT.Reveal() {
		t.Error("the token before is shared")
	}
}

// Redis costs speed, not service.
func TestWithItsRedisKilledEveryReplicaGoesOn(t *testing.T) {
	one := openFleet(t, telnyxtest.Options{})
	other := one.replica(t)
	known, cold := one.credential(t), one.credential(t)
	one.vend(t, known, vending.Minted)
	one.redis.Kill()
	one.vend(t, known, vending.Cached)
	one.vend(t, cold, vending.Minted)
	other.vend(t, cold, vending.Minted)
}

func TestACacheThatIsNoneHasNoShelf(t *testing.T) {
	if _, err := vending.New(vending.Config{Minter: emptyHanded{}, KeepNothing: true, Shelf: emptyHanded{}}); err == nil {
		t.Error("accepted")
	}
}
