package main

import (
	"fmt"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// Keys of an issuer's secrets.
const (
	clientSecretFile = "introspection.client_secret_file"
	privateKeyFile   = "introspection.private_key_file"
)

// asAuthz returns the issuer as authz takes it. open returns what gives the
// secret of a file, of which it knows the key, as it is now.
func (i IssuerConfig) asAuthz(open func(field, path string, read readSecret) func() secret.Text) authz.Issuer {
	issuer, n := i.Issuer, i.Introspect
	if n == (IntrospectionConfig{Cache: authz.DefaultIntrospectionCache}) {
		return issuer
	}
	issuer.Introspection = &authz.Introspection{ClientID: n.ClientID, Endpoint: n.Endpoint, Cache: n.Cache}
	if n.ClientSecretFile != "" {
		issuer.Introspection.ClientSecret = open(clientSecretFile, n.ClientSecretFile, readClientSecret)
	}
	if n.PrivateKeyFile != "" {
		issuer.Introspection.PrivateKey = open(privateKeyFile, n.PrivateKeyFile, readPrivateKey)
	}
	return issuer
}

// openIssuers opens the files of the issuers' secrets, and follows them.
func (s *service) openIssuers() ([]authz.Issuer, error) {
	var all []authz.Issuer
	var failed error
	for _, i := range s.cfg.Issuers {
		all = append(all, i.asAuthz(func(field, path string, read readSecret) func() secret.Text {
			f, err := openSecretFile(path, read)
			if err != nil {
				failed = fmt.Errorf("issuer %s: %s: %w", i.Name, field, err)
			}
			s.reloads = append(s.reloads, reload{"secret of issuer " + i.Name, path, f.Reload})
			return f.Text
		}))
	}
	return all, failed
}

// followKeys makes the keys of issuers that have them in files follow those.
func (s *service) followKeys() {
	for _, i := range s.cfg.Issuers {
		if path := i.KeyFile(); path != "" {
			s.reloads = append(s.reloads, reload{"keys of issuer " + i.Name, path, func() (bool, error) {
				return s.verifier.ReloadKeys(i.Name)
			}})
		}
	}
}

// policyOf returns the rules of the issuers.
func policyOf(issuers []IssuerConfig) *authz.Policy {
	var all []authz.Issuer
	for _, i := range issuers {
		all = append(all, i.Issuer)
	}
	return authz.NewPolicy(all)
}
