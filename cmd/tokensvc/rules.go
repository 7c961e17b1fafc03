package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// followRules makes the rules follow the configuration file. There is nothing to
// follow if the configuration came from variables alone.
func (s *service) followRules(path string, environ []string) {
	if path == "" {
		return
	}
	inForce := s.cfg.Issuers
	s.follow("rules", path, func() outcome {
		next, problems := loadAlone(path, environ)
		if len(problems) > 0 {
			return outcome{refused: joined(problems)}
		}
		issuers, err := withRules(inForce, next.Issuers)
		if err != nil {
			return outcome{refused: err}
		}
		changed := !slices.EqualFunc(issuers, inForce, sameRules)
		if changed {
			s.handler.SetPolicy(authz.NewPolicy(issuers))
			inForce = issuers
		}
		return outcome{changed: changed, waiting: differing(s.cfg, next)}
	})
}

// withRules returns the issuers that run, with the rules that the file has for
// them. One that is not in it under its name and address keeps its rules, as it
// goes on running.
//
// A file that is only half written may be valid, and end before an issuer's
// rules. To take that for "no rules" would let everybody in.
func withRules(running, file []authz.Issuer) ([]authz.Issuer, error) {
	running = slices.Clone(running)
	for i, r := range running {
		entry := slices.IndexFunc(file, func(f authz.Issuer) bool { return f.Name == r.Name && f.URL == r.URL })
		if entry < 0 {
			continue
		}
		if len(r.Require) > 0 && file[entry].Require == nil {
			return nil, fmt.Errorf("issuers[%d].require: is gone, and the issuer had rules; where it shall have none, write require: {}", entry)
		}
		running[i].Require = file[entry].Require
	}
	return running, nil
}

func sameRules(a, b authz.Issuer) bool {
	return len(a.Require) == 0 && len(b.Require) == 0 || reflect.DeepEqual(a.Require, b.Require)
}

// differing returns the keys whose values differ, except rules.
func differing(a, b Config) []string {
	keys := differingIn(settings(&a, &authz.Issuer{}), settings(&b, &authz.Issuer{}))
	if len(a.Issuers) != len(b.Issuers) {
		return append(keys, "issuers")
	}
	for i := range a.Issuers {
		for _, key := range differingIn(settings(&a, &a.Issuers[i]), settings(&b, &b.Issuers[i])) {
			if numbered := numbered(key, i); numbered != key && numbered != issuerKey(i, "require") {
				keys = append(keys, numbered)
			}
		}
	}
	return keys
}

// differingIn returns the keys whose values differ between two configurations'
// settings. What is only a variable does not change while we run.
func differingIn(a, b []setting) []string {
	var keys []string
	for i := range a {
		if a[i].key != "" && !reflect.DeepEqual(a[i].field.current(), b[i].field.current()) {
			keys = append(keys, a[i].key)
		}
	}
	return keys
}

func joined(problems []Problem) error {
	all := make([]error, len(problems))
	for i, p := range problems {
		all[i] = fmt.Errorf("%v", p)
	}
	return errors.Join(all...)
}
