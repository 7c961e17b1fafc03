package rolling_test

import (
	"fmt"
	"strings"
	"testing"
)

// What the log says of files.
const (
	keyTaken   = "API key read again"
	usersTaken = "users file read again"
	rulesTaken = "rules read again"
)

// newPair is a world of two replicas that everybody of a crowd, and these
// others, may have tokens of.
func newPair(t *testing.T, others ...string) (w *world, usersFile string) {
	t.Helper()
	w = newWorld(t)
	usersFile = w.register(t, others...)
	w.start(t, oldVersion)
	w.start(t, oldVersion)
	return w, usersFile
}

// wantAll wants every replica to have that outcome for somebody.
func (w *world) wantAll(t *testing.T, name string, claims map[string]any, outcome string) {
	t.Helper()
	for i, r := range w.replicas {
		if got := w.ask(t, r, name, claims); got != outcome {
			t.Errorf("replica %d: %s is %s, want %s", i+1, name, got, outcome)
		}
	}
}

// A key is made at Telnyx, put into the file, and when all replicas have it the
// one before is revoked. Then once more, back.
func TestAnotherAPIKeyLosesNoRequest(t *testing.T) {
	t.Parallel()
	w, _ := newPair(t)
	c := w.gather(t, nil)
	for _, keys := range [][2]string{{firstKey, nextKey}, {nextKey, firstKey}} {
		w.telnyx.AcceptKeys(keys[0], keys[1])
		w.whenAllSay(t, keyTaken, func() { w.write(t, "api.key", keys[1]+"\n") })
		c.moveOn(t) // what was under way with the key before is over
		w.telnyx.AcceptKeys(keys[1])
		minted := w.telnyx.Minted()
		c.moveOn(t)
		if w.telnyx.Minted() == minted {
			t.Error("nothing was minted with the new key")
		}
	}
	c.leave(t)
	if n := w.telnyx.Unauthorized(); n != 0 {
		t.Errorf("%d calls came to Telnyx with a revoked key", n)
	}
}

// People come into the users file and go from it, and whoever stays does not
// notice.
func TestAnotherUsersFileLosesNoRequest(t *testing.T) {
	t.Parallel()
	w, all := newPair(t, "erin")
	without := withoutLine(all, "erin")
	c := w.gather(t, nil)
	for range 2 {
		w.wantAll(t, "erin", nil, "issued")
		w.whenAllSay(t, usersTaken, func() { w.write(t, "users.yaml", without) })
		w.wantAll(t, "erin", nil, "no_credential")
		c.moveOn(t)
		w.whenAllSay(t, usersTaken, func() { w.write(t, "users.yaml", all) })
		c.moveOn(t)
	}
	c.leave(t)
}

// withoutLine takes the line of somebody out of a users file.
func withoutLine(file, name string) string {
	var b strings.Builder
	for line := range strings.Lines(file) {
		if !strings.HasPrefix(line, "  "+name+":") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// A rule lets some in and others not, and whoever it is not about does not notice.
func TestAnotherRuleLosesNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, "erin")
	rule := func(groups string) {
		w.write(t, "tokensvc.yaml", fmt.Sprintf("issuers:\n- issuer: %q\n  audience: %s\n  require: {groups: [%s]}\n", w.issuer.URL(), audience, groups))
	}
	delete(w.env, "TOKENSVC_OIDC_ISSUER")
	delete(w.env, "TOKENSVC_OIDC_AUDIENCE")
	w.config = w.path("tokensvc.yaml")
	rule("agents, leads")
	w.start(t, oldVersion)
	w.start(t, oldVersion)

	lead := map[string]any{"groups": []string{"leads"}}
	c := w.gather(t, map[string]any{"groups": []string{"agents"}})
	for range 2 {
		w.wantAll(t, "erin", lead, "issued")
		w.whenAllSay(t, rulesTaken, func() { rule("agents") })
		w.wantAll(t, "erin", lead, "denied")
		c.moveOn(t)
		w.whenAllSay(t, rulesTaken, func() { rule("agents, leads") })
		c.moveOn(t)
	}
	c.leave(t)
}
