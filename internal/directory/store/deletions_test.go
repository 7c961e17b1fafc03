package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// orphans puts credentials on the list of what to delete.
func orphans(t *testing.T, s *store.Store, n int) []telnyx.CredentialID {
	t.Helper()
	ids := make([]telnyx.CredentialID, n)
	for i := range ids {
		ids[i] = newID()
		if err := s.QueueDeletion(t.Context(), by, ids[i], "an orphan"); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func claim(t *testing.T, s *store.Store, n int) []store.Deletion {
	t.Helper()
	return must[[]store.Deletion](t)(s.ClaimDeletions(t.Context(), n, hold))
}

func TestADeletionIsClaimedByOne(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		replicas := []*store.Store{b.open(t), b.open(t)}
		orphans(t, replicas[0], 60)
		claims := make(chan []store.Deletion, 20)
		var workers sync.WaitGroup
		for n := range cap(claims) {
			workers.Go(func() {
				got, err := replicas[n%2].ClaimDeletions(t.Context(), 5, hold)
				if err != nil {
					t.Error(err)
				}
				claims <- got
			})
		}
		workers.Wait()
		close(claims)
		times := make(map[telnyx.CredentialID]int)
		for claimed := range claims {
			if len(claimed) > 5 {
				t.Errorf("%d were claimed, want at most 5", len(claimed))
			}
			for _, d := range claimed {
				times[d.ID]++
			}
		}
		for id, n := range times {
			if n > 1 {
				t.Errorf("%s was claimed %d times", id, n)
			}
		}
		for _, d := range claim(t, replicas[0], store.MaxPage) { // those that all had skipped
			times[d.ID]++
		}
		if len(times) != 60 {
			t.Errorf("%d were claimed, want 60", len(times))
		}
	})
}

func TestADeletionsLife(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s, other := b.open(t), b.open(t)
		id := provision(t, s, "main:alice", "desk", everyone)
		if err := s.QueueDeletion(t.Context(), by, id, ""); !errors.Is(err, store.ErrTaken) {
			t.Errorf("somebody's credential is queued: %v", err)
		}
		must[store.User](t)(s.Disable(t.Context(), by, "main:alice", store.Match{}))

		first := claim(t, s, 10)
		if len(first) != 1 || first[0].ID != id || first[0].User != "main:alice" || first[0].Device != "desk" || first[0].Attempts != 1 ||
			time.Since(first[0].Since).Abs() > time.Minute {
			t.Fatalf("claimed are %+v", first)
		}
		if again := claim(t, other, 10); len(again) != 0 {
			t.Errorf("claimed twice: %+v", again)
		}
		b.elapse(t, hold+time.Second) // whoever claimed it has died
		if next := claim(t, other, 10); len(next) != 1 || next[0].Attempts != 2 {
			t.Errorf("after the hold: %+v", next)
		}
		if err := other.Postpone(t.Context(), id, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		b.elapse(t, 59*time.Minute)
		if early := claim(t, s, 10); len(early) != 0 {
			t.Errorf("claimed before it was due: %+v", early)
		}
		b.elapse(t, 2*time.Minute)
		if due := claim(t, s, 10); len(due) != 1 || due[0].Attempts != 3 {
			t.Errorf("when it was due: %+v", due)
		}
		for range 2 {
			if err := s.Deleted(t.Context(), by, id, "was not there"); err != nil {
				t.Fatal(err)
			}
		}
		if want := "user_created, credential_created desk, credential_released desk, user_disabled, credential_deleted desk (was not there)"; story(t, s, "main:alice") != want {
			t.Errorf("it reads %s, want %s", story(t, s, "main:alice"), want)
		}
		if left := claim(t, s, 10); len(left) != 0 {
			t.Errorf("left are %+v", left)
		}
		b.consistent(t)
	})
}

func TestAReplicaWhoseClockIsWrong(t *testing.T) {
	for _, row := range []struct {
		says string
		off  time.Duration
	}{{"an hour late", -time.Hour}, {"an hour early", time.Hour}} {
		t.Run(row.says, func(t *testing.T) {
			b := postgresBooks(t, sharedPostgres(t)) // SQLite has one process, and goes by its clock
			right := b.open(t)
			b.cfg.Now = func() time.Time { return time.Now().Add(row.off) }
			wrong := b.open(t)

			if ok := must[bool](t)(right.TryLease(t.Context(), "reconcile", "right", hold)); !ok {
				t.Fatal("nobody has it")
			}
			if ok := must[bool](t)(wrong.TryLease(t.Context(), "reconcile", "wrong", hold)); ok {
				t.Error("the lease is taken away")
			}
			must[store.Credential](t)(wrong.Begin(t.Context(), intent("main:alice", "default", "wrong"), everyone, hold))
			if _, err := right.Begin(t.Context(), intent("main:alice", "default", "right"), everyone, hold); !errors.Is(err, store.ErrHeld) {
				t.Errorf("the intent is taken away: %v", err)
			}
			ids := orphans(t, wrong, 1)
			if got := claim(t, right, 1); len(got) != 1 {
				t.Error("what the wrong one queued is not due")
			}
			if err := wrong.Postpone(t.Context(), ids[0], time.Now().Add(row.off+10*time.Minute)); err != nil {
				t.Fatal(err)
			}
			b.elapse(t, 9*time.Minute)
			early := claim(t, right, 1)
			b.elapse(t, 2*time.Minute)
			if due := claim(t, right, 1); len(early) != 0 || len(due) != 1 {
				t.Errorf("ten minutes are to it %v, %v", early, due)
			}
		})
	}
}

func TestRetiring(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		kept, gone := provision(t, s, "main:alice", "a", everyone), provision(t, s, "main:alice", "b", everyone)
		before := must[store.User](t)(s.User(t.Context(), "main:alice")).Version
		if err := errors.Join(s.Retire(t.Context(), by, kept, "is another's at Telnyx", false), s.Retire(t.Context(), by, gone, "is not at Telnyx", true)); err != nil {
			t.Fatal(err)
		}
		if err := s.Retire(t.Context(), by, gone, "", true); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("retired twice: %v", err)
		}
		u := must[store.User](t)(s.User(t.Context(), "main:alice"))
		if len(u.Credentials) != 0 || u.Version != before+2 {
			t.Errorf("she is %+v, was at version %d", u, before)
		}
		if got := claim(t, s, 10); len(got) != 1 || got[0].ID != kept {
			t.Errorf("to be deleted are %+v, want %v", got, kept)
		}
		b.consistent(t)
	})
}

func TestWhatTheListOfDeletionsRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		s := b.open(t)
		for _, n := range []int{-1, 0, store.MaxPage + 1} {
			if _, err := s.ClaimDeletions(t.Context(), n, hold); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("%d are claimed: %v", n, err)
			}
		}
	})
}

func TestLeases(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		one, two := b.open(t), b.open(t)
		try := func(s *store.Store, name, holder string, want bool, says string) {
			t.Helper()
			if got := must[bool](t)(s.TryLease(t.Context(), name, holder, hold)); got != want {
				t.Errorf("%s: %v, want %v", says, got, want)
			}
		}
		release := func(s *store.Store, holder string) {
			t.Helper()
			if err := s.ReleaseLease(t.Context(), "reconcile", holder); err != nil {
				t.Fatal(err)
			}
		}
		try(one, "reconcile", "one", true, "a lease that nobody has")
		try(two, "reconcile", "two", false, "one that another has")
		try(two, "import", "two", true, "another lease")
		b.elapse(t, hold-10*time.Second)
		try(one, "reconcile", "one", true, "one that it has already")
		b.elapse(t, hold-10*time.Second)
		try(two, "reconcile", "two", false, "one that was made longer")
		release(two, "two")
		try(two, "reconcile", "two", false, "another's, released by somebody else")
		b.elapse(t, 11*time.Second)
		try(two, "reconcile", "two", true, "one whose time is over")
		release(one, "one")
		try(one, "reconcile", "one", false, "one that was taken over")
		release(two, "two")
		try(one, "reconcile", "one", true, "one that was released")
	})
}

func TestOfManyWhoWantALeaseOneGetsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, b *books) {
		replicas := []*store.Store{b.open(t), b.open(t)}
		var all sync.WaitGroup
		got := make(chan bool, 30)
		for n := range cap(got) {
			all.Go(func() {
				ok, err := replicas[n%2].TryLease(t.Context(), "reconcile", fmt.Sprint(n), hold)
				if err != nil {
					t.Error(err)
				}
				got <- ok
			})
		}
		all.Wait()
		close(got)
		holders := 0
		for ok := range got {
			if ok {
				holders++
			}
		}
		if holders != 1 {
			t.Errorf("%d have it, want 1", holders)
		}
	})
}
