package main

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strings"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// check judges what no value shows by itself: what is missing, and what does
// not go together.
func (l *configLoader) check() {
	l.checkAPIKey()
	l.checkIssuers()
	l.checkListeners()
	l.checkTimes()
	if !l.isSet("directory") {
		l.refuse("directory", l.at("directory"), "is required: "+bothWays("directory"))
	}
}

func (l *configLoader) checkAPIKey() {
	const variable, file = "TELNYX_API_KEY", "telnyx.api_key_file"
	switch inVariable, inFile := l.isSet(variable), l.isSet(file); {
	case inVariable && inFile:
		l.refuse(variable, l.at(variable), "cannot be used together with telnyx.api_key_file or TELNYX_API_KEY_FILE: use one or the other")
	case !inVariable && !inFile:
		at := l.at(file)
		if at.environ {
			at = atVariable(variable)
		}
		l.refuse(variable, at, "is required: set TELNYX_API_KEY or TELNYX_API_KEY_FILE, or telnyx.api_key_file in the file")
	case inFile && !l.broken[file]:
		key, err := readAPIKey(l.config.Telnyx.APIKeyFile)
		if err != nil {
			l.refuse(file, l.at(file), err.Error())
		}
		l.config.Telnyx.APIKey = key
	}
}

func (l *configLoader) checkIssuers() {
	if len(l.config.Issuers) == 0 && !l.broken["issuers"] {
		l.refuse("issuers", l.at("issuers"), "at least one is required: set issuers in the file, or TOKENSVC_OIDC_ISSUER and TOKENSVC_OIDC_AUDIENCE")
	}
	if len(l.config.Issuers) == 1 && !l.isSet(issuerKey(0, "name")) {
		l.config.Issuers[0].Name = "main"
	}
	for i := range l.config.Issuers {
		if !l.broken[fmt.Sprintf("issuers[%d]", i)] {
			l.checkIssuer(i)
			l.checkDuplicates(i)
		}
	}
}

func (l *configLoader) checkIssuer(i int) {
	issuer := l.config.Issuers[i].asAuthz(func(field, path string, read readSecret) func() secret.Text {
		text, err := read(path)
		if err != nil {
			l.refuse(issuerKey(i, field), l.at(issuerKey(i, field)), err.Error())
		}
		return func() secret.Text { return text }
	})
	for _, p := range issuer.Problems() {
		key := issuerKey(i, p.Field)
		switch {
		case l.broken[key]:
		case p.Field == clientSecretFile && l.broken[issuerKey(i, privateKeyFile)]: // it would have done
		case l.isSet(key):
			l.refuse(key, l.at(key), p.Text)
		case p.Field == "name":
			l.refuse(key, l.at(key), "is required when there are several issuers")
		default:
			l.refuse(key, l.at(key), p.Text+"; "+bothWays(key))
		}
	}
}

// checkDuplicates compares an issuer with those before it. Two entries for one
// issuer would leave open whose rules count.
func (l *configLoader) checkDuplicates(i int) {
	this, before := l.config.Issuers[i], l.config.Issuers[:i]
	key := issuerKey(i, "name")
	if !l.broken[key] && slices.ContainsFunc(before, func(b IssuerConfig) bool { return b.Name == this.Name }) {
		l.refuse(key, l.at(key), "is the name of an earlier issuer too")
	}
	key = issuerKey(i, "issuer")
	if !l.broken[key] && slices.ContainsFunc(before, func(b IssuerConfig) bool { return b.URL == this.URL }) {
		l.refuse(key, l.at(key), "has an earlier entry: an issuer is listed once, with all its audiences")
	}
}

func (l *configLoader) checkListeners() {
	if overlap(l.config.Listen, l.config.OpsListen) {
		l.conflict("listen", "ops_listen", "listen and ops_listen must not be the same address")
	}
}

// overlap reports whether two valid host:ports cannot both be listened on.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	return portA == portB && portA != "0" && (hostA == hostB || isAnyHost(hostA) || isAnyHost(hostB))
}

func isAnyHost(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

func (l *configLoader) checkTimes() {
	limits := l.config.Limits
	if l.config.Telnyx.Timeout >= limits.RequestTimeout {
		l.conflict("telnyx.timeout", "limits.request_timeout", "telnyx.timeout must be less than limits.request_timeout")
	}
	if limits.DrainTimeout < limits.RequestTimeout {
		l.conflict("limits.drain_timeout", "limits.request_timeout", "limits.drain_timeout must be at least limits.request_timeout")
	}
}

// conflict reports two keys that do not go together, at one that was set, and
// unless one of them is wrong by itself.
func (l *configLoader) conflict(a, b, text string) {
	if l.broken[a] || l.broken[b] {
		return
	}
	if !l.isSet(a) {
		a = b
	}
	l.findings = append(l.findings, configFinding{l.at(a), text})
}

func issuerKey(i int, field string) string { return fmt.Sprintf("issuers[%d].%s", i, field) }

// bothWays says how a setting is set.
func bothWays(key string) string {
	s, _ := find(key, settings(&Config{}, &IssuerConfig{}))
	return fmt.Sprintf("set %s in the file, or %s", s.key, s.variable)
}

// at is the place where a key was set or, if it was not, where it should have
// been: its issuer's entry, the file, or the variable.
func (l *configLoader) at(key string) configPlace {
	if at, ok := l.places[key]; ok {
		return at
	}
	entry, field, ofIssuer := strings.Cut(key, "].")
	switch at, ok := l.places[entry+"]"]; {
	case ok && ofIssuer:
		at.where += ": " + entry + "]." + field
		return at
	case ofIssuer || l.path == "":
		return atVariable(key)
	}
	at := l.inFile(nil, key)
	at.line = math.MaxInt
	return at
}

// atVariable is the place of a key's variable, or of a variable.
func atVariable(key string) configPlace {
	table := settings(&Config{}, &IssuerConfig{})
	order := slices.IndexFunc(table, func(s setting) bool { return s.key == generic(key) || s.variable == key })
	return configPlace{where: table[order].variable, environ: true, line: order}
}
