package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/tokensvc/tokensvc/internal/secret"
)

const (
	maxAPIKey     = 512  // bytes
	maxAPIKeyFile = 4096 // bytes: the key and white space around it
)

// readAPIKey reads the Telnyx API key from a file that holds it and nothing
// but white space around it. The error shows neither the content nor the path:
// people do put the key itself where its path should be.
func readAPIKey(path string) (secret.Text, error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Text{}, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAPIKeyFile+1))
	if err != nil {
		return secret.Text{}, withoutPath(err)
	}
	if len(data) > maxAPIKeyFile {
		return secret.Text{}, errors.New("the file is too large for an API key")
	}
	return parseAPIKey(string(data))
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

func asAPIKey(into *secret.Text) field {
	return asOne(into, oneText, "at most 512 bytes of printable ASCII without white space", parseAPIKey)
}
