package shared_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
)

func TestOneOfManyMayMint(t *testing.T) {
	s := redistest.StartT(t)
	a, b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)}), connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id := newID(t)
	var granted atomic.Int64
	var callers sync.WaitGroup
	releases := make(chan func(), 128)
	for i := range 128 {
		r := []*replica{a, b}[i%2]
		callers.Go(func() {
			release, ok := r.Claim(t.Context(), id)
			if ok {
				granted.Add(1)
			}
			releases <- release
		})
	}
	callers.Wait()
	if n := granted.Load(); n != 1 {
		t.Fatalf("%d may mint, want 1", n)
	}
	if _, ok := a.Claim(t.Context(), newID(t)); !ok {
		t.Error("nor may another be minted for")
	}
	close(releases)
	for release := range releases {
		release()
	}
	if _, ok := b.Claim(t.Context(), id); !ok {
		t.Error("after the release nobody may mint")
	}
}

func TestAClaimIsRenewedWhileItIsHeld(t *testing.T) {
	t.Parallel()
	s := redistest.StartT(t)
	a, b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)}), connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id := newID(t)
	release, ok := a.Claim(t.Context(), id)
	if !ok {
		t.Fatal("it is not granted")
	}
	for end := time.Now().Add(4500 * time.Millisecond); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		if _, ok := b.Claim(t.Context(), id); ok {
			t.Fatal("another has it meanwhile")
		}
	}
	release()
	release, ok = b.Claim(t.Context(), id)
	if !ok {
		t.Error("it was not released")
	}
	release()
	release()
}

func TestTheClaimOfADeadReplicaLapses(t *testing.T) {
	t.Parallel()
	s := redistest.StartT(t)
	a, b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)}), connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id := newID(t)
	release, _ := a.Claim(t.Context(), id)
	a.stop()
	<-a.ended
	if _, ok := b.Claim(t.Context(), id); ok {
		t.Fatal("it has lapsed at once")
	}
	began := time.Now()
	var again func()
	until(t, "it to lapse", func() (ok bool) { again, ok = b.Claim(t.Context(), id); return ok })
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	release() // of what is another's now
	if _, ok := b.Claim(t.Context(), id); ok {
		t.Error("a late release takes another's claim away")
	}
	again()
}

// A release that comes late, from a replica that is alive, is of no use either.
func TestAClaimThatLapsedIsNotReleasedTwice(t *testing.T) {
	s := redistest.StartT(t)
	a, b := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)}), connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id := newID(t)
	release, _ := a.Claim(t.Context(), id)
	ask(t, s, "DEL", nameOf(t, s, "claim", id))
	if _, ok := b.Claim(t.Context(), id); !ok {
		t.Fatal("it is not granted")
	}
	release()
	if _, ok := b.Claim(t.Context(), id); ok {
		t.Error("a late release takes another's claim away")
	}
}
