package main

import (
	"slices"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/directory/store"
	"github.com/tokensvc/tokensvc/internal/provisioning"
	"github.com/tokensvc/tokensvc/internal/secret"
	"github.com/tokensvc/tokensvc/internal/telnyx"
)

// DirectoryConfig says where a user's telephony credentials are found.
type DirectoryConfig struct {
	// Kind is "sqlite", "postgres", "file" or "claim".
	Kind string
	// Value is the path of the database or the users file, the URL of the database
	// without its password, or the claim's name.
	Value string
	// Password is the database's, if it came with the URL.
	Password secret.Text
}

// name is what callers may know of the directory: no path, no host.
func (d DirectoryConfig) name() string {
	if d.Kind == "claim" {
		return "claim:" + d.Value
	}
	return d.Kind
}

// isDatabase reports whether the directory is one that can be changed.
func (d DirectoryConfig) isDatabase() bool { return d.Kind == "sqlite" || d.Kind == "postgres" }

// DevicesConfig says how many credentials a user has. For databases only.
type DevicesConfig struct {
	// Mode is "separate", the default: a credential for each device, or "shared":
	// one for all.
	Mode string
	// Max is how many devices a user may have. Default 5, 1 to 100.
	Max int
	// AtMax is what becomes of one more: "refuse", the default, or "replace" the
	// device that was unused for longest.
	AtMax string
}

// ProvisionConfig says whether and how credentials are created at Telnyx.
type ProvisionConfig struct {
	// ConnectionID is the Credential Connection they are created on; "" for not at
	// all.
	ConnectionID string
	// Instance distinguishes this service's credentials from those of others on
	// the same account. Required with ConnectionID.
	Instance string
	// Users is "everyone", the default: whoever the rules admit, or "listed": only
	// who is in the directory.
	Users string
	// FirstLogin is "wait", the default, or "retry": what somebody does whose
	// credential has just been created.
	FirstLogin string
	// ReadyAfter is how long Telnyx takes to know a new credential. Default 5 s, at
	// most 1 min, negative for none.
	ReadyAfter time.Duration
	// ExpiresAfter is how long a credential lasts, which is renewed ahead of that;
	// 0, the default, leaves it to Telnyx. 1 h to 10 years.
	ExpiresAfter time.Duration
}

// ReconcileConfig says when the directory is compared with Telnyx.
type ReconcileConfig struct {
	// Every is how often; 0, the default, for only when somebody asks. 1 min to 30
	// days.
	Every time.Duration
	// Mode is "report", the default, or "apply".
	Mode string
}

// AdminConfig says who may change the directory over HTTP. If nothing is set,
// nobody may.
type AdminConfig struct {
	// TokenFile holds a token that whoever has it may. It is read again whenever it
	// changes.
	TokenFile string
	// Issuer names the issuer whose people may, if they meet Require, which is not
	// empty then.
	Issuer  string
	Require []authz.Requirement
}

func (a AdminConfig) isSet() bool { return a.TokenFile != "" || a.Issuer != "" }

// defaultDirectory is another in the image: there, only a volume lasts.
var defaultDirectory = "sqlite:tokensvc.db"

func directorySettings(c *Config) []setting {
	return []setting{
		{
			key: "directory", variable: "TOKENSVC_DIRECTORY", byDefault: defaultDirectory,
			field: asDirectory(&c.Directory),
			help:  "Where a user's telephony credentials are found: a database in a file or a PostgreSQL, a users file, or a claim of the caller's token. A URL with a password only in the variable.",
		}, {
			key: "directory_password_file", variable: "TOKENSVC_DIRECTORY_PASSWORD_FILE", unset: "none",
			field: asPath(&c.DirectoryPasswordFile),
			help:  "File that holds the password of the PostgreSQL and nothing else. It is read for every connection.",
		}, {
			key: "directory_connections", variable: "TOKENSVC_DIRECTORY_CONNECTIONS", byDefault: "16",
			field: asWhole(&c.DirectoryConnections, 1, 1000),
			help:  "Connections to PostgreSQL that may be open, besides one that listens.",
		}, {
			key: "devices", variable: "TOKENSVC_DEVICES", byDefault: "separate",
			field: asOneOf(&c.Devices.Mode, "separate", "shared"),
			help:  "Whether each of a user's devices has a credential, or one serves all. Only for a database.",
		}, {
			key: "max_devices", variable: "TOKENSVC_MAX_DEVICES", byDefault: "5",
			field: asWhole(&c.Devices.Max, 1, 100),
			help:  "Devices for which a user is given a credential at login.",
		}, {
			key: "at_max_devices", variable: "TOKENSVC_AT_MAX_DEVICES", byDefault: "refuse",
			field: asOneOf(&c.Devices.AtMax, "refuse", "replace"),
			help:  "Whether one more is refused, or replaces the one that was unused for longest, whose credential is deleted.",
		}, {
			key: "provision.connection_id", variable: "TOKENSVC_PROVISION_CONNECTION_ID", unset: "none: no credential is created",
			field: asOne(&c.Provision.ConnectionID, oneText, "the id of a Credential Connection, in quotes in YAML: letters, digits, - and _", only(telnyx.IsConnectionID)),
			help:  "Connection at Telnyx on which a credential is created when somebody without one logs in.",
		}, {
			key: "provision.instance", variable: "TOKENSVC_PROVISION_INSTANCE", unset: "required with the previous",
			field: asOne(&c.Provision.Instance, oneText, "1 to 32 lower case letters, digits and dashes", only(func(s string) bool { return provisioning.CheckInstance(s) == nil })),
			help:  "Name of this service in the names of the credentials that it creates. Another service on the same Telnyx account must have another: each deletes its own.",
		}, {
			key: "provision.users", variable: "TOKENSVC_PROVISION_USERS", byDefault: "everyone",
			field: asOneOf(&c.Provision.Users, "everyone", "listed"),
			help:  "Who gets a credential: whoever verifies and meets the rules, or only who is in the directory.",
		}, {
			key: "provision.first_login", variable: "TOKENSVC_PROVISION_FIRST_LOGIN", byDefault: "wait",
			field: asOneOf(&c.Provision.FirstLogin, "wait", "retry"),
			help:  "Whether the first login waits until the new credential is usable, or is told to come back (`provisioning`).",
		}, {
			key: "provision.ready_after", variable: "TOKENSVC_PROVISION_READY_AFTER", byDefault: provisioning.DefaultReadyAfter.String(),
			field: asDurationOrNone(&c.Provision.ReadyAfter, provisioning.MaxReadyAfter),
			help:  "How long Telnyx takes until a new credential is usable.",
		}, {
			key: "provision.expires_after", variable: "TOKENSVC_PROVISION_EXPIRES_AFTER", unset: "as Telnyx does",
			field: asDuration(&c.Provision.ExpiresAfter, provisioning.MinExpiresAfter, 87600*time.Hour),
			help:  "How long a credential lasts that is not renewed. It is renewed when a fifth of that is left.",
		}, {
			key: "reconcile.every", variable: "TOKENSVC_RECONCILE_EVERY", unset: "only `tokensvc reconcile`",
			field: asDuration(&c.Reconcile.Every, time.Minute, 720*time.Hour),
			help:  "How often the directory is compared with what is at Telnyx, by one replica.",
		}, {
			key: "reconcile.mode", variable: "TOKENSVC_RECONCILE_MODE", byDefault: "report",
			field: asOneOf(&c.Reconcile.Mode, "report", "apply"),
			help:  "Whether what is amiss is then only logged, or repaired.",
		}, {
			key: "admin.token_file", variable: "TOKENSVC_ADMIN_TOKEN_FILE", unset: "no such token",
			field: asPath(&c.Admin.TokenFile),
			help:  "File that holds a token of 32 bytes or more, with which the directory may be managed over the ops listener.",
		}, {
			key: "admin.issuer", variable: "TOKENSVC_ADMIN_ISSUER", unset: "nobody's",
			field: asText(&c.Admin.Issuer, "the name of an issuer"),
			help:  "Name of the issuer whose people may do so, if they meet `admin.require`.",
		}, {
			key: "admin.require", variable: "TOKENSVC_ADMIN_REQUIRE", unset: "required with the previous",
			field: asRules(&c.Admin.Require),
			help:  "What their claims must say, written like `issuers[].require`.",
		},
	}
}

func asDirectory(into *DirectoryConfig) field {
	f := field{shape: oneText, expects: "sqlite:PATH, postgres://…, file:PATH or claim:NAME", current: func() any { return *into }}
	f.accept = func(v value) []flaw {
		w := v.words[0]
		parsed, err := parseDirectory(w.text)
		if err != nil {
			return []flaw{f.flawAt(w.node, err)}
		}
		if w.node != nil && !parsed.Password.Empty() {
			return []flaw{{w.node, "must not hold the password: use directory_password_file, or the variable TOKENSVC_DIRECTORY"}}
		}
		*into = parsed
		return nil
	}
	f.resolve = func(folder string) {
		if into.Kind == "file" || into.Kind == "sqlite" {
			into.Value = inFolder(folder, into.Value)
		}
	}
	return f
}

func parseDirectory(text string) (DirectoryConfig, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case kind == "postgres" || kind == "postgresql":
		address, password, err := store.ParseURL(text)
		return DirectoryConfig{Kind: "postgres", Value: address, Password: password}, err
	case !slices.Contains([]string{"sqlite", "file", "claim"}, kind) || !isText(rest):
		return DirectoryConfig{}, errUnexpected
	}
	return DirectoryConfig{Kind: kind, Value: rest}, nil
}

// checkDirectory judges what belongs to a directory that can be changed.
func (l *configLoader) checkDirectory() {
	if l.broken["directory"] { // then it is unknown what goes with it
		return
	}
	c := l.config
	refuse := func(key, text string) { l.refuse(key, l.at(key), text) }
	if !c.Directory.isDatabase() {
		for _, s := range directorySettings(&Config{})[1:] {
			if l.isSet(s.key) {
				refuse(s.key, "has no use: the directory is no database (sqlite or postgres)")
			}
		}
		return
	}
	switch {
	case c.DirectoryPasswordFile != "" && c.Directory.Kind == "sqlite":
		refuse("directory_password_file", "has no use: the directory is a file")
	case c.DirectoryPasswordFile != "" && !c.Directory.Password.Empty():
		refuse("directory_password_file", "cannot be used together with a password in the URL: use one or the other")
	}
	l.checkProvisioning(refuse)
	l.checkAdmin(refuse)
}

func (l *configLoader) checkProvisioning(refuse func(key, text string)) {
	p, broken := l.config.Provision, l.broken["provision.connection_id"] || l.broken["provision.instance"]
	switch {
	case broken:
	case p.ConnectionID != "" && p.Instance == "":
		refuse("provision.instance", "is required: it keeps this service's credentials apart from others' on the same Telnyx account; "+bothWays("provision.instance"))
	case p.ConnectionID == "" && p.Instance != "":
		refuse("provision.instance", "has no use without provision.connection_id")
	case p.ConnectionID != "" && p.FirstLogin == "wait" && p.ReadyAfter >= l.config.Limits.RequestTimeout:
		refuse("provision.ready_after", "must be less than limits.request_timeout, or provision.first_login: retry")
	}
}

func (l *configLoader) checkAdmin(refuse func(key, text string)) {
	a := l.config.Admin
	n := slices.IndexFunc(l.config.Issuers, func(i IssuerConfig) bool { return i.Name == a.Issuer })
	switch {
	case a.Issuer == "" && len(a.Require) > 0:
		refuse("admin.issuer", "is required with admin.require")
	case a.Issuer == "":
	case n < 0 && !l.broken["issuers"]:
		refuse("admin.issuer", "is the name of none of the issuers")
	case n >= 0 && l.config.Issuers[n].Proxy != nil, n >= 0 && l.config.Issuers[n].Trust.isSet():
		refuse("admin.issuer", "must be an issuer of bearers: a proxy's headers do not count here")
	case len(a.Require) == 0 && !l.broken["admin.require"]:
		refuse("admin.require", "is required with admin.issuer, or everybody could manage the directory; "+bothWays("admin.require"))
	}
}
