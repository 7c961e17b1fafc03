package authz

import (
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

var proofNow = time.Unix(1900000000, 0)

// fixed is a clock that tests set.
type fixed struct{ time time.Time }

func (f *fixed) now() time.Time { return f.time }

func keyOf(s string) func() secret.Text { return func() secret.Text { return secret.New(s) } }

func TestNoncesAreValidForTwoPeriods(t *testing.T) {
	start := time.Unix(0, 0).Add(proofNow.Sub(time.Unix(0, 0)).Truncate(nonceLife))
	for handedOut, rows := range map[time.Duration]map[time.Duration]bool{
		0: {
			0: true, nonceLife - 1: true, nonceLife: true, 2*nonceLife - 1: true,
			2 * nonceLife: false, 24 * time.Hour: false, -1: false,
		},
		nonceLife - 1: {nonceLife: true, 2*nonceLife - 1: true, 2 * nonceLife: false},
	} {
		clock := &fixed{start.Add(handedOut)}
		n := newNonces(keyOf("k"), clock.now)
		nonce := n.current()
		for at, want := range rows {
			clock.time = start.Add(at)
			if got := n.valid(nonce); got != want {
				t.Errorf("handed out at %v, used at %v: %v, want %v", handedOut, at, got, want)
			}
		}
	}
}

func TestReplicasWithOneKeyAcceptEachOthersNonces(t *testing.T) {
	clock := &fixed{proofNow}
	a, b, other := newNonces(keyOf("k"), clock.now), newNonces(keyOf("k"), clock.now), newNonces(keyOf("l"), clock.now)
	if !b.valid(a.current()) {
		t.Error("a replica with the same key refuses it")
	}
	if other.valid(a.current()) {
		t.Error("another key accepts it")
	}
}

func TestAKeyThatIsReplacedEndsItsNonces(t *testing.T) {
	key := "old"
	n := newNonces(func() secret.Text { return secret.New(key) }, (&fixed{proofNow}).now)
	nonce := n.current()
	key = "new"
	if n.valid(nonce) {
		t.Error("the old key's nonce is accepted")
	}
	if !n.valid(n.current()) {
		t.Error("the new key's nonce is refused")
	}
}

func TestWithoutAKeyNoNonceIsValid(t *testing.T) {
	n := newNonces(func() secret.Text { return secret.Text{} }, (&fixed{proofNow}).now)
	if nonce := n.current(); nonce != "" || n.valid(nonce) || n.valid(nonceOf(secret.New(""), n.period())) {
		t.Errorf("nonce %q", nonce)
	}
}
