package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// Where an explained bearer's keys come from.
const (
	keysFetched = "fetched" // from the issuer, just now
	keysKept    = "kept"    // from the issuer, when explain last fetched them
	keysInFile  = "file"
	keysAsked   = "asked" // there are none: the issuer is asked about the bearer
	keysNone    = "none"  // offline, and none are kept
)

type keysFrom struct {
	from    string
	at      time.Time // when they were fetched
	trouble error     // why they could not be kept
}

func (k keysFrom) String() string {
	switch {
	case k.from == keysFetched && k.trouble != nil:
		return "fetched just now, and not kept for -offline: " + k.trouble.Error()
	case k.from == keysFetched:
		return "fetched just now, and kept for -offline"
	case k.from == keysKept:
		return "kept from " + moment(k.at) + ": what the issuer has published since is not known"
	case k.from == keysInFile:
		return "in a file"
	case k.from == keysAsked:
		return "none: the issuer is asked about each token"
	}
	return "none kept, and the network is not used"
}

var errOffline = errors.New("the network is not used with -offline")

// noNetwork carries no request.
type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) { return nil, errOffline }

// placeKeys returns the issuer with its keys where explain is to take them from.
func placeKeys(i authz.Issuer, file string, offline bool) (authz.Issuer, keysFrom) {
	switch {
	case i.Proxy != nil:
		return i, keysFrom{}
	case i.Introspection != nil:
		return i, keysFrom{from: keysAsked}
	case file != "":
		i.Keys = "file:" + file
		return i, keysFrom{from: keysInFile}
	case i.KeyFile() != "":
		return i, keysFrom{from: keysInFile}
	case !offline:
		return i, keysFrom{from: keysFetched}
	}
	last := keptKeys(i)
	if last.at.IsZero() {
		return i, keysFrom{from: keysNone}
	}
	i.Keys = "file:" + last.path
	return i, keysFrom{from: keysKept, at: last.at}
}

// keptSet is a JWK set, which may have other members, and what it is.
type keptSet struct {
	Issuer    string          `json:"issuer"`
	From      string          `json:"from"` // issuers[].keys at that time
	FetchedAt time.Time       `json:"fetched_at"`
	Keys      json.RawMessage `json:"keys"`
}

type keptFile struct {
	path string
	at   time.Time // zero if there is none that can be used
}

// keptPath is where an issuer's keys are kept.
func keptPath(i authz.Issuer) (string, error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(i.URL))
	return filepath.Join(folder, "tokensvc", "keys-"+hex.EncodeToString(sum[:])+".json"), nil
}

// keptKeys finds the keys that were kept of an issuer as it is configured now.
func keptKeys(i authz.Issuer) keptFile {
	path, err := keptPath(i)
	if err != nil || !isOnlyOurs(filepath.Dir(path)) || !isOnlyOurs(path) {
		return keptFile{}
	}
	text, err := readSmallFile(path, authz.MaxKeyFileBytes, "a JWK set")
	var set keptSet
	if err != nil || json.Unmarshal([]byte(text), &set) != nil || authz.CheckKeyFile(path) != nil ||
		set.Issuer != i.URL || set.From != i.Keys {
		return keptFile{}
	}
	return keptFile{path, set.FetchedAt}
}

// isOnlyOurs reports whether nobody else can have written a file or what is in a
// folder: whoever can write the keys decides what verifies.
func isOnlyOurs(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) == os.Geteuid()
}

// keepKeys keeps what the issuer publishes for when it cannot be reached.
func keepKeys(i authz.Issuer, published []byte, now time.Time) error {
	path, err := keptPath(i)
	if err != nil {
		return err
	}
	var set keptSet
	if err := json.Unmarshal(published, &set); err != nil {
		return err
	}
	set.Issuer, set.From, set.FetchedAt = i.URL, i.Keys, now.UTC().Truncate(time.Second)
	text, err := json.Marshal(set)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if len(text) > authz.MaxKeyFileBytes {
		return errors.New("they are too many")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return withoutPath(err)
	}
	return replace(path, text, 0o600)
}

// replace writes a file of that mode, whole or not at all.
func replace(path string, content []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
