package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/directory/store"
)

// A user can ask for many devices at once, of any replica, and each creation takes
// a while.
func TestManyDevicesAtOnceAreNotTooMany(t *testing.T) {
	for _, replace := range []bool{false, true} {
		t.Run(fmt.Sprintf("replace is %v", replace), func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *books) {
				replicas := []*store.Store{b.open(t), b.open(t)}
				limits := store.Limits{CreateUsers: true, MaxDevices: 3, Replace: replace}
				var got atomic.Int64
				var callers sync.WaitGroup
				for n := range 12 {
					callers.Go(func() {
						device := directory.Device(fmt.Sprint("d", n))
						_, err := replicas[n%2].Begin(t.Context(), intent("main:alice", device, "me"), limits, hold)
						if err == nil {
							got.Add(1)
						} else if !errors.Is(err, directory.ErrTooManyDevices) {
							t.Error(err)
						}
					})
				}
				callers.Wait()
				if got.Load() != 3 {
					t.Errorf("%d may be created, want 3", got.Load())
				}
			})
		})
	}
}

func TestWhatCountsAsADeviceWhileItIsCreated(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		two, replace := store.Limits{CreateUsers: true, MaxDevices: 2}, store.Limits{CreateUsers: true, MaxDevices: 2, Replace: true}
		begin := func(user string, device directory.Device, l store.Limits) error {
			_, err := s.Begin(t.Context(), intent(user, device, "me"), l, hold)
			return err
		}
		want := func(says string, got, want error) {
			t.Helper()
			if !errors.Is(got, want) {
				t.Errorf("%s: %v, want %v", says, got, want)
			}
		}
		provision(t, s, "main:alice", "a", two)
		want("a second device", begin("main:alice", "b", two), nil)
		want("a third, while the second is created", begin("main:alice", "c", two), directory.ErrTooManyDevices)
		want("one that is created already", begin("main:alice", "b", two), store.ErrHeld)
		want("another user's", begin("main:bob", "c", two), nil)
		want("a third, where the first makes room", begin("main:alice", "c", replace), nil)
		want("a fourth, where none of those makes room", begin("main:alice", "d", replace), directory.ErrTooManyDevices)

		if err := s.Abandon(t.Context(), intent("main:alice", "c", "me"), true); err != nil {
			t.Fatal(err)
		}
		assign(t, s, "main:alice", "b", newID())
		want("a device that got its credential otherwise counts once", begin("main:alice", "c", replace), nil)

		b.elapse(t, 2*hold)
		want("what nobody creates any more", begin("main:bob", "d", two), nil)
	})
}
