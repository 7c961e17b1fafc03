package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const reloadLimit = 20 * time.Second // from a file's change to its effect

// awaitLogged waits for one more line with that message than there were before,
// and returns it.
func (s *service) awaitLogged(t *testing.T, before int, message string) map[string]any {
	t.Helper()
	var last map[string]any
	process.Eventually(t, reloadLimit, "the log line "+message, func() error {
		lines := s.Logged(message)
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
	before := len(s.Logged(message))
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
	}), "users.yaml:3: users.bob: a credential is a UUID")
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
	if strings.Contains(s.Output(), marked) {
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

// A file behind a link changes where nobody watches.
func TestUsersFileBehindALinkIsFollowed(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	writeFile(t, l.users, l.usersFile("alice"))
	linked := filepath.Join(t.TempDir(), "linked.yaml")
	link(t, l.users, linked)
	s := startService(t, l.with(setting{"TOKENSVC_DIRECTORY", "file:" + linked}))
	c := call(t, s)
	bob := bearing(l.issuer.Bearer("bob", nil))
	wantRefusal(t, c.send(bob), noCredential)

	s.whenChanged(t, usersTaken, func() { writeFile(t, l.users, l.usersFile("alice", "bob")) })
	l.wantToken(t, "bob", c.send(bob))
}

// So does one whose folder has been put in the place of another.
func TestUsersFileInAReplacedFolderIsFollowed(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	folder := filepath.Join(t.TempDir(), "tokensvc")
	file := filepath.Join(folder, "users.yaml")
	put := func(users ...string) {
		t.Helper()
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, l.usersFile(users...))
	}
	put("alice")
	s := startService(t, l.with(setting{"TOKENSVC_DIRECTORY", "file:" + file}))
	c := call(t, s)
	replace := func(user string) {
		t.Helper()
		if err := os.Rename(folder, folder+"."+user); err != nil {
			t.Fatal(err)
		}
		put(user)
	}

	for _, user := range []string{"bob", "alice"} { // the second folder is followed like the first
		s.whenChanged(t, usersTaken, func() { replace(user) })
		l.wantToken(t, user, c.send(bearing(l.issuer.Bearer(user, nil))))
	}
	wantRefusal(t, c.send(bearing(l.issuer.Bearer("bob", nil))), noCredential)
}

// Whoever asks for it hears of every file, be there news of it or not.
func TestHangupReadsFilesAgain(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, apiKey)
	delete(l.env, "TELNYX_API_KEY")
	s := startService(t, l.with(setting{"TELNYX_API_KEY_FILE", key}))
	s.hide(apiKey)
	hangUp := func() { s.Signal(t, syscall.SIGHUP) }

	s.whenChanged(t, "API key unchanged", hangUp)
	s.whenChanged(t, "users file unchanged", hangUp)
	s.whenChanged(t, usersRefused, func() { writeFile(t, l.users, "") })
	s.whenChanged(t, usersRefused, hangUp) // still
	s.whenChanged(t, usersTaken, func() { writeFile(t, l.users, l.usersFile("alice", "bob")) })
	s.whenChanged(t, "users file unchanged", hangUp)
}

// Nor does a hangup end a service that has no file.
func TestHangupWithoutFiles(t *testing.T) {
	l := newLab(t, telnyxtest.Options{})
	s := startService(t, l.with(setting{"TOKENSVC_DIRECTORY", "claim:telnyx"}))
	for range 2 {
		s.whenChanged(t, "there is nothing to read again: no file is in use", func() { s.Signal(t, syscall.SIGHUP) })
	}
}

// What a file says and what is in force differ for as long as it is broken: the
// log says so once, the metric all the time.
func TestARefusedFileIsSeen(t *testing.T) {
	l := newLab(t, telnyxtest.Options{}, "alice", "bob")
	s := startService(t, l.env)
	current := func(want string) {
		t.Helper()
		line := `tokensvc_file_current{file="users file"} ` + want
		process.Eventually(t, reloadLimit, line, func() error {
			metrics := do(t, httpClient, newRequest(t, http.MethodGet, s.Ops+"/metrics", nil)).body
			if !strings.Contains(metrics, line+"\n") {
				return errors.New("it is not in the metrics")
			}
			return nil
		})
	}
	current("1")
	valid := l.usersFile("alice", "bob")
	s.whenChanged(t, usersRefused, func() { writeFile(t, l.users, "users: []\n") })
	current("0")
	for i := range 3 { // something else happens in the folder, so the file is looked into again
		writeFile(t, fmt.Sprintf("%s.%d", l.users, i), "")
	}
	s.whenChanged(t, usersTaken, func() { writeFile(t, l.users, valid) }) // though it is what was in force all along
	current("1")
	if n := len(s.Logged(usersRefused)); n != 1 {
		t.Errorf("the refusal is logged %d times, want once", n)
	}
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

// ruled is a service that is configured by a file, with a rule.
type ruled struct {
	*lab
	file, key string
	s         *service
	alice     change // she is in the group agents
	c         *caller
}

const agents, leads = "{groups: agents}", "{groups: leads}"

func startRuled(t *testing.T) *ruled {
	t.Helper()
	folder := t.TempDir()
	r := &ruled{lab: newLab(t, telnyxtest.Options{}, "alice"), file: filepath.Join(folder, "tokensvc.yaml"), key: filepath.Join(t.TempDir(), "key")}
	writeFile(t, r.file, r.configured("require: "+agents, ""))
	writeFile(t, r.key, apiKey)
	r.s = startService(t, nil, "-config", r.file)
	r.s.hide(apiKey)
	r.c = call(t, r.s)
	r.alice = bearing(r.issuer.Bearer("alice", map[string]any{"groups": []string{"agents"}}))
	return r
}

// configured is a configuration file with these lines in its issuer and at its
// end. An issuer's rules come last, as in the manual.
func (r *ruled) configured(inIssuer, more string) string {
	return fmt.Sprintf("telnyx: {base_url: %q, api_key_file: %q}\ndirectory: %q\n%sissuers:\n- issuer: %q\n  audience: %s\n  %s\n",
		r.telnyx.URL(), r.key, "file:"+r.users, more, r.issuer.URL(), audience, inIssuer)
}

func (r *ruled) wantAlice(t *testing.T, in bool) {
	t.Helper()
	got := r.c.send(r.alice)
	if in {
		r.wantToken(t, "alice", got)
	} else {
		wantRefusal(t, got, refusal{status: 403, code: "denied"})
	}
}

// A rule that has been tightened refuses the very next request, whether its
// bearer has been verified before and its token is kept or not.
func TestRulesAreFollowed(t *testing.T) {
	r := startRuled(t)
	r.wantAlice(t, true)
	r.s.whenChanged(t, rulesTaken, func() { replaceFile(t, r.file, r.configured("require: "+leads, "")) })
	r.wantAlice(t, false)
	r.s.whenChanged(t, rulesTaken, func() { writeFile(t, r.file, r.configured("require: {groups: [agents, leads]}", "")) })
	r.wantAlice(t, true)
}

func TestABrokenConfigurationFileChangesNoRule(t *testing.T) {
	r := startRuled(t)
	line := r.s.whenChanged(t, rulesRefused, func() {
		replaceFile(t, r.file, r.configured("require: {groups: []}", "cache: redis://:"+marked+"@cache\n"))
	})
	for _, reason := range []string{":3: cache: must not hold the password", ":7: issuers[0].require: must be"} {
		if told := fmt.Sprint(line["error"]); !strings.Contains(told, reason) || strings.Contains(told, marked) {
			t.Errorf("the log says %q, want %q in it, and no secret", told, reason)
		}
	}
	r.wantAlice(t, true)
}

// Rules are taken up, and what else has changed waits for a restart: the log
// says both, and compares with what runs, not with what it read before.
func TestRulesDoNotWaitForOtherKeys(t *testing.T) {
	r := startRuled(t)
	const others = "other keys differ from what runs; they take a restart"
	const limits = "limits: {in_flight: 5}\n"
	keys := func(line map[string]any, want string) {
		t.Helper()
		if line["level"] != "warn" || line["keys"] != want {
			t.Errorf("logged %v, want a warning of %s", line, want)
		}
	}
	keys(r.s.whenChanged(t, others, func() {
		replaceFile(t, r.file, r.configured("clock_skew: 1m\n  require: "+leads, limits))
	}), "limits.in_flight, issuers[0].clock_skew")
	r.s.awaitLogged(t, 0, rulesTaken)
	r.wantAlice(t, false)

	r.s.whenChanged(t, rulesTaken, func() { replaceFile(t, r.file, r.configured("clock_skew: 1m\n  require: "+agents, limits)) })
	r.wantAlice(t, true)
	if n := len(r.s.Logged(others)); n != 1 {
		t.Errorf("other keys are warned of %d times, want once", n)
	}
	keys(r.s.whenChanged(t, others, func() { r.s.Signal(t, syscall.SIGHUP) }), "limits.in_flight, issuers[0].clock_skew")

	r.s.whenChanged(t, rulesTaken, func() { replaceFile(t, r.file, r.configured("require: "+leads, "")) }) // as it runs
	r.s.whenChanged(t, "rules unchanged", func() { r.s.Signal(t, syscall.SIGHUP) })
	if n := len(r.s.Logged(others)); n != 2 || len(r.s.Logged(rulesRefused)) != 0 {
		t.Errorf("other keys are warned of %d times, want twice, and nothing is refused", n)
	}
}

// Nor does a tightened rule wait for a file that the configuration names.
func TestRulesDoNotWaitForABrokenKeyFile(t *testing.T) {
	r := startRuled(t)
	r.s.whenChanged(t, keyRefused, func() { writeFile(t, r.key, "") })
	r.s.whenChanged(t, rulesTaken, func() { replaceFile(t, r.file, r.configured("require: "+leads, "")) })
	r.wantAlice(t, false)
}

// A file that is only half written may be valid and hold no rules.
func TestAHalfWrittenFileLetsNobodyIn(t *testing.T) {
	r := startRuled(t)
	r.s.whenChanged(t, rulesTaken, func() { replaceFile(t, r.file, r.configured("require: "+leads, "")) })
	r.wantAlice(t, false)

	whole := r.configured("require: "+leads, "")
	ends := []int{strings.Index(whole, "  require"), strings.Index(whole, "{groups"), strings.Index(whole, "leads"), strings.Index(whole, "issuers")}
	for _, end := range ends {
		line := r.s.whenChanged(t, rulesRefused, func() { writeFile(t, r.file, whole[:end]) })
		if end == ends[0] && !strings.Contains(fmt.Sprint(line["error"]), "write require: {}") {
			t.Errorf("logged %v, want how to have no rules", line)
		}
		r.wantAlice(t, false)
	}
	r.s.whenChanged(t, rulesTaken, func() { writeFile(t, r.file, r.configured("require: {}", "")) }) // who writes so means it
	r.wantAlice(t, true)
}
