package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// followRules makes the rules follow the configuration file. There is nothing to
// follow if the configuration came from variables alone.
func (s *service) followRules(path string, environ []string) {
	if path == "" {
		return
	}
	inForce, admins := s.cfg.Issuers, s.cfg.Admin.Require
	s.follow("rules", path, func() outcome {
		next, problems := loadAlone(path, environ)
		if len(problems) > 0 {
			return outcome{refused: joined(problems)}
		}
		issuers, err := withRules(inForce, next.Issuers)
		if err != nil {
			return outcome{refused: err}
		}
		require := s.adminRules(admins, next)
		newAdmins, newRules := !reflect.DeepEqual(require, admins), !slices.EqualFunc(issuers, inForce, sameRules)
		if newAdmins {
			if err := s.admin.SetRequire(require); err != nil {
				return outcome{refused: err}
			}
		}
		if newRules {
			s.handler.SetPolicy(policyOf(issuers))
		}
		inForce, admins = issuers, require
		return outcome{changed: newRules || newAdmins, waiting: differing(s.cfg, next)}
	})
}

// adminRules returns what people who administer must be: what the file says, if
// it is about the issuer that vouches for them. If that is another, or at another
// address, it takes a restart, and until then the rules stay that are about the
// one that runs. A file with admin.issuer and no admin.require does not load, so
// there is no half of one by which everybody would administer.
func (s *service) adminRules(inForce []authz.Requirement, file Config) []authz.Requirement {
	if s.admin == nil || s.cfg.Admin.Issuer == "" || s.cfg.Admin.Issuer != file.Admin.Issuer {
		return inForce
	}
	is := func(i IssuerConfig) bool { return i.Name == file.Admin.Issuer && i.URL == s.issuer(i.Name).URL }
	if !slices.ContainsFunc(file.Issuers, is) {
		return inForce
	}
	return file.Admin.Require
}

// withRules returns the issuers that run, with the rules that the file has for
// them. One that is not in it under its name and address keeps its rules, as it
// goes on running.
//
// A file that is only half written may be valid, and end before an issuer's
// rules. To take that for "no rules" would let everybody in. One that ends before
// their mode enforces them, as by default, and lets nobody in.
func withRules(running, file []IssuerConfig) ([]IssuerConfig, error) {
	running = slices.Clone(running)
	for i, r := range running {
		entry := slices.IndexFunc(file, func(f IssuerConfig) bool { return f.Name == r.Name && f.URL == r.URL })
		if entry < 0 {
			continue
		}
		if len(r.Require) > 0 && file[entry].Require == nil {
			return nil, fmt.Errorf("issuers[%d].require: is gone, and the issuer had rules; where it shall have none, write require: {}", entry)
		}
		running[i].Require, running[i].Mode = file[entry].Require, file[entry].Mode
	}
	return running, nil
}

func sameRules(a, b IssuerConfig) bool {
	return a.Mode == b.Mode && (len(a.Require) == 0 && len(b.Require) == 0 || reflect.DeepEqual(a.Require, b.Require))
}

// differing returns the keys whose values differ, except rules.
func differing(a, b Config) []string {
	keys := slices.DeleteFunc(differingIn(settings(&a, &IssuerConfig{}), settings(&b, &IssuerConfig{})), isRules)
	if len(a.Issuers) != len(b.Issuers) {
		return append(keys, "issuers")
	}
	for i := range a.Issuers {
		for _, key := range differingIn(settings(&a, &a.Issuers[i]), settings(&b, &b.Issuers[i])) {
			if strings.HasPrefix(key, "issuers[].") && !isRules(key) {
				keys = append(keys, numbered(key, i))
			}
		}
	}
	return keys
}

// isRules reports whether the setting of that key is followed.
func isRules(key string) bool {
	return slices.Contains([]string{"issuers[].require", "issuers[].mode", "admin.require"}, key)
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
