package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const reloadLimit = 10 * time.Second // from a file's change to its effect

// awaitLogged waits for one more line with that message than there were before,
// and returns it.
func (s *service) awaitLogged(t *testing.T, before int, message string) map[string]any {
	t.Helper()
	var last map[string]any
	eventually(t, reloadLimit, "the log line "+message, func() error {
		lines := s.logged(message)
		if len(lines) <= before {
			return fmt.Errorf("there are %d of them", len(lines))
		}
		last = lines[len(lines)-1]
		return nil
	})
	return last
}

// whenChanged makes a change and waits until the service says that it has seen
// it, in these words.
func (s *service) whenChanged(t *testing.T, message string, change func()) map[string]any {
	t.Helper()
	before := len(s.logged(message))
	change()
	return s.awaitLogged(t, before, message)
}

// replaceFile puts a new file in the place of an old one, as careful editors do.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	writeFile(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// What the log says of files.
const (
	usersTaken   = "users file read again"
	usersRefused = "users file not taken up; what was read before stays"
	keyTaken     = "API key read again"
	keyRefused   = "API key not taken up; what was read before stays"
	rulesTaken   = "rules read again"
	rulesRefused = "rules not taken up; what was read before stays"
)

func TestUsersFileIsFollowed(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob", "carol")
	writeFile(t, l.users, l.usersFile("alice"))
	s := startService(t, l.env)
	c := call(t, s)
	have := func(users ...string) {
		t.Helper()
		for user := range l.credentials {
			got := c.send(bearing(l.issuer.Bearer(user, nil)))
			if strings.Contains(strings.Join(users, " "), user) {
				l.wantToken(t, user, got)
			} else {
				wantRefusal(t, got, noCredential)
			}
		}
	}
	refused := func(line map[string]any, reason string) {
		t.Helper()
		if told := fmt.Sprint(line["error"]); !strings.Contains(told, reason) || line["level"] != "error" || line["file"] != l.users {
			t.Errorf("logged %v, want an error about %s that says %s", line, l.users, reason)
		}
	}
	have("alice")

	s.whenChanged(t, usersTaken, func() { replaceFile(t, l.users, l.usersFile("alice", "bob")) })
	have("alice", "bob")
	s.whenChanged(t, usersTaken, func() { writeFile(t, l.users, l.usersFile("bob", "carol")) }) // in its place
	have("bob", "carol")                                                                        // alice's kept token does not help her

	refused(s.whenChanged(t, usersRefused, func() {
		replaceFile(t, l.users, l.usersFile("alice")+"  bob: "+marked+"\n")
	}), "users.yaml:3: a credential is a UUID")
	have("bob", "carol")
	refused(s.whenChanged(t, usersRefused, func() { writeFile(t, l.users, "") }), "must be a mapping with the key users")
	have("bob", "carol")
	refused(s.whenChanged(t, usersRefused, func() {
		if err := os.Remove(l.users); err != nil {
			t.Fatal(err)
		}
	}), "no such file")
	have("bob", "carol")

	s.whenChanged(t, usersTaken, func() { writeFile(t, l.users, l.usersFile("alice", "bob", "carol")) })
	have("alice", "bob", "carol")
	if strings.Contains(s.output.String(), marked) {
		t.Error("the log shows what a broken file holds")
	}
}

// Kubernetes mounts a ConfigMap or Secret as links into a folder, ..data, and
// changes them all at once by putting another folder in its place.
func TestUsersFileInAConfigMapIsFollowed(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	mount := t.TempDir()
	publish := func(version, content string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(mount, version), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(mount, version, "users.yaml"), content)
		link(t, version, filepath.Join(mount, "..data_tmp"))
		if err := os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..2026_01_01", l.usersFile("alice"))
	link(t, filepath.Join("..data", "users.yaml"), filepath.Join(mount, "users.yaml"))
	s := startService(t, l.with(setting{"TOKENSVC_DIRECTORY", "file:" + filepath.Join(mount, "users.yaml")}))
	c := call(t, s)
	wantRefusal(t, c.send(bearing(l.issuer.Bearer("bob", nil))), noCredential)

	for i, version := range []string{"..2026_01_02", "..2026_01_03"} { // the second too is followed
		users := []string{"bob", "alice"}[i]
		s.whenChanged(t, usersTaken, func() { publish(version, l.usersFile(users)) })
		l.wantToken(t, users, c.send(bearing(l.issuer.Bearer(users, nil))))
	}
	wantRefusal(t, c.send(bearing(l.issuer.Bearer("bob", nil))), noCredential)
}

func link(t *testing.T, to, from string) {
	t.Helper()
	if err := os.Symlink(to, from); err != nil {
		t.Fatal(err)
	}
}

// A file behind a link changes where nobody watches. Then the operator says so.
func TestHangupReadsFilesAgain(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	writeFile(t, l.users, l.usersFile("alice"))
	away := filepath.Join(t.TempDir(), "linked.yaml")
	link(t, l.users, away)
	s := startService(t, l.with(setting{"TOKENSVC_DIRECTORY", "file:" + away}))
	c := call(t, s)

	writeFile(t, l.users, l.usersFile("alice", "bob"))
	wantRefusal(t, c.send(bearing(l.issuer.Bearer("bob", nil))), noCredential)
	s.whenChanged(t, usersTaken, func() { s.signal(t, syscall.SIGHUP) })
	l.wantToken(t, "bob", c.send(bearing(l.issuer.Bearer("bob", nil))))
	l.wantToken(t, "alice", c.send(bearing(l.issuer.Bearer("alice", nil))))
}

func TestAPIKeyIsReplacedWithoutARestart(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob", "carol")
	delete(l.env, "TELNYX_API_KEY")
	file := filepath.Join(t.TempDir(), "key")
	writeFile(t, file, marked+"\n")
	s := startService(t, l.with(setting{"TELNYX_API_KEY_FILE", file}))
	s.hide(apiKey)
	s.hide(marked)
	c := call(t, s)

	wantRefusal(t, c.send(bearing(l.issuer.Bearer("alice", nil))), refusal{status: 502, code: "upstream_rejected"})
	s.whenChanged(t, keyTaken, func() { replaceFile(t, file, apiKey+"\n") })
	l.wantToken(t, "alice", c.send(bearing(l.issuer.Bearer("alice", nil))))

	for what, content := range map[string]string{"the API key is empty": "\n", "must be printable ASCII": marked + " " + marked} {
		line := s.whenChanged(t, keyRefused, func() { writeFile(t, file, content) })
		if told := fmt.Sprint(line["error"]); !strings.Contains(told, what) {
			t.Errorf("the log says %q, want %q", told, what)
		}
	}
	l.wantToken(t, "bob", c.send(bearing(l.issuer.Bearer("bob", nil)))) // the last good key goes on

	s.whenChanged(t, keyTaken, func() { replaceFile(t, file, marked) })
	wantRefusal(t, c.send(bearing(l.issuer.Bearer("carol", nil))), refusal{status: 502, code: "upstream_rejected"})
	l.wantToken(t, "alice", c.send(bearing(l.issuer.Bearer("alice", nil)))) // hers is kept
}

// A rule that has been tightened refuses the very next request, whether its
// bearer has been verified before and its token is kept or not.
func TestRulesAreFollowed(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice")
	file := filepath.Join(t.TempDir(), "tokensvc.yaml")
	configured := func(require, more string) string {
		return fmt.Sprintf("telnyx: {base_url: %q}\ndirectory: %q\nissuers:\n- issuer: %q\n  audience: %s\n  require: %s\n%s",
			l.telnyx.URL(), "file:"+l.users, l.issuer.URL(), audience, require, more)
	}
	const agents, leads = "{groups: agents}", "{groups: leads}"
	writeFile(t, file, configured(agents, ""))
	s := startService(t, map[string]string{"TELNYX_API_KEY": apiKey}, "-config", file)
	c := call(t, s)
	alice := bearing(l.issuer.Bearer("alice", map[string]any{"groups": []string{"agents"}}))
	denied := refusal{status: 403, code: "denied"}

	l.wantToken(t, "alice", c.send(alice))
	s.whenChanged(t, rulesTaken, func() { replaceFile(t, file, configured(leads, "")) })
	wantRefusal(t, c.send(alice), denied)
	s.whenChanged(t, rulesTaken, func() { writeFile(t, file, configured("{groups: [agents, leads]}", "")) })
	l.wantToken(t, "alice", c.send(alice))

	t.Run("a broken file changes nothing", func(t *testing.T) {
		line := s.whenChanged(t, rulesRefused, func() {
			replaceFile(t, file, configured("{groups: []}", "cache: redis://:"+marked+"@cache\n"))
		})
		for _, reason := range []string{":6: issuers[0].require: must be", ":7: cache: must be memory"} {
			if told := fmt.Sprint(line["error"]); !strings.Contains(told, reason) || strings.Contains(told, marked) {
				t.Errorf("the log says %q, want %q in it, and no secret", told, reason)
			}
		}
		l.wantToken(t, "alice", c.send(alice))
	})
	t.Run("what is more than a rule waits for a restart", func(t *testing.T) {
		line := s.whenChanged(t, rulesRefused, func() { replaceFile(t, file, configured(agents, "limits: {in_flight: 5}\n")) })
		if told := fmt.Sprint(line["error"]); !strings.Contains(told, "restart") {
			t.Errorf("the log says %q, want that it takes a restart", told)
		}
		l.wantToken(t, "alice", c.send(alice))
	})
	t.Run("and the rule beside it does not wait", func(t *testing.T) {
		s.whenChanged(t, rulesTaken, func() { replaceFile(t, file, configured(leads, "limits: {in_flight: 5}\n")) })
		wantRefusal(t, c.send(alice), denied)
	})
}
