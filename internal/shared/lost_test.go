package shared

import (
	"fmt"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

func numbered(t *testing.T, n int) telnyx.CredentialID {
	t.Helper()
	id, err := telnyx.ParseCredentialID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTheSecondTimeIsNotDoneWithTheFirst(t *testing.T) {
	var l lost
	id := numbered(t, 1)
	first := l.add(id, time.Now())
	second := l.add(id, time.Now())
	if l.remove(id, first); !l.has(id) {
		t.Error("it is forgotten for done, and somebody has lost it since")
	}
	if l.remove(id, second); l.has(id) {
		t.Error("it is not done with")
	}
}

// Redis has been away for so long that nobody knows any more what is to be
// forgotten: nothing of that time is taken.
func TestMoreIsLostThanCanBeRemembered(t *testing.T) {
	var l lost
	now := time.Now()
	for n := range maxLost {
		l.add(numbered(t, n), now)
	}
	if !l.before().IsZero() || !l.has(numbered(t, 0)) || len(l.some()) != someLost {
		t.Errorf("%v, %d to be tried", l.before(), len(l.some()))
	}
	l.add(numbered(t, 7), now.Add(time.Second))
	if !l.before().IsZero() {
		t.Error("one that is remembered takes the room of another")
	}
	l.add(numbered(t, maxLost), now.Add(time.Minute))
	if !l.before().Equal(now.Add(time.Minute)) || !l.has(numbered(t, maxLost)) || len(l.ids) > maxLost {
		t.Errorf("what is older than %v is not taken, of %d", l.before(), len(l.ids))
	}
}
