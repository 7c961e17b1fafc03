package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/handler"
	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	maxAPIKey         = 512      // bytes
	maxSecretFile     = 4096     // bytes: a key or secret and white space around it
	minNonceKey       = 32       // bytes, as many as the MAC has
	maxClientSecret   = 1024     // bytes
	maxPrivateKeyFile = 16 << 10 // bytes: RSA of 8192 bits, twice over
)

// readSecret reads a secret from a file that holds it and nothing but white
// space around it. The error shows neither the content nor the path: people do
// put the secret itself where its path should be.
type readSecret func(path string) (secret.Text, error)

func readAPIKey(path string) (secret.Text, error) {
	text, err := readSmallFile(path, maxSecretFile, "an API key")
	if err != nil {
		return secret.Text{}, err
	}
	return parseAPIKey(text)
}

// readClientSecret takes what RFC 6749 appendix A.2 lets a client's secret be,
// but for spaces around it.
func readClientSecret(path string) (secret.Text, error) {
	return readLine(path, 1, "the client's secret")
}

func readProxySecret(path string) (secret.Text, error) {
	return readLine(path, authz.MinProxySecret, "the proxy's secret")
}

func readDatabasePassword(path string) (secret.Text, error) {
	return readLine(path, 1, "the database's password")
}

func readAdminToken(path string) (secret.Text, error) {
	return readLine(path, handler.MinAdminToken, "the admin token")
}

// readLine reads a secret that is a line of printable ASCII.
func readLine(path string, least int, what string) (secret.Text, error) {
	text, err := readSmallFile(path, maxSecretFile, what)
	text = strings.TrimSpace(text)
	switch {
	case err != nil:
		return secret.Text{}, err
	case text == "":
		return secret.Text{}, fmt.Errorf("%s is empty", what)
	case len(text) < least:
		return secret.Text{}, fmt.Errorf("%s must have at least %d bytes", what, least)
	case len(text) > maxClientSecret:
		return secret.Text{}, fmt.Errorf("%s must be at most %d bytes", what, maxClientSecret)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }):
		return secret.Text{}, fmt.Errorf("%s must be printable ASCII on one line", what)
	}
	return secret.New(text), nil
}

func readNonceKey(path string) (secret.Text, error) {
	text, err := readSmallFile(path, maxSecretFile, "a key of nonces")
	if err == nil && len(text) < minNonceKey {
		return secret.Text{}, fmt.Errorf("the key of nonces must have at least %d bytes", minNonceKey)
	}
	return secret.New(text), err
}

func readPrivateKey(path string) (secret.Text, error) {
	text, err := readSmallFile(path, maxPrivateKeyFile, "a private key")
	if err != nil {
		return secret.Text{}, err
	}
	key := secret.New(text)
	if err := authz.CheckPrivateKey(key); err != nil {
		return secret.Text{}, err
	}
	return key, nil
}

// readSmallFile returns the content of a file that cannot be large if it holds
// what it should.
func readSmallFile(path string, most int64, what string) (string, error) {
	data, err := readAtMost(path, most)
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("the file is too large for %s", what)
	}
	if err != nil {
		return "", err
	}
	return string(data), nil
}

// readAtMost returns the content of a file or, of one that is larger, a byte more
// than the most. The error does not show the path.
func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	return data, nil
}

func withoutPath(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("the file may not be read: permission denied")
	}
	return errors.New("the file cannot be read")
}

// parseAPIKey takes what can stand in an Authorization header.
func parseAPIKey(s string) (secret.Text, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return secret.Text{}, errors.New("the API key is empty")
	case len(s) > maxAPIKey:
		return secret.Text{}, errors.New("the API key must be at most 512 bytes")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return secret.Text{}, errors.New("the API key must be printable ASCII without white space")
	}
	return secret.New(s), nil
}

func asAPIKey(into *[]secret.Text) field {
	return asOne(into, oneText, "at most 512 bytes of printable ASCII without white space", func(s string) ([]secret.Text, error) {
		key, err := parseAPIKey(s)
		return []secret.Text{key}, err
	})
}

// asPaths is a list of files, no two of which may be the same.
func asPaths(into *[]string, most int) field {
	expects := fmt.Sprintf("a list of 1 to %d paths of files, no two the same", most)
	f := asTexts(into, expects, isText)
	each := f.accept
	f.accept = func(v value) []flaw {
		seen := map[string]bool{}
		for _, w := range v.words {
			seen[filepath.Clean(w.text)] = true
		}
		if len(v.words) > most || len(seen) < len(v.words) {
			return []flaw{f.flawAt(nil, errUnexpected)}
		}
		return each(v)
	}
	f.resolve = func(folder string) {
		for i, path := range *into {
			(*into)[i] = inFolder(folder, path)
		}
	}
	return f
}
