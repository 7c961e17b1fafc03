package main

import (
	"strconv"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// keys are the API keys as they were when the configuration was loaded, for commands
// that do one thing and end.
func (c TelnyxConfig) keys() []secret.Text { return c.APIKeys }

// files are where the API keys are read from, if they are.
func (c TelnyxConfig) files() []string {
	if c.APIKeyFile != "" {
		return []string{c.APIKeyFile}
	}
	return c.APIKeyFiles
}

// secretFiles are secrets in their order.
type secretFiles []*secretFile

// Texts returns the secrets as they are now.
func (f secretFiles) Texts() []secret.Text {
	all := make([]secret.Text, len(f))
	for i, s := range f {
		all[i] = s.Text()
	}
	return all
}

// dates are when the files were changed that have the secrets; zero where there is
// none.
func (f secretFiles) dates() []time.Time {
	all := make([]time.Time, len(f))
	for i, s := range f {
		if changed := s.dated.Load(); changed != nil {
			all[i] = *changed
		}
	}
	return all
}

// openAPIKeys makes the keys follow their files.
func (s *service) openAPIKeys() {
	files := s.cfg.Telnyx.files()
	for i, key := range s.cfg.Telnyx.APIKeys {
		if len(files) == 0 {
			s.keys = append(s.keys, newSecretFile("", nil, key))
			continue
		}
		f := newSecretFile(files[i], readAPIKey, key)
		s.keys = append(s.keys, f)
		s.follow(keyName(i, len(files)), f.path, f.readAgain)
	}
}

// keyName is what an API key is called, in the log too: never by its text.
func keyName(i, of int) string {
	if of == 1 {
		return "API key"
	}
	return "API key " + strconv.Itoa(i)
}
