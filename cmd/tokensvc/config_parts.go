package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// authz is what a verifier of these issuers takes, without what it is to tell and
// the key of its nonces.
func (c Config) authz(issuers []authz.Issuer) authz.Config {
	return authz.Config{
		Issuers: issuers, Origins: c.CORSOrigins, ProxyListener: c.ProxyListen != "", PublicURL: c.PublicURL,
		Waiting: max(c.Limits.InFlight/8, 1), Now: now,
	}
}

// openIssuers opens the files of the issuers' secrets. follow is given each, and
// what reads it again.
func (c Config) openIssuers(follow func(what, path string, read func() outcome)) ([]authz.Issuer, error) {
	var all []authz.Issuer
	var failed error
	for _, i := range c.Issuers {
		all = append(all, i.asAuthz(func(field, path string, read readSecret) func() secret.Text {
			f, err := openSecretFile(path, read)
			if err != nil {
				failed = fmt.Errorf("issuer %s: %s: %w", i.Name, field, err)
			}
			follow("secret of issuer "+i.Name, path, f.readAgain)
			return f.Text
		}))
	}
	return all, failed
}

// telnyx is what a client of Telnyx's takes, which asks for the keys every time.
func (c Config) telnyx(keys func() []secret.Text) telnyx.Config {
	return telnyx.Config{
		BaseURL: c.Telnyx.BaseURL, APIKeys: keys, Timeout: c.Telnyx.Timeout,
		UserAgent: "tokensvc/" + version, Proxy: http.ProxyFromEnvironment,
	}
}

// finder is a directory of either kind.
type finder interface {
	Find(ctx context.Context, q directory.Query) (telnyx.CredentialID, error)
	DeviceOf(ctx context.Context, q directory.Query, id telnyx.CredentialID) (directory.Device, error)
}

// openDirectory opens a directory that is no database.
func (c Config) openDirectory() (finder, error) {
	if c.Directory.Kind == "claim" {
		return directory.NewClaim(c.Directory.Value)
	}
	return c.Users, nil
}
