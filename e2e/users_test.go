package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

// loginLimit is far more than a login takes while others change the directory, and
// less than the store's own limit, or the import of TestPeopleAreImportedWhileOthersLogIn.
const loginLimit = 2 * time.Second

// An import beside a service holds nobody up who asks it for a token: neither bob,
// nor people of whom the service knows nothing yet.
func TestPeopleAreImportedWhileOthersLogIn(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	folder := t.TempDir()
	l.env = l.with(setting{"TOKENSVC_DIRECTORY", "sqlite:" + filepath.Join(folder, "people.db")})
	s := startService(t, l.env)
	l.run(t, 0, "users", "add", "bob", "-credential", l.credentials["bob"])

	var list strings.Builder
	list.WriteString("user,credential_id\n")
	for i := range 40_000 {
		fmt.Fprintf(&list, "person%d,%08x-0000-4000-8000-000000000000\n", i, i)
	}
	path := filepath.Join(folder, "people.csv")
	writeFile(t, path, list.String()+"alice,"+l.credentials["alice"]+"\n")
	imported := make(chan done, 1)
	began := time.Now()
	go func() {
		defer close(imported)
		imported <- l.run(t, 0, "users", "import", path)
	}()
	now := time.NewTicker(20 * time.Millisecond)
	defer now.Stop()
	c, asked, slowest := call(t, s), 0, time.Duration(0)
	for {
		select {
		case got := <-imported:
			t.Logf("%d logins in the %v of the import, the slowest in %v", 2*asked, time.Since(began), slowest)
			if got.stdout != "40001 created, 0 updated, 0 unchanged, 0 failed\n" || asked == 0 || slowest > loginLimit {
				t.Errorf("the import: %+v; bob asked %d times meanwhile, and a login took %v", got, asked, slowest)
			}
			l.wantToken(t, "alice", c.send(bearing(l.issuer.Bearer("alice", nil))))
			return
		case <-now.C:
			bob, stranger := l.issuer.Bearer("bob", nil), l.issuer.Bearer(fmt.Sprint("stranger", asked), nil)
			asking := time.Now()
			l.wantToken(t, "bob", c.send(bearing(bob)))
			slowest, asking = max(slowest, time.Since(asking)), time.Now()
			wantRefusal(t, c.send(bearing(stranger)), noCredential)
			slowest = max(slowest, time.Since(asking))
			asked++
		}
	}
}
