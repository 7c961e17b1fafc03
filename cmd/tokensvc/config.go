package main

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// Config is everything that can be set. Load fills it from the file and the
// environment; what Load returns without problems is complete and consistent.
// The table in config_settings.go says how each field is spelled.
type Config struct {
	// Listen is the host:port of the public listener. Default 127.0.0.1:8080, and
	// :8080 in the image; port 0 lets the kernel choose. TLS is for that listener.
	Listen string
	TLS    TLSConfig
	// OpsListen is the host:port of the listener for health and metrics. Default
	// 127.0.0.1:9090, and :9090 in the image. It must differ from Listen: what it
	// serves is not for the public. OpsTLS is for that listener; whoever asks it
	// for /livez and /readyz needs no client certificate, whatever OpsTLS says.
	OpsListen string
	OpsTLS    TLSConfig
	// ProxyListen is the host:port of the listener on which the trusted proxy,
	// and nobody else, is listened to; "", the default, for none: then the proxy
	// uses Listen. ProxyTLS is for that listener.
	ProxyListen string
	ProxyTLS    TLSConfig
	// PublicURL is the address under which callers reach the public listener,
	// all of it before /v1/token, or "" if that does not matter.
	PublicURL string
	// DPoPNonceKeyFile holds the key of the nonces that DPoP proofs must carry,
	// or is "" for none. It is read again whenever it changes.
	DPoPNonceKeyFile string
	// BasePath goes before every path of the public listener: "" (the default)
	// or like "/x/y", clean and without a slash at the end.
	BasePath string
	// TrustedProxies are the networks whose X-Forwarded-For counts. Default
	// none; a /0 is refused, because then anybody could choose their address.
	TrustedProxies []netip.Prefix
	// CORSOrigins are the web origins that may call from a browser, compared
	// exactly: scheme://host[:port] in lower case, https, or http on a loopback
	// host. Default none.
	CORSOrigins []string

	Telnyx    TelnyxConfig
	Issuers   []IssuerConfig // at least one; names and URLs are distinct
	Directory DirectoryConfig
	// Users is the users file that Directory names, as it was read, or nil.
	Users *directory.File

	// What follows is for a Directory that is a database.

	// DirectoryPasswordFile holds the database's password, or is "".
	DirectoryPasswordFile string
	// DirectoryConnections bounds how many are open to PostgreSQL. Default 16, 1 to
	// 1000.
	DirectoryConnections int
	Devices              DevicesConfig
	Provision            ProvisionConfig
	Reconcile            ReconcileConfig
	Admin                AdminConfig

	Cache   CacheConfig
	Vending VendingConfig
	Limits  LimitsConfig
	Tracing TracingConfig
	Log     LogConfig
	Audit   AuditConfig
}

// TelnyxConfig says how Telnyx is reached.
type TelnyxConfig struct {
	// BaseURL has no slash at the end. Default https://api.telnyx.com/v2. It is
	// https, or http on a loopback address: the API key travels there.
	BaseURL string
	// APIKeys are TELNYX_API_KEY, or what the files held when they were loaded. None
	// can be written into the YAML file.
	APIKeys []secret.Text
	// APIKeyFile is the file to read the only key from, again whenever it changes.
	// APIKeyFiles are the files of several, in the order in which the keys are to
	// be used: 1 to telnyx.MaxAPIKeys, no two the same. At most one of TELNYX_API_KEY
	// and these is set.
	APIKeyFile  string
	APIKeyFiles []string
	// Timeout bounds one call. Default 10 s, 100 ms to 2 min, and less than
	// Limits.RequestTimeout, so that the caller hears of it.
	Timeout time.Duration
}

// IssuerConfig is an issuer, and what is opened for it. Its Introspection and
// Proxy are nil: asAuthz makes them of Introspect and Trust.
type IssuerConfig struct {
	authz.Issuer
	Introspect IntrospectionConfig
	Trust      ProxyConfig
}

// ProxyConfig says which proxy's word is taken for who its people are. If
// nothing is set, none is.
type ProxyConfig struct {
	Networks []netip.Prefix
	// SecretFile is read again whenever it changes. Exactly one of it and
	// ClientNames is set.
	SecretFile   string
	SecretHeader string
	ClientNames  []string
	Headers      map[string]string // claim to header
	Lists        []string          // claims whose header is a list
}

// IntrospectionConfig says how an issuer is asked about its tokens. If nothing
// but the default is set, it is not.
type IntrospectionConfig struct {
	ClientID string
	// ClientSecretFile and PrivateKeyFile are read again whenever they change.
	// Exactly one of them is set.
	ClientSecretFile string
	PrivateKeyFile   string
	// Endpoint is the URL that is asked, or "" for the discovered one.
	Endpoint string
	// Cache is how long an answer is believed. Default 30 s, at most 5 min,
	// negative for not at all.
	Cache time.Duration
}

// VendingConfig says when a token may be handed out again.
type VendingConfig struct {
	// MinLife is the share of a token's life that must be left to hand it out
	// from the cache. Default 0.5, more than 0 and less than 1.
	MinLife float64
}

// LimitsConfig bounds what the service takes on.
type LimitsConfig struct {
	// UserPerMinute is how many tokens a user may ask for in a minute, in the
	// long run. Default 30, 1 to 60000.
	UserPerMinute int
	// UserBurst is how many a user may ask for at once. Default 10, 1 to 10000.
	UserBurst int
	// AddressPerMinute is how many refusals one client address may cause in a minute,
	// in the long run. Default 6000, at most 6000000; 0 for any number.
	AddressPerMinute int
	// AddressBurst is how many it may cause at once. Default 600, 1 to 100000.
	AddressBurst int
	// Scope is "replica", the default: each counts by itself; or "shared": all of
	// them together, in the Cache.
	Scope string
	// InFlight is how many requests are worked on at once; more are refused.
	// Default 1024, 1 to 1000000.
	InFlight int
	// Connections is how many may be open on each listener; more wait. Default
	// 10000, 1 to 1000000.
	Connections int
	// RequestTimeout bounds one request. Default 15 s, 100 ms to 5 min.
	RequestTimeout time.Duration
	// DrainTimeout is how long requests have to end after a stop signal.
	// Default 30 s, at least RequestTimeout, at most 1 h.
	DrainTimeout time.Duration
	// DrainDelay is how long to go on accepting requests after a stop signal,
	// while no longer ready, so that balancers notice first. Default 0, at most
	// 5 min.
	DrainDelay time.Duration
}

// LogConfig says what is logged and how.
type LogConfig struct {
	// Level is debug, info (the default), warn or error.
	Level string
	// Format is json, console, or "" (the default): console on a terminal,
	// else json.
	Format string
}

// AuditConfig says where records of decisions go. There is no way to have none.
type AuditConfig struct {
	// File is a path, or - for standard output, the default.
	File string
	// OnFailure is refuse, the default: no token that cannot be recorded; or vend.
	OnFailure string
}

// A Problem is one thing wrong with the configuration. It holds no value from
// the configuration, since any value may be a misplaced secret.
type Problem struct {
	// Where is "tokensvc.yaml:12: limits.in_flight", or a variable's name.
	Where string
	// Text says what is expected there.
	Text string
}

func (p Problem) String() string { return p.Where + ": " + p.Text }

// Load reads the YAML file, unless path is empty, then the environment
// (entries like os.Environ's) over it, key by key. It returns everything that
// is wrong: the file's problems in its order, then the environment's. With
// problems, the Config is not to be used. Load touches no network.
func Load(path string, environ []string) (Config, []Problem) {
	l := newConfigLoader(path)
	if l.load(environ) {
		l.openFiles()
	}
	return l.config, l.problems()
}

// loadAlone is Load without a look into the files that the configuration names:
// its Config has neither a file's API key nor users. For whoever is after the
// rules, since a broken key file is no reason to leave them as they were.
func loadAlone(path string, environ []string) (Config, []Problem) {
	l := newConfigLoader(path)
	l.load(environ)
	return l.config, l.problems()
}

// A configLoader is one Load under way.
type configLoader struct {
	path     string
	config   Config
	places   map[string]configPlace // where each key was set, rightly or not
	broken   map[string]bool        // keys already reported: not judged further
	empty    map[string]bool        // variables that are there without a value
	findings []configFinding
}

// A configPlace is where something was set, with what is needed to sort by it.
type configPlace struct {
	where        string
	environ      bool
	line, column int // of the file; in the environment, line is the table's order
}

type configFinding struct {
	key   string // "" if it is about the file as a whole
	place configPlace
	text  string
}

// refuse records a problem with key, and that key need not be judged further.
func (l *configLoader) refuse(key string, at configPlace, text string) {
	l.broken[key] = true
	l.findings = append(l.findings, configFinding{key, at, text})
}

func (l *configLoader) isSet(key string) bool {
	_, ok := l.places[key]
	return ok
}

func newConfigLoader(path string) *configLoader {
	l := &configLoader{path: path, places: map[string]configPlace{}, broken: map[string]bool{}, empty: map[string]bool{}}
	for _, s := range settings(&l.config, &IssuerConfig{}) {
		s.applyDefault()
	}
	return l
}

// load takes the file and the environment and judges them, and reports whether
// the file could be parsed. One that cannot says nothing about what it meant to
// set: to go on would bury the reason under things reported as missing.
func (l *configLoader) load(environ []string) bool {
	if l.path != "" && !l.readFile() {
		return false
	}
	l.readEnviron(environ)
	l.check()
	return true
}

func (l *configLoader) problems() []Problem {
	slices.SortStableFunc(l.findings, func(a, b configFinding) int {
		if a.place.environ != b.place.environ {
			if b.place.environ {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.place.line, b.place.line), cmp.Compare(a.place.column, b.place.column))
	})
	var all []Problem
	for _, f := range l.findings {
		all = append(all, Problem{f.place.where, f.text})
	}
	return slices.Compact(all) // a list's flaws may all be the same, on one line
}
