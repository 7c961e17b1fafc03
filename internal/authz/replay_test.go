package authz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"
)

// numbered is the identity of a made-up proof or bearer.
func numbered(n int) (d digest) {
	binary.BigEndian.PutUint64(d[:], uint64(n))
	return d
}

// verdict is what check said, in a word.
func verdict(err error) string {
	var invalid *InvalidError
	switch {
	case err == nil:
		return "accepted"
	case errors.As(err, &invalid):
		return string(invalid.Reason)
	case errors.Is(err, ErrBusy):
		return "busy"
	}
	return err.Error()
}

func TestTheMemoryForgetsWhatCannotComeAgain(t *testing.T) {
	const perSecond, seconds = 10, 3600
	r := newReplays(proofLife, maxProofs)
	for n := range perSecond * seconds {
		now := proofNow.Add(time.Duration(n) * time.Second / perSecond)
		if err := r.admit(numbered(n), fmt.Sprint("user-", n), now, now); err != nil {
			t.Fatalf("proof %d: %v", n, err)
		}
		if held := len(r.recent.proofs) + len(r.older.proofs); held > 2*perSecond*int(proofLife/time.Second) {
			t.Fatalf("%d proofs are remembered after %d", held, n)
		}
		if held := len(r.recent.users) + len(r.older.users); held > 2*perSecond*int(proofLife/time.Second) {
			t.Fatalf("%d users are remembered after %d", held, n)
		}
	}
}

// Whatever the moments at which a proof comes first and again, and generations
// turn, it passes once; and one that never came is never taken for old.
func TestTheMemoryForgetsNothingEarly(t *testing.T) {
	const step = proofLife / 14
	for first := range 30 {
		for later := range 15 {
			r := newReplays(proofLife, maxProofs)
			for tick := range first + later + 1 { // one proof every step makes generations turn
				now := proofNow.Add(time.Duration(tick) * step)
				if err := r.admit(numbered(1000+tick), "alice", now.Add(-maxProofAge), now); err != nil {
					t.Fatalf("tick %d, as old as can be: %v", tick, err)
				}
				if tick == first {
					if err := r.admit(numbered(1), "alice", now.Add(maxProofAhead), now); err != nil {
						t.Fatal(err)
					}
				}
			}
			issued := proofNow.Add(time.Duration(first) * step).Add(maxProofAhead)
			again := proofNow.Add(time.Duration(first+later) * step)
			if got := verdict(r.admit(numbered(1), "alice", issued, again)); got != "proof_replayed" {
				t.Errorf("came in step %d, and %d steps later: %s", first, later, got)
			}
		}
	}
}

func TestAClockThatIsSetBackOpensNothing(t *testing.T) {
	r := newReplays(proofLife, maxProofs)
	admit := func(id int, issuedAfter, after time.Duration) string {
		return verdict(r.admit(numbered(id), "alice", proofNow.Add(issuedAfter), proofNow.Add(after)))
	}
	for _, step := range []struct {
		id         int
		issued, at time.Duration
		want       string
	}{
		{1, 0, 0, "accepted"},
		{2, proofLife, proofLife, "accepted"},
		{3, 2 * proofLife, 2 * proofLife, "accepted"}, // 1 is forgotten
		{1, 0, time.Second, "proof_time"},
		{4, 0, time.Second, "proof_time"}, // perhaps it came
		{2, proofLife, proofLife, "proof_replayed"},
		{5, time.Second, time.Second, "accepted"},
	} {
		if got := admit(step.id, step.issued, step.at); got != step.want {
			t.Errorf("proof %d at %v: %s, want %s", step.id, step.at, got, step.want)
		}
	}
}

func TestOneUserDoesNotFillTheMemory(t *testing.T) {
	r := newReplays(proofLife, maxProofs)
	const greedy, modest = "main:greedy", "main:modest"
	for n := range maxProofsPerUser {
		if err := r.admit(numbered(n), greedy, proofNow, proofNow); err != nil {
			t.Fatal(err)
		}
	}
	if got := verdict(r.admit(numbered(-1), greedy, proofNow, proofNow)); got != "busy" {
		t.Errorf("one more: %s, want busy", got)
	}
	if got := verdict(r.admit(numbered(-2), modest, proofNow, proofNow)); got != "accepted" {
		t.Errorf("another user: %s, want accepted", got)
	}
}

// BenchmarkReplays tells what a full memory takes: bytes in B/op.
func BenchmarkReplays(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		r := newReplays(proofLife, maxProofs)
		for n := range maxProofs {
			if err := r.admit(numbered(n), fmt.Sprint(n), proofNow, proofNow); err != nil {
				b.Fatal(err)
			}
		}
	}
}
