package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/telnyx"
	"github.com/tokensvc/tokensvc/internal/vending"
)

// A setting is one thing that can be configured. The YAML file, the
// environment and the table in docs/configuration.md all follow from it.
type setting struct {
	key       string // in the YAML file; "" if it cannot be set there
	variable  string
	field     field
	byDefault string // taken through the same parser as any other value
	unset     string // for the manual: what holds instead of a default
	help      string
}

// name identifies the setting among the others.
func (s setting) name() string {
	if s.key == "" {
		return s.variable
	}
	return s.key
}

// ofIssuer reports whether the setting is about one issuer, not the service.
func (s setting) ofIssuer() bool { return strings.HasPrefix(s.key, "issuers[].") }

// applyDefault sets the default. A default that is not accepted would be left
// out; a test sees that there is none.
func (s setting) applyDefault() []flaw {
	if s.byDefault == "" {
		return nil
	}
	return s.field.accept(value{words: []word{{text: s.byDefault}}})
}

// newIssuer returns an issuer with the defaults of the table.
func newIssuer() IssuerConfig {
	var issuer IssuerConfig
	for _, s := range settings(&Config{}, &issuer) {
		if s.ofIssuer() {
			s.applyDefault()
		}
	}
	return issuer
}

// Where to listen when nothing is set. The image is linked with others, since
// inside a container loopback would reach nobody.
var (
	defaultListen    = "127.0.0.1:8080"
	defaultOpsListen = "127.0.0.1:9090"
)

// settings is the table of everything that can be set, bound to the Config
// and, for the keys under issuers[], to the issuer that they are to change.
func settings(c *Config, issuer *IssuerConfig) []setting {
	return slices.Concat(listenerSettings(c), callerSettings(c), issuerSettings(issuer), directorySettings(c), cacheSettings(c), serviceSettings(c), tracingSettings(c))
}

func listenerSettings(c *Config) []setting {
	return slices.Concat(
		[]setting{{
			key: "listen", variable: "TOKENSVC_LISTEN", byDefault: defaultListen,
			field: asAddress(&c.Listen),
			help:  "Address of the public listener. Port 0 lets the system choose.",
		}},
		tlsSettings("tls.", "TOKENSVC_TLS_", "the public listener", "connects to it", &c.TLS),
		[]setting{{
			key: "ops_listen", variable: "TOKENSVC_OPS_LISTEN", byDefault: defaultOpsListen,
			field: asAddress(&c.OpsListen),
			help:  "Address of the listener for health, metrics and the admin API. Not for the public.",
		}},
		tlsSettings("ops_tls.", "TOKENSVC_OPS_TLS_", "the ops listener", "asks it for more than `/livez` and `/readyz`", &c.OpsTLS),
		[]setting{{
			key: "proxy_listen", variable: "TOKENSVC_PROXY_LISTEN", unset: "none",
			field: asAddress(&c.ProxyListen),
			help:  "Address of a listener of its own for the trusted proxy of `issuers[].proxy`, which is then believed only there.",
		}},
		tlsSettings("proxy_tls.", "TOKENSVC_PROXY_TLS_", "the proxy's listener", "connects to the proxy's listener", &c.ProxyTLS),
	)
}

// tlsSettings are those of one listener. who must show a client certificate.
func tlsSettings(prefix, variable, listener, who string, c *TLSConfig) []setting {
	return []setting{
		{
			key: prefix + "cert_file", variable: variable + "CERT_FILE", unset: "none: plain HTTP",
			field: asPath(&c.CertFile),
			help:  "Certificate, with its chain, of " + listener + ", in PEM.",
		}, {
			key: prefix + "key_file", variable: variable + "KEY_FILE", unset: "required with the previous",
			field: asPath(&c.KeyFile),
			help:  "Private key of that certificate, in PEM.",
		}, {
			key: prefix + "client_ca_file", variable: variable + "CLIENT_CA_FILE", unset: "no client certificates",
			field: asPath(&c.ClientCAFile),
			help:  "Authorities, in PEM, of which whoever " + who + " must show a certificate.",
		},
	}
}

func callerSettings(c *Config) []setting {
	return []setting{
		{
			key: "public_url", variable: "TOKENSVC_PUBLIC_URL", unset: "required for `dpop`",
			field: asBaseURL(&c.PublicURL),
			help:  "Address under which callers reach the public listener: all of it before `/v1/token`. DPoP proofs are made for it.",
		}, {
			key: "dpop_nonce_key_file", variable: "TOKENSVC_DPOP_NONCE_KEY_FILE", unset: "no nonces",
			field: asPath(&c.DPoPNonceKeyFile),
			help:  "File that holds 32 bytes or more, the same for all replicas. DPoP proofs must then carry a nonce of ours.",
		}, {
			key: "base_path", variable: "TOKENSVC_BASE_PATH", unset: "none",
			field: asBasePath(&c.BasePath),
			help:  "Prefix of every path of the public listener, behind a proxy that keeps it.",
		}, {
			key: "trusted_proxies", variable: "TOKENSVC_TRUSTED_PROXIES", unset: "none",
			field: asNetworks(&c.TrustedProxies),
			help:  "Networks of the proxies whose `X-Forwarded-For` counts.",
		}, {
			key: "cors.origins", variable: "TOKENSVC_CORS_ORIGINS", unset: "none",
			field: asOrigins(&c.CORSOrigins),
			help:  "Web origins whose pages may call from a browser.",
		}, {
			variable: "TELNYX_API_KEY", unset: "required, or one of the next two",
			field: asAPIKey(&c.Telnyx.APIKeys),
			help:  "The Telnyx API key. Only a variable: it cannot be written into the file.",
		}, {
			key: "telnyx.api_key_file", variable: "TELNYX_API_KEY_FILE", unset: "required, or the previous or next",
			field: asPath(&c.Telnyx.APIKeyFile),
			help:  "File that holds the Telnyx API key and nothing else.",
		}, {
			key: "telnyx.api_keys", variable: "TELNYX_API_KEY_FILES", unset: "required, or one of the previous two",
			field: asPaths(&c.Telnyx.APIKeyFiles, telnyx.MaxAPIKeys),
			help:  "Files that hold a Telnyx API key each, all of one account. While Telnyx does not accept the first key, the next is used.",
		}, {
			key: "telnyx.base_url", variable: "TELNYX_BASE_URL", byDefault: telnyx.DefaultBaseURL,
			field: asBaseURL(&c.Telnyx.BaseURL),
			help:  "Where Telnyx's API is.",
		}, {
			key: "telnyx.timeout", variable: "TELNYX_TIMEOUT", byDefault: telnyx.DefaultTimeout.String(),
			field: asDuration(&c.Telnyx.Timeout, 100*time.Millisecond, telnyx.MaxTimeout),
			help:  "Longest wait for one call to Telnyx. Less than `limits.request_timeout`.",
		},
	}
}

func issuerSettings(issuer *IssuerConfig) []setting {
	return []setting{
		{
			key: "issuers[].name", variable: "TOKENSVC_OIDC_NAME", unset: "`main` if there is one issuer, else required",
			field: asText(&issuer.Name, "1 to 32 lower case letters, digits and inner dashes"),
			help:  "Our short name of the issuer, the first part of its users' keys. Changing it makes everybody somebody else.",
		}, {
			key: "issuers[].issuer", variable: "TOKENSVC_OIDC_ISSUER", unset: "required",
			field: asText(&issuer.URL, "an https URL, or http on a loopback address"),
			help:  "The issuer, exactly as its tokens spell it in `iss`.",
		}, {
			key: "issuers[].source", variable: "TOKENSVC_OIDC_SOURCE", byDefault: "bearer",
			field: asSource(&issuer.Source),
			help:  "Where in a request the issuer's token is. A cookie counts only from a page of `cors.origins`.",
		}, {
			key: "issuers[].audience", variable: "TOKENSVC_OIDC_AUDIENCE", unset: "required",
			field: asTexts(&issuer.Audiences, "text, or a list of texts, as in the aud of tokens meant for this service", isText),
			help:  "Accepted values of `aud`; one of them must be there.",
		}, {
			key: "issuers[].audience_claim", variable: "TOKENSVC_OIDC_AUDIENCE_CLAIM", byDefault: authz.DefaultAudienceClaim,
			field: asText(&issuer.AudienceClaim, "the name of a claim"),
			help:  "Claim that holds the audience: `client_id` for the access tokens of Amazon Cognito.",
		}, {
			key: "issuers[].keys", variable: "TOKENSVC_OIDC_KEYS", byDefault: authz.KeysFromDiscovery,
			field: asKeys(&issuer.Keys),
			help:  "Where the issuer's keys are, if it has no discovery or cannot be reached.",
		}, {
			key: "issuers[].introspection.client_id", variable: "TOKENSVC_OIDC_INTROSPECTION_CLIENT_ID", unset: "no introspection",
			field: asText(&issuer.Introspect.ClientID, "text, the name under which the issuer knows this service"),
			help:  "Has the issuer asked about each token (RFC 7662), which then need not be a JWT.",
		}, {
			key: "issuers[].introspection.client_secret_file", variable: "TOKENSVC_OIDC_INTROSPECTION_CLIENT_SECRET_FILE", unset: "required for introspection, or the next",
			field: asPath(&issuer.Introspect.ClientSecretFile),
			help:  "File that holds the client's secret and nothing else.",
		}, {
			key: "issuers[].introspection.private_key_file", variable: "TOKENSVC_OIDC_INTROSPECTION_PRIVATE_KEY_FILE", unset: "required for introspection, or the previous",
			field: asPath(&issuer.Introspect.PrivateKeyFile),
			help:  "File that holds the client's private key, PKCS #8 in PEM or a JWK, for `private_key_jwt`.",
		}, {
			key: "issuers[].introspection.endpoint", variable: "TOKENSVC_OIDC_INTROSPECTION_ENDPOINT", unset: "the discovered one",
			field: asText(&issuer.Introspect.Endpoint, "an https URL, or http on a loopback address"),
			help:  "Where the issuer is asked.",
		}, {
			key: "issuers[].introspection.cache", variable: "TOKENSVC_OIDC_INTROSPECTION_CACHE", byDefault: authz.DefaultIntrospectionCache.String(),
			field: asDurationOrNone(&issuer.Introspect.Cache, authz.MaxIntrospectionCache),
			help:  "How long an answer is believed, and so how long a revoked token may still be used.",
		}, {
			key: "issuers[].dpop", variable: "TOKENSVC_OIDC_DPOP", byDefault: string(authz.DPoPOff),
			field: asOneOf((*string)(&issuer.DPoP), string(authz.DPoPOff), string(authz.DPoPOptional), string(authz.DPoPRequired)),
			help:  "Whether bearers may or must be bound to a key that callers prove to have (RFC 9449).",
		}, {
			key: "issuers[].proxy.networks", variable: "TOKENSVC_OIDC_PROXY_NETWORKS", unset: "no proxy",
			field: asNetworks(&issuer.Trust.Networks),
			help:  "Makes the issuer a trusted proxy, whose headers say who somebody is: where it connects from.",
		}, {
			key: "issuers[].proxy.secret_file", variable: "TOKENSVC_OIDC_PROXY_SECRET_FILE", unset: "required for a proxy, or `client_names`",
			field: asPath(&issuer.Trust.SecretFile),
			help:  "File that holds what the proxy sends to show that it is the proxy: 16 bytes or more.",
		}, {
			key: "issuers[].proxy.secret_header", variable: "TOKENSVC_OIDC_PROXY_SECRET_HEADER", unset: "`" + authz.DefaultProxySecretHeader + "`",
			field: asText(&issuer.Trust.SecretHeader, "the name of a header"),
			help:  "Header in which the proxy sends it.",
		}, {
			key: "issuers[].proxy.client_names", variable: "TOKENSVC_OIDC_PROXY_CLIENT_NAMES", unset: "required for a proxy, or `secret_file`",
			field: asTexts(&issuer.Trust.ClientNames, "a list of DNS names", isText),
			help:  "Names of which the proxy's client certificate must have one. Needs `proxy_tls.client_ca_file`.",
		}, {
			key: "issuers[].proxy.headers", variable: "TOKENSVC_OIDC_PROXY_HEADERS", unset: "those of oauth2-proxy",
			field: asHeaders(&issuer.Trust.Headers),
			help:  "Headers that the proxy sets, by the claim that each becomes.",
		}, {
			key: "issuers[].proxy.lists", variable: "TOKENSVC_OIDC_PROXY_LISTS", unset: "`groups`",
			field: asTexts(&issuer.Trust.Lists, "a list of claims", isText),
			help:  "Claims whose header is a list, separated by commas.",
		}, {
			key: "issuers[].user_claim", variable: "TOKENSVC_OIDC_USER_CLAIM", byDefault: authz.DefaultUserClaim,
			field: asText(&issuer.UserClaim, "the name of a claim"),
			help:  "Claim that identifies the user. `email` counts only when `email_verified` is true.",
		}, {
			key: "issuers[].algorithms", variable: "TOKENSVC_OIDC_ALGORITHMS", unset: "all of them",
			field: asTexts(&issuer.Algorithms, "a list out of "+strings.Join(authz.DefaultAlgorithms, ", "), isAlgorithm),
			help:  "Accepted signature algorithms.",
		}, {
			key: "issuers[].clock_skew", variable: "TOKENSVC_OIDC_CLOCK_SKEW", byDefault: authz.DefaultClockSkew.String(),
			field: asDurationOrNone(&issuer.ClockSkew, authz.MaxClockSkew),
			help:  "How far the issuer's clock may differ from ours.",
		}, {
			key: "issuers[].require", variable: "TOKENSVC_OIDC_REQUIRE", unset: "none",
			field: asRules(&issuer.Require),
			help:  "Claims that must be there, with one of the values or as the operators say; all of them must hold. A dotted name is a path into nested claims; `{}` is none.",
		}, {
			key: "issuers[].mode", variable: "TOKENSVC_OIDC_MODE", byDefault: string(authz.ModeEnforce),
			field: asOneOf((*string)(&issuer.Mode), string(authz.ModeEnforce), string(authz.ModeObserve)),
			help:  "Whether `require` refuses, or lets everybody in and tells whom it would have refused.",
		},
	}
}

// The values of audit.on_failure.
const onFailureRefuse, onFailureVend = "refuse", "vend"

// The values of limits.scope.
const scopeReplica, scopeShared = "replica", "shared"

func serviceSettings(c *Config) []setting {
	return []setting{
		{
			key: "vending.min_life", variable: "TOKENSVC_VENDING_MIN_LIFE", byDefault: fmt.Sprint(vending.DefaultMinLife),
			field: asShare(&c.Vending.MinLife),
			help:  "Share of a token's life that must be left to hand it out from the cache.",
		}, {
			key: "limits.user_per_minute", variable: "TOKENSVC_LIMITS_USER_PER_MINUTE", byDefault: "30",
			field: asWhole(&c.Limits.UserPerMinute, 1, 60000),
			help:  "Requests a user may make in a minute, in the long run: for tokens, and to `/v1/whoami`.",
		}, {
			key: "limits.user_burst", variable: "TOKENSVC_LIMITS_USER_BURST", byDefault: "10",
			field: asWhole(&c.Limits.UserBurst, 1, 10000),
			help:  "Requests a user may make at once.",
		}, {
			key: "limits.address_per_minute", variable: "TOKENSVC_LIMITS_ADDRESS_PER_MINUTE", byDefault: "6000",
			field: asWhole(&c.Limits.AddressPerMinute, 0, 6000000),
			help:  "Refusals that a client's address may cause in a minute, in the long run, before bearers from it that are not known yet are no longer looked at; 0 for any number. Without `trusted_proxies` nobody is bounded who forwards, or comes from a private network: that may be a proxy, and its address everybody's.",
		}, {
			key: "limits.address_burst", variable: "TOKENSVC_LIMITS_ADDRESS_BURST", byDefault: "600",
			field: asWhole(&c.Limits.AddressBurst, 1, 100000),
			help:  "Refusals that an address may cause at once.",
		}, {
			key: "limits.scope", variable: "TOKENSVC_LIMITS_SCOPE", byDefault: scopeReplica,
			field: asOneOf(&c.Limits.Scope, scopeReplica, scopeShared),
			help:  "Whether each replica counts users' requests and addresses' refusals by itself, or all together in the Redis of `cache`, which is then asked about every request.",
		}, {
			key: "limits.in_flight", variable: "TOKENSVC_LIMITS_IN_FLIGHT", byDefault: "1024",
			field: asWhole(&c.Limits.InFlight, 1, 1000000),
			help:  "Requests worked on at once; more are refused.",
		}, {
			key: "limits.connections", variable: "TOKENSVC_LIMITS_CONNECTIONS", byDefault: "10000",
			field: asWhole(&c.Limits.Connections, 1, 1000000),
			help:  "Connections open on each listener at once; more wait.",
		}, {
			key: "limits.request_timeout", variable: "TOKENSVC_LIMITS_REQUEST_TIMEOUT", byDefault: "15s",
			field: asDuration(&c.Limits.RequestTimeout, 100*time.Millisecond, 5*time.Minute),
			help:  "Longest that one request may take. More than `telnyx.timeout`.",
		}, {
			key: "limits.drain_timeout", variable: "TOKENSVC_LIMITS_DRAIN_TIMEOUT", byDefault: "30s",
			field: asDuration(&c.Limits.DrainTimeout, 100*time.Millisecond, time.Hour),
			help:  "How long requests have to end after a stop signal. At least `limits.request_timeout`.",
		}, {
			key: "limits.drain_delay", variable: "TOKENSVC_LIMITS_DRAIN_DELAY", byDefault: "0s",
			field: asDuration(&c.Limits.DrainDelay, 0, 5*time.Minute),
			help:  "How long to go on accepting requests after a stop signal, while no longer ready.",
		}, {
			key: "log.level", variable: "TOKENSVC_LOG_LEVEL", byDefault: "info",
			field: asOneOf(&c.Log.Level, "debug", "info", "warn", "error"),
			help:  "The least important kind of line that is logged.",
		}, {
			key: "log.format", variable: "TOKENSVC_LOG_FORMAT", unset: "`console` on a terminal, else `json`",
			field: asOneOf(&c.Log.Format, "json", "console"),
			help:  "How lines are logged.",
		}, {
			key: "audit.file", variable: "TOKENSVC_AUDIT_FILE", byDefault: standardOutput,
			field: asAuditFile(&c.Audit.File),
			help:  "File to which a record of every decision is appended.",
		}, {
			key: "audit.on_failure", variable: "TOKENSVC_AUDIT_ON_FAILURE", byDefault: onFailureRefuse,
			field: asOneOf(&c.Audit.OnFailure, onFailureRefuse, onFailureVend),
			help:  "Whether tokens are refused or handed out while they cannot be recorded.",
		},
	}
}
