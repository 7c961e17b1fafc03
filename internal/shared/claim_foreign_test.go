package shared_test

import (
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
)

// Who can write into Redis can keep others from minting, for as long as he does.
func TestALeaseThatWasWrittenByHandDoesNotLast(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id := newID(t)
	release, ok := r.Claim(t.Context(), id)
	names, _ := ask(t, s, "KEYS", "tokensvc:claim:*").([]any)
	if !ok || len(names) != 1 {
		t.Fatalf("granted %v, names %v", ok, names)
	}
	name, _ := names[0].(string)
	release()
	for _, write := range [][]string{{"SET", name, "x"}, {"SET", name, "x", "PX", "3600000"}} {
		ask(t, s, write...)
		release, ok := r.Claim(t.Context(), id)
		if !ok {
			t.Errorf("%v holds for ever", write)
		}
		release()
	}
	ask(t, s, "SET", name, "x", "PX", "2000")
	if _, ok := r.Claim(t.Context(), id); ok {
		t.Error("what looks like another's lease does not hold")
	}
}

// So can he keep a token out.
func TestAMarkThatIsStillToComeIsNone(t *testing.T) {
	s := redistest.StartT(t)
	r := connect(t, shared.Config{URL: s.URL(), Keys: keys(oldKey)})
	id, token := newID(t), newToken(t, time.Hour)
	r.Forget(t.Context(), id)
	names, _ := ask(t, s, "KEYS", "tokensvc:forgotten:*").([]any)
	if len(names) != 1 {
		t.Fatalf("names %v", names)
	}
	name, _ := names[0].(string)
	ask(t, s, "SET", name, "99999999999999999")
	r.Put(t.Context(), id, token, time.Now())
	if !takes(t, r, id, token) {
		t.Error("the token is kept out")
	}
}
