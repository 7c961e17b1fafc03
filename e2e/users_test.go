package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const usersGuide = "../docs/users.md"

// guideBlock is what a guide has one paste, and what then appears.
type guideBlock struct{ pasted, shows string }

var guideFence = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

func guideBlocks(t *testing.T, path string) (blocks []guideBlock) {
	t.Helper()
	guide, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, fence := range guideFence.FindAllStringSubmatch(string(guide), -1) {
		if fence[1] == "sh" {
			blocks = append(blocks, guideBlock{pasted: fence[2]})
		} else {
			blocks[len(blocks)-1].shows = fence[2]
		}
	}
	if len(blocks) < 2 {
		t.Fatalf("%s has nothing to paste", path)
	}
	return blocks
}

// pasteAll pastes the blocks into a bash, from which they may start another, with
// addresses that are free in place of the guide's and the binary that is tested in
// place of what would be built, and returns what appeared after each.
func pasteAll(t *testing.T, blocks []guideBlock) []string {
	t.Helper()
	const mark = "--- the next block ---"
	var script strings.Builder
	for _, b := range blocks {
		script.WriteString(b.pasted + "\necho '" + mark + "'\n")
	}
	elsewhere := strings.NewReplacer(
		"make build\n", "", "127.0.0.1:8088", freeAddress(t), "127.0.0.1:9098", freeAddress(t), "tokensvc dev >", "tokensvc "+strings.Join(anywhere, " ")+" >")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Stdin = strings.NewReader(elsewhere.Replace(script.String()))
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "TMPDIR=" + cmd.Dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it started, too
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Errorf("%v, and on standard error:\n%s", err, errs.String())
	}
	if t.Failed() {
		for _, log := range []string{"dev.txt", "serve.txt"} {
			found, _ := filepath.Glob(filepath.Join(cmd.Dir, "*", log)) // in the guide's folder
			for _, path := range found {
				text, _ := os.ReadFile(path)
				t.Logf("%s:\n%s", log, text)
			}
		}
	}
	return strings.Split(out.String(), mark+"\n")
}

// shown turns what a guide shows into a pattern: … is whatever is another each
// time.
func shown(text string) *regexp.Regexp {
	var parts []string
	for _, part := range strings.Split(text, "…") {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile("^" + strings.Join(parts, "[^\n]*") + "$")
}

// What docs/users.md has one paste does what it shows.
func TestTheGuideToPeopleCanBePasted(t *testing.T) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			process.Skip(t, program+" is not installed: the guide is for a terminal that has it")
		}
	}
	blocks := guideBlocks(t, usersGuide)
	for i, appeared := range pasteAll(t, blocks) {
		if i == len(blocks) || blocks[i].shows == "" {
			continue
		}
		if !shown(strings.TrimSpace(blocks[i].shows)).MatchString(strings.TrimSpace(appeared)) {
			t.Errorf("%s\nshows\n%s\nand not\n%s", blocks[i].pasted, appeared, blocks[i].shows)
		}
	}
}

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
