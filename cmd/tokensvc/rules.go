package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// errRestart says that a change of the configuration file was not taken up.
var errRestart = errors.New("the file changes more than rules; the rest takes a restart")

// followRules makes the rules follow the configuration file. There is nothing to
// follow if the configuration came from variables alone.
func (s *service) followRules(path string, environ []string) {
	if path == "" {
		return
	}
	current := s.cfg
	s.reloads = append(s.reloads, reload{"rules", path, func() (changed bool, err error) {
		next, problems := Load(path, environ)
		if len(problems) > 0 {
			return false, joined(problems)
		}
		last := current
		current = next
		if !reflect.DeepEqual(withoutRules(next.Issuers), withoutRules(s.cfg.Issuers)) {
			return false, errRestart // rules belong to issuers, and these are not ours
		}
		if !reflect.DeepEqual(next.Issuers, last.Issuers) {
			s.handler.SetPolicy(policyOf(next.Issuers))
			changed = true
		}
		if !reflect.DeepEqual(besidesIssuers(next), besidesIssuers(last)) {
			err = errRestart
		}
		return changed, err
	}})
}

func withoutRules(issuers []IssuerConfig) []IssuerConfig {
	issuers = slices.Clone(issuers)
	for i := range issuers {
		issuers[i].Require, issuers[i].Mode = nil, ""
	}
	return issuers
}

// besidesIssuers leaves out the API key too, whose file is followed by itself.
func besidesIssuers(c Config) Config {
	c.Issuers, c.Telnyx.APIKey = nil, secret.Text{}
	return c
}

func joined(problems []Problem) error {
	all := make([]error, len(problems))
	for i, p := range problems {
		all[i] = fmt.Errorf("%v", p)
	}
	return errors.Join(all...)
}
