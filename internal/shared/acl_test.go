package shared_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/shared"
	"github.com/tokensvc/tokensvc/internal/shared/redistest"
)

// documented is the command of docs/cache.md that makes a user, for that password.
func documented(t *testing.T, password string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cache.md")
	if err != nil {
		t.Fatal(err)
	}
	// What the user may do stands after the hash of his password.
	_, rule, found := strings.Cut(string(text), "-f 1) ~")
	rule, _, ended := strings.Cut(rule, "\"\n")
	if !found || !ended {
		t.Fatal("docs/cache.md makes no user")
	}
	return append([]string{"ACL", "SETUSER", "tokensvc", "reset", "on", ">" + password}, strings.Fields("~"+rule)...)
}

func as(s *redistest.Server, password string) shared.Config {
	return shared.Config{
		URL: strings.Replace(s.URL(), "://", "://tokensvc@", 1), Keys: keys(oldKey),
		Password: func() (secret.Text, error) { return secret.New(password), nil },
	}
}

func TestTheDocumentedUserMayDoWhatIsNeededAndNoMore(t *testing.T) {
	s := redistest.StartT(t)
	user := documented(t, "pass")
	ask(t, s, user...)
	r := connect(t, as(s, "pass"))
	together(t, r)
	held, _ := r.Claim(t.Context(), newID(t))
	<-time.After(1500 * time.Millisecond) // it was renewed
	held()
	overrun(t, r)
	if told := r.told(); told != "true <nil>" {
		t.Errorf("it was told %s", told)
	}
	for _, command := range user {
		// This Redis, of version 7, lets everybody say hello.
		if !strings.HasPrefix(command, "+") || command == "+hello" {
			continue
		}
		without := slices.DeleteFunc(slices.Clone(user), func(w string) bool { return w == command })
		ask(t, s, "ACL", "DELUSER", "tokensvc")
		ask(t, s, "SCRIPT", "FLUSH")
		ask(t, s, without...)
		r := join(t, as(s, "pass"))
		until(t, "it to be missed: "+command, func() bool {
			if r.Up() {
				id := newID(t)
				release, _ := r.Claim(t.Context(), id)
				r.Put(t.Context(), id, newToken(t, time.Hour), time.Now())
				r.Take(t.Context(), id)
				if command == "+pexpire" {
					<-time.After(1200 * time.Millisecond) // it was renewed
				}
				release()
				overrun(t, r)
			}
			return strings.Contains(r.told(), "its ACL does not let the user do")
		})
		r.stop()
	}
}

// overrun has all of the count's script executed.
func overrun(t *testing.T, r *replica) {
	t.Helper()
	calls := r.Calls("overrun")
	for range 3 {
		calls.Take(t.Context(), 2, 10*time.Millisecond)
	}
	<-time.After(10 * time.Millisecond)
	calls.Take(t.Context(), 2, 10*time.Millisecond)
}

// Somebody has a Redis without scripts. What needs none goes on.
func TestWithoutScripts(t *testing.T) {
	s := redistest.StartT(t)
	ask(t, s, documented(t, "pass")...)
	other := connect(t, as(s, "pass"))
	id, token := newID(t), newToken(t, time.Hour)
	other.Put(t.Context(), id, token, time.Now())
	ask(t, s, "ACL", "SETUSER", "tokensvc", "-eval", "-evalsha")

	r := connect(t, as(s, "pass"))
	if !takes(t, r, id, token) {
		t.Error("it does not take what is there")
	}
	if _, ok := r.Allow(t.Context(), "user", "alice", 60, 1); ok {
		t.Error("it knows a rate")
	}
	if _, ok := r.Calls("telnyx").Take(t.Context(), 1, time.Minute); ok {
		t.Error("it counts calls")
	}
	for range 2 {
		if _, ok := r.Claim(t.Context(), id); !ok {
			t.Error("it lets nobody mint")
		}
	}
	if n := strings.Count(r.told(), "true its ACL"); !r.Up() || n != 1 {
		t.Errorf("it was told %s", r.told())
	}
}
