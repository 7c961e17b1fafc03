package directory_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

const (
	one   = "11111111-1111-4111-8111-111111111111"
	two   = "22222222-2222-4222-8222-222222222222"
	three = "33333333-3333-4333-8333-333333333333"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openFile(t *testing.T, content string, issuers ...string) (*directory.File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.yaml")
	write(t, path, content)
	return directory.OpenFile(path, issuers)
}

// found is what a directory says, in a word: the credential, "none", or what
// went wrong.
func found(d interface {
	Find(context.Context, directory.Query) (id, error)
}, q directory.Query,
) string {
	got, err := d.Find(context.Background(), q)
	switch {
	case err == nil:
		return got.String()
	case errors.Is(err, directory.ErrNoCredential):
		return "none"
	}
	return err.Error()
}

// holder is which device has a credential, or "none", or what went wrong. An empty id
// is the one that names none.
func holder(d interface {
	DeviceOf(context.Context, directory.Query, id) (directory.Device, error)
}, q directory.Query, text string,
) string {
	of, _ := telnyx.ParseCredentialID(text)
	device, err := d.DeviceOf(context.Background(), q, of)
	switch {
	case err == nil:
		return string(device)
	case errors.Is(err, directory.ErrNoCredential):
		return "none"
	}
	return err.Error()
}

func TestWhichDeviceHasACredentialByTheFile(t *testing.T) {
	d, err := openFile(t, "users: {alice: "+one+", bob: {default: "+two+", mobile: "+three+"}}", "main")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ says, user, id, want string }{
		{"alice's only one", "main:alice", one, "default"},
		{"bob's", "main:bob", two, "default"},
		{"bob's of his mobile", "main:bob", three, "mobile"},
		{"in upper case", "main:bob", strings.ToUpper(three), "mobile"},
		{"bob's is not alice's", "main:alice", two, "none"},
		{"alice's is not bob's", "main:bob", one, "none"},
		{"a stranger's is nobody's", "main:mallory", one, "none"},
		{"nobody's", "main:bob", "44444444-4444-4444-8444-444444444444", "none"},
		{"what is no id", "main:bob", "", "none"},
		{"what is no id, of a stranger", "main:mallory", "", "none"},
	} {
		if got := holder(d, directory.Query{User: row.user}, row.id); got != row.want {
			t.Errorf("%s: %s, want %s", row.says, got, row.want)
		}
	}
}

func TestWhoseCredentialAFileNames(t *testing.T) {
	const users = `
users:
  alice: ` + one + `
  main:bob: {default: ` + two + `, mobile: ` + three + `}
  urn:x:carol: AAAAAAAA-1111-4111-8111-111111111111
  7: 77777777-1111-4111-8111-111111111111
`
	d, err := openFile(t, users, "main")
	if err != nil {
		t.Fatal(err)
	}
	if d.Users() != 4 {
		t.Errorf("%d users, want 4", d.Users())
	}
	for _, row := range []struct {
		says   string
		user   string
		device directory.Device
		want   string
	}{
		{"alice's one credential serves her default device", "main:alice", "default", one},
		{"and every other", "main:alice", "mobile", one},
		{"bob's default device", "main:bob", "default", two},
		{"bob's mobile", "main:bob", "mobile", three},
		{"a device bob does not have", "main:bob", "desk", "none"},
		{"a colon in a name is no issuer's", "main:urn:x:carol", "default", "aaaaaaaa-1111-4111-8111-111111111111"},
		{"a subject of digits", "main:7", "default", "77777777-1111-4111-8111-111111111111"},
		{"a stranger", "main:mallory", "default", "none"},
		{"alice of another issuer", "other:alice", "default", "none"},
		{"a key without an issuer", "alice", "default", "none"},
		{"nobody", "", "default", "none"},
	} {
		if got := found(d, directory.Query{User: row.user, Device: row.device}); got != row.want {
			t.Errorf("%s: %s, want %s", row.says, got, row.want)
		}
	}
}

func TestAUserWhoseValueLooksLikeAnothersKey(t *testing.T) {
	// A subject may read "main:alice". In full that is main:main:alice, and it
	// must not be taken for alice.
	d, err := openFile(t, "users: {alice: "+one+"}", "main")
	if err != nil {
		t.Fatal(err)
	}
	if got := found(d, directory.Query{User: "main:main:alice", Device: "default"}); got != "none" {
		t.Errorf("main:main:alice has %s, want none", got)
	}
}

func TestWhatIsWrongWithAFileIsSaidAllAtOnce(t *testing.T) {
	_, err := openFile(t, `users:
  alice: `+one+`
  main:alice: `+two+`
  bob: not-a-uuid
  carol: {default: `+three+`, "desk/1": `+two+`}
  dave: [`+two+`]
  erin: `+one+`
  "fr\ned": `+two+`
  gina: {}
  hugo: {mobile: , default: `+two+`}
extra: 1
`, "main")
	if err == nil {
		t.Fatal("accepted")
	}
	want := []string{
		"users.yaml:3: users.main:alice: this user stands in the file twice",
		"users.yaml:4: users.bob: a credential is a UUID",
		"users.yaml:5: users.carol: a device is 1 to 64 of a-z, 0-9, dot, underscore and dash",
		"users.yaml:6: users.dave: a credential is a UUID, or a mapping of device to UUID",
		"users.yaml:7: users.erin: this credential belongs to another user already",
		"users.yaml:8: a user is 1 to 256 bytes of printable characters, without space around them",
		"users.yaml:9: users.gina: a user needs a credential",
		"users.yaml:10: users.hugo: a credential is a UUID",
		"users.yaml:11: only one key is known here, users",
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("it says\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		content string
		issuers []string
		says    string
	}{
		"empty":                      {"", []string{"main"}, "must be a mapping"},
		"only a comment":             {"# later\n", []string{"main"}, "must be a mapping"},
		"a list":                     {"- alice\n", []string{"main"}, "must be a mapping"},
		"not YAML":                   {"users: {alice: \"" + one, []string{"main"}, "is not YAML"},
		"no users":                   {"people: {}\n", []string{"main"}, "the key users is missing"},
		"users that are a list":      {"users: [alice]\n", []string{"main"}, "users must map"},
		"users that are nothing":     {"users:\n", []string{"main"}, "users must map"},
		"users twice":                {"users: {}\nusers: {alice: " + one + "}\n", []string{"main"}, "only one key"},
		"an alias":                   {"users: {alice: &a " + one + ", bob: *a}\n", []string{"main"}, "a credential is a UUID"},
		"one device twice":           {"users: {alice: {a: " + one + ", a: " + two + "}}\n", []string{"main"}, "stands under its user twice"},
		"no issuer among several":    {"users: {alice: " + one + "}\n", []string{"acme", "partner"}, "with several issuers"},
		"a stranger's issuer":        {"users: {\"evil:alice\": " + one + "}\n", []string{"acme", "partner"}, "with several issuers"},
		"an issuer without a person": {"users: {\"acme:\": " + one + "}\n", []string{"acme", "partner"}, "with several issuers"},
		"a second document":          {"users: {alice: " + one + "}\n---\nusers: {bob: " + two + "}\n", []string{"main"}, "a second YAML document, at line 2"},
		"a second one, empty":        {"users: {alice: " + one + "}\n---\n", []string{"main"}, "a second YAML document"},
		"a second one, not YAML":     {"users: {alice: " + one + "}\n---\n\"" + two, []string{"main"}, "is not YAML"},
		"a second one after nothing": {"---\n---\nusers: {bob: " + two + "}\n", []string{"main"}, "a second YAML document"},
		"a user too long":            {"users: {" + strings.Repeat("a", directory.MaxUserValue+1) + ": " + one + "}\n", []string{"main"}, "1 to 256 bytes"},
		"and behind an issuer":       {"users: {main:" + strings.Repeat("a", directory.MaxUserValue+1) + ": " + one + "}\n", []string{"main"}, "1 to 256 bytes"},
		"a space behind an issuer":   {"users: {\"main: alice\": " + one + "}\n", []string{"main"}, "without space"},
		"an enormous file":           {strings.Repeat("# nothing\n", 2<<20), []string{"main"}, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openFile(t, row.content, row.issuers...)
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("got %v, want a word of %q", err, row.says)
			}
		})
	}
}

func TestABrokenFileLeavesTheOldOneInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	write(t, path, "users: {alice: "+one+"}")
	d, err := directory.OpenFile(path, []string{"main"})
	if err != nil {
		t.Fatal(err)
	}
	alice := directory.Query{User: "main:alice", Device: "default"}
	reload := func(wantChanged, wantError bool, want string) {
		t.Helper()
		changed, err := d.Reload()
		if changed != wantChanged || (err != nil) != wantError {
			t.Errorf("Reload() = %v, %v", changed, err)
		}
		if got := found(d, alice); got != want {
			t.Errorf("alice has %s, want %s", got, want)
		}
	}
	reload(false, false, one) // nothing new
	write(t, path, "users: {alice: "+two+"}")
	reload(true, false, two)
	write(t, path, "users: {alice: "+three[:30])
	reload(false, true, two)
	reload(false, true, two) // and is refused for as long as it is broken
	write(t, path, "")
	reload(false, true, two)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reload(false, true, two)
	write(t, path, "users: {bob: "+one+"}")
	reload(true, false, "none")
}

func TestReadersSeeOneVersionOrTheOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	versions := []string{"users: {alice: " + one + ", bob: " + two + "}", "users: {alice: " + two + ", bob: " + one + "}"}
	write(t, path, versions[0])
	d, err := directory.OpenFile(path, []string{"main"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := found(d, directory.Query{User: "main:alice", Device: "default"}); got != one && got != two {
					t.Errorf("alice has %s", got)
					return
				}
			}
		})
	}
	for i := range 50 {
		write(t, path+".next", versions[(i+1)%2])
		if err := os.Rename(path+".next", path); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Reload(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}
