package main

import (
	"reflect"
	"slices"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// Keys of an issuer's secrets.
const (
	clientSecretFile = "introspection.client_secret_file"
	privateKeyFile   = "introspection.private_key_file"
	proxySecretFile  = "proxy.secret_file"
)

// asAuthz returns the issuer as authz takes it. open returns what gives the
// secret of a file, of which it knows the key, as it is now.
func (i IssuerConfig) asAuthz(open func(field, path string, read readSecret) func() secret.Text) authz.Issuer {
	issuer := i.Issuer
	if i.Trust.isSet() {
		issuer = i.proxied(open)
	}
	n := i.Introspect
	if !n.isSet() {
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

func (n IntrospectionConfig) isSet() bool {
	return n != IntrospectionConfig{Cache: authz.DefaultIntrospectionCache}
}

func (p ProxyConfig) isSet() bool { return !reflect.DeepEqual(p, ProxyConfig{}) }

// proxied returns the issuer as the trusted proxy that it is, without the
// defaults of what is about tokens.
func (i IssuerConfig) proxied(open func(field, path string, read readSecret) func() secret.Text) authz.Issuer {
	issuer, p := i.Issuer, i.Trust
	if issuer.AudienceClaim == authz.DefaultAudienceClaim {
		issuer.AudienceClaim = ""
	}
	if issuer.Keys == authz.KeysFromDiscovery {
		issuer.Keys = ""
	}
	issuer.Proxy = &authz.Proxy{
		Networks: p.Networks, SecretHeader: p.SecretHeader, ClientNames: p.ClientNames, Headers: p.Headers, Lists: p.Lists,
	}
	if p.SecretFile != "" {
		issuer.Proxy.Secret = open(proxySecretFile, p.SecretFile, readProxySecret)
	}
	return issuer
}

// followKeys makes the keys of issuers that have them in files follow those.
func (s *service) followKeys() {
	for _, i := range s.cfg.Issuers {
		if path := i.KeyFile(); path != "" {
			s.follow("keys of issuer "+i.Name, path, func() outcome { return outcomeOf(s.verifier.ReloadKeys(i.Name)) })
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

func usesCookies(issuers []IssuerConfig) bool {
	return slices.ContainsFunc(issuers, func(i IssuerConfig) bool { return i.Source.IsCookie() })
}

func usesDPoP(issuers []IssuerConfig) bool {
	return slices.ContainsFunc(issuers, func(i IssuerConfig) bool { return i.DPoP == authz.DPoPOptional || i.DPoP == authz.DPoPRequired })
}
