package directory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// usersFile is a users file while it is read. It goes on after an error, so that
// all of them are reported.
type usersFile struct {
	name     string
	issuers  []string
	users    map[string]holding
	owners   map[telnyx.CredentialID]string
	problems []error
	key      string // the user's that is being read, if it may be shown
}

// parseUsers reads
//
//	users:
//	  alice: <uuid>
//	  acme:bob: {default: <uuid>, mobile: <uuid>}
//
// A single UUID serves all of a user's devices. No credential may stand under
// two users: it is one SIP identity, and whoever registered last would get the
// other's calls.
func parseUsers(content []byte, name string, issuers []string) (map[string]holding, error) {
	f := &usersFile{
		name: name, issuers: issuers,
		users: make(map[string]holding), owners: make(map[telnyx.CredentialID]string),
	}
	root, err := mappingOf(content)
	if err != nil {
		return nil, Problem{name, err.Error()}
	}
	found := false
	for key, value := range pairs(root) {
		if key.Value != "users" || found {
			f.report(key, "only one key is known here, users")
			continue
		}
		found = true
		f.readUsers(key, value)
	}
	if !found {
		f.report(root, "the key users is missing")
	}
	return f.users, errors.Join(f.problems...)
}

// mappingOf returns the mapping that the content is. A message of the YAML
// library may quote the content, so it is not passed on.
func mappingOf(content []byte) (*yaml.Node, error) {
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New("is not YAML" + lineOf(err))
	}
	// Whoever appends a second document has users in mind, who would be missing.
	switch err := decoder.Decode(&more); {
	case err == nil:
		return nil, fmt.Errorf("holds a second YAML document, at line %d; it must be one", more.Line)
	case !errors.Is(err, io.EOF):
		return nil, errors.New("is not YAML" + lineOf(err))
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("must be a mapping with the key users")
	}
	return document.Content[0], nil
}

// lineOf finds the line in a message like "yaml: line 7: did not find …".
func lineOf(err error) string {
	var line int
	_, after, _ := strings.Cut(err.Error(), "line ")
	if _, err := fmt.Sscanf(after, "%d", &line); err != nil {
		return ""
	}
	return fmt.Sprintf(", at line %d", line)
}

// pairs iterates over the keys and values of a mapping.
func pairs(mapping *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], mapping.Content[i+1]) {
				return
			}
		}
	}
}

func (f *usersFile) report(at *yaml.Node, format string, args ...any) {
	where := fmt.Sprintf("%s:%d", f.name, at.Line)
	if f.key != "" {
		where += ": users." + f.key
	}
	f.problems = append(f.problems, Problem{where, fmt.Sprintf(format, args...)})
}

// keyLike is what a user key may look like to be shown, and notShown what it
// then must not look like: somebody may have put a secret, or the credential, in
// its place.
var (
	keyLike  = regexp.MustCompile(`^[A-Za-z0-9._:@|+-]{1,64}$`)
	notShown = regexp.MustCompile(`KEY|(?i:[0-9a-f]{8}-[0-9a-f]{4}-)`)
)

func shown(key string) string {
	if !keyLike.MatchString(key) || notShown.MatchString(key) {
		return ""
	}
	return key
}

func (f *usersFile) readUsers(key, users *yaml.Node) {
	if users.Kind != yaml.MappingNode {
		f.report(key, "users must map a user key to a credential")
		return
	}
	defer func() { f.key = "" }()
	for key, value := range pairs(users) {
		f.key = shown(key.Value)
		user, err := f.userKey(key)
		if err != nil {
			f.report(key, "%v", err)
			continue
		}
		if _, twice := f.users[user]; twice {
			f.report(key, "this user stands in the file twice")
			continue
		}
		f.users[user] = f.readHolding(user, value)
	}
}

func (f *usersFile) userKey(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", errUserValue
	}
	return ParseUserKey(n.Value, f.issuers)
}

func (f *usersFile) readHolding(user string, value *yaml.Node) holding {
	if value.Kind != yaml.MappingNode {
		return holding{shared: f.credential(user, value)}
	}
	h := holding{byDevice: make(map[Device]telnyx.CredentialID)}
	for key, value := range pairs(value) {
		device, err := ParseDevice(key.Value)
		if err != nil {
			f.report(key, "%v", err)
			continue
		}
		if _, twice := h.byDevice[device]; twice {
			f.report(key, "this device stands under its user twice")
		}
		h.byDevice[device] = f.credential(user, value)
	}
	if len(h.byDevice) == 0 {
		f.report(value, "a user needs a credential")
	}
	return h
}

func (f *usersFile) credential(user string, n *yaml.Node) telnyx.CredentialID {
	if n.Kind != yaml.ScalarNode {
		f.report(n, "a credential is a UUID, or a mapping of device to UUID")
		return telnyx.CredentialID{}
	}
	id, err := telnyx.ParseCredentialID(n.Value)
	if err != nil {
		f.report(n, "a credential is a UUID")
		return telnyx.CredentialID{}
	}
	if owner, taken := f.owners[id]; taken && owner != user {
		f.report(n, "this credential belongs to another user already")
	}
	f.owners[id] = user
	return id
}
