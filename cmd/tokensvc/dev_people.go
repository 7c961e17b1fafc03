package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/telnyx/telnyxtest"
)

const (
	devAudience = "softphone"
	devClaim    = "telnyx_credential" // where the people's bearers have their credentials
)

// person is somebody made up who shows one outcome.
type person struct {
	name       string
	shows      string
	group      string
	credential string // UUID, or empty
	known      bool   // at Telnyx
}

// people are all that there are. bob is in no directory: whoever is in it is given a
// credential at the first login.
var people = []person{
	{"alice", "gets a token", "agents", "11111111-aaaa-4aaa-8aaa-000000000001", true},
	{"bob", "has no credential: no_credential", "agents", "", false},
	{"carol", "is refused by a rule: denied", "visitors", "33333333-cccc-4ccc-8ccc-000000000003", true},
	{"dave", "has a credential that Telnyx does not accept: credential_rejected", "agents", "44444444-dddd-4ddd-8ddd-000000000004", false},
}

// knownPerson reports whether there is somebody of that name.
func knownPerson(name string) bool {
	return slices.ContainsFunc(people, func(p person) bool { return p.name == name })
}

// names lists dev's people.
func names() string {
	var all []string
	for _, p := range people {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

// shows is what each of dev's people is there for.
func shows() map[string]string {
	all := make(map[string]string)
	for _, p := range people {
		all[p.name] = p.shows
	}
	return all
}

// claims are what the issuer says of each of dev's people. Their credentials are for
// whoever runs a service whose directory is that claim.
func claims() map[string]map[string]any {
	all := make(map[string]map[string]any)
	for _, p := range people {
		all[p.name] = map[string]any{"groups": []string{p.group}}
		if p.credential != "" {
			all[p.name][devClaim] = p.credential
		}
	}
	return all
}

// employ makes the credentials that are known at Telnyx.
func employ(at *telnyxtest.Server) {
	for _, p := range people {
		if p.known {
			at.AddCredential(telnyxtest.Credential{ID: p.credential, Name: "dev:" + p.name})
		}
	}
}

// enroll puts into an empty directory whoever has a credential.
func enroll(ctx context.Context, cfg Config) (err error) {
	b, err := cfg.openBooks(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, p := range people {
		if p.credential == "" {
			continue
		}
		id, err := telnyx.ParseCredentialID(p.credential)
		if err != nil {
			return err
		}
		if _, err := b.put(ctx, p.name, "", false); err != nil {
			return err
		}
		if err := b.assign(ctx, p.name, directory.DefaultDevice, id); err != nil {
			return err
		}
	}
	return nil
}
