package authz

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// How long an issuer's keys are good for.
const (
	minKeyLife     = 5 * time.Minute
	defaultKeyLife = 15 * time.Minute // when the issuer does not say
	maxKeyLife     = 24 * time.Hour
)

// keySource holds one issuer's keys. A bad signature never causes a fetch, nor
// does anything else that has no hope of news.
type keySource struct {
	*kept[keySet]
	file string // where they are read from, if they are not fetched

	loading sync.Mutex
	loaded  digest // of the file as it was last taken up
}

// newKeySource returns the source of an issuer's keys. Those in a file are there
// at once, others when run has fetched them.
func newKeySource(i Issuer, cfg Config) (*keySource, error) {
	p := newPublisher(i, cfg)
	switch {
	case i.KeyFile() != "":
		s := &keySource{kept: newKept[keySet](cfg, i.Name, "keys", nil), file: i.KeyFile()}
		_, err := s.load()
		return s, err
	case i.Keys == KeysFromDiscovery:
		return &keySource{kept: newKept(cfg, i.Name, "keys", p.discoveredKeys)}, nil
	}
	return &keySource{kept: newKept(cfg, i.Name, "keys", p.keysAt(i.Keys))}, nil
}

// run keeps keys fresh that are fetched.
func (s *keySource) run(ctx context.Context) {
	if s.file == "" {
		s.kept.run(ctx)
	}
}

// MaxKeyFileBytes is the size of the largest file of keys.
const MaxKeyFileBytes = maxDocumentBytes

// CheckKeyFile says why a file cannot be one of an issuer's keys, if so. The error
// is an *fs.PathError if it cannot be read, and shows nothing of its content.
func CheckKeyFile(path string) error {
	body, err := readKeyFile(path)
	if err == nil {
		_, err = parseKeySet(body)
	}
	return err
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readDocument(f)
}

// keysIn returns the keys in a file, and the digest of all that it holds.
func keysIn(path string) (*keySet, digest, error) {
	body, err := readKeyFile(path)
	if err != nil {
		return nil, digest{}, err
	}
	set, err := parseKeySet(body)
	if err != nil {
		return nil, digest{}, fmt.Errorf("key set: %w", err)
	}
	return set, sha256.Sum256(body), nil
}

// load reads the file, and reports whether it has changed. With an error, such
// as that of a file which is only half written, the last good keys stay.
func (s *keySource) load() (changed bool, err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	set, sum, err := keysIn(s.file)
	if err != nil || sum == s.loaded {
		return false, err
	}
	s.current.Store(set)
	s.loaded = sum
	return true, nil
}

// find returns the keys that may have made a signature, asking the issuer again
// if it is a key we have not seen.
//
// If the issuer was asked only a moment ago, whose key it is may not be told: a
// bearer that was issued before that is signed with no key of the issuer's, but a
// newer one may be signed with a newer key. Whoever asked in vain, with a forged
// bearer, must not make a rotation log people out.
func (s *keySource) find(ctx context.Context, kid, algorithm string, issuedAt time.Time) ([]any, error) {
	set, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	if keys := set.matching(kid, algorithm); len(keys) > 0 {
		return keys, nil
	}
	if kid == "" || len(set.byID[kid]) > 0 || s.file != "" { // no news would help, or none can come
		return nil, invalid(ReasonKey)
	}
	err = s.refetch(ctx)
	if errors.Is(err, errAskedLately) && !issuedAt.IsZero() && s.fetchedSince(issuedAt) {
		return nil, invalid(ReasonKey)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuerUnavailable, err)
	}
	if keys := s.current.Load().matching(kid, algorithm); len(keys) > 0 {
		return keys, nil
	}
	return nil, invalid(ReasonKey)
}
