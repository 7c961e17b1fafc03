package directory

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// MaxFileBytes is the largest users file that is read.
const MaxFileBytes = 16 << 20

// A File directory is a YAML file of users. The file is replaced whole: readers
// see the old content or the new one, and content that is not in order is never
// seen at all.
type File struct {
	path    string
	issuers []string
	users   atomic.Pointer[map[string]holding]

	mu   sync.Mutex        // one Reload at a time
	seen [sha256.Size]byte // the content that is in force
}

// A Problem is one thing that is wrong with a users file's content. It shows no
// credential, nor the file's folder.
type Problem struct {
	Where string // "users.yaml:7: users.alice"
	Text  string
}

func (p Problem) Error() string { return p.Where + ": " + p.Text }

// OpenFile reads the file. issuers are the names of the configured issuers: with
// only one, its name may be left out of the user keys. The error is a
// *fs.PathError, or a Problem with the content, or several, joined.
func OpenFile(path string, issuers []string) (*File, error) {
	if len(issuers) == 0 {
		return nil, errors.New("directory: no issuer is configured")
	}
	f := &File{path: path, issuers: issuers}
	if _, err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the file again and reports whether its content had changed. If it
// cannot be read or is not in order, the users stay what they were and the error
// says why.
func (f *File) Reload() (changed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, err := readFile(f.path)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(content)
	if sum == f.seen {
		return false, nil
	}
	users, err := parseUsers(content, filepath.Base(f.path), f.issuers)
	if err != nil {
		return false, err
	}
	f.seen = sum
	f.users.Store(&users)
	return true, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > MaxFileBytes {
		return nil, Problem{filepath.Base(path), fmt.Sprintf("is larger than %d bytes", MaxFileBytes)}
	}
	return content, nil
}

// Users returns how many users the file has.
func (f *File) Users() int { return len(*f.users.Load()) }

// Find returns the user's credential for the device, or ErrNoCredential.
func (f *File) Find(_ context.Context, q Query) (telnyx.CredentialID, error) {
	return (*f.users.Load())[q.User].find(q.Device)
}

// DeviceOf returns which of the user's own devices has the credential, or
// ErrNoCredential if none has. Nobody else's are looked at.
func (f *File) DeviceOf(_ context.Context, q Query, id telnyx.CredentialID) (Device, error) {
	return (*f.users.Load())[q.User].deviceOf(id)
}
