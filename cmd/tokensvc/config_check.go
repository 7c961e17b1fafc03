package main

import (
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strings"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// check judges what no value shows by itself: what is missing, and what does
// not go together.
func (l *configLoader) check() {
	l.checkAPIKey()
	l.checkIssuers()
	l.checkListeners()
	l.checkProxyListener()
	l.checkPairs()
	l.checkDPoP()
	l.checkTimes()
	l.checkDirectory()
	l.checkCache()
	l.checkTracing()
}

func (l *configLoader) checkAPIKey() {
	const variable, file, files = "TELNYX_API_KEY", "telnyx.api_key_file", "telnyx.api_keys"
	set := slices.DeleteFunc([]string{variable, file, files}, func(key string) bool { return !l.isSet(key) })
	switch {
	case len(set) > 1:
		other := set[1] + " in the file"
		if at := l.at(set[1]); at.environ {
			other = at.where
		}
		l.refuse(set[0], l.at(set[0]), "cannot be used together with "+other+": use one or the other")
		for _, key := range set[1:] {
			l.broken[key] = true // and its files need not be opened
		}
	case len(set) == 0:
		at := l.at(file)
		if at.environ {
			at = atVariable(variable)
		}
		l.refuse(variable, at, "is required: set TELNYX_API_KEY or TELNYX_API_KEY_FILE, or telnyx.api_key_file in the file"+
			l.setButEmpty(variable, "TELNYX_API_KEY_FILE", "TELNYX_API_KEY_FILES"))
	}
}

// setButEmpty adds that a variable is there, to whoever is sure to have set it:
// a secret that is missing from its store often leaves an empty one.
func (l *configLoader) setButEmpty(variables ...string) string {
	for _, v := range variables {
		if l.empty[v] {
			return "; " + v + " is there, but empty"
		}
	}
	return ""
}

func (l *configLoader) checkIssuers() {
	if len(l.config.Issuers) == 0 && !l.broken["issuers"] {
		l.refuse("issuers", l.at("issuers"), "at least one is required: set issuers in the file, or TOKENSVC_OIDC_ISSUER and TOKENSVC_OIDC_AUDIENCE")
	}
	if len(l.config.Issuers) == 1 && !l.isSet(issuerKey(0, "name")) {
		l.config.Issuers[0].Name = "main"
	}
	for i := range l.config.Issuers {
		if !l.broken[issuerKey(i, "")] {
			l.checkIssuer(i)
			l.checkDuplicates(i)
		}
	}
}

func (l *configLoader) checkIssuer(i int) {
	for _, p := range l.config.Issuers[i].asAuthz(notReadYet).Problems() {
		key := l.written(issuerKey(i, p.Field))
		switch {
		case l.broken[key]:
		case p.Field == clientSecretFile && l.broken[issuerKey(i, privateKeyFile)]: // it would have done
		case p.Field == privateKeyFile: // about what it holds, and so for checkIssuerFiles
		case l.isSet(key):
			l.refuse(key, l.at(key), p.Text)
		case p.Field == "name":
			l.refuse(key, l.at(key), "is required when there are several issuers")
		default:
			l.refuse(key, l.at(key), p.Text+"; "+bothWays(key))
		}
	}
}

// notReadYet stands for a secret before the files are opened.
func notReadYet(string, string, readSecret) func() secret.Text {
	return func() secret.Text { return secret.New("not read yet") }
}

// written returns the key, or of a mapping that is set by variables one of those
// that were set in it.
func (l *configLoader) written(key string) string {
	for _, set := range slices.Sorted(maps.Keys(l.places)) {
		if strings.HasPrefix(set, key+".") && !l.isSet(key) {
			return set
		}
	}
	return key
}

// checkProxyListener judges the listener of the trusted proxy.
func (l *configLoader) checkProxyListener() {
	const cert, authorities = "proxy_tls.cert_file", "proxy_tls.client_ca_file"
	files := l.config.ProxyTLS
	proxied, certified := false, false
	for _, i := range l.config.Issuers {
		proxied = proxied || i.Trust.isSet()
		certified = certified || len(i.Trust.ClientNames) > 0
	}
	switch {
	case l.config.ProxyListen != "" && !proxied:
		l.refuse("proxy_listen", l.at("proxy_listen"), "has nobody to listen to: no issuer has proxy.networks")
	case l.config.ProxyListen == "" && files != (TLSConfig{}):
		l.refuse(cert, l.at("proxy_listen"), "is required with proxy_tls: it is that listener's")
	case files.isHalf(): // which checkPairs says
	case files.ClientCAFile == "" && certified:
		l.refuse(authorities, l.at(authorities), "is required for proxy.client_names: it says whose certificates count")
	}
}

// checkPairs wants a certificate and its key together.
func (l *configLoader) checkPairs() {
	for prefix, files := range l.config.certificates() {
		if files.isHalf() && !(prefix == "proxy_tls." && l.config.ProxyListen == "") {
			l.refuse(prefix+"cert_file", l.at(prefix+"cert_file"), "goes together with "+prefix+"key_file, and both are required for client_ca_file")
		}
	}
}

func (l *configLoader) checkDPoP() {
	if usesDPoP(l.config.Issuers) && l.config.PublicURL == "" && !l.broken["public_url"] {
		l.refuse("public_url", l.at("public_url"), "is required for dpop: proofs are made for an address")
	}
}

// checkDuplicates compares an issuer with those before it, and its source with
// what else is read there. Two entries for one issuer would leave open whose rules
// count.
func (l *configLoader) checkDuplicates(i int) {
	this, before := l.config.Issuers[i], l.config.Issuers[:i]
	key := issuerKey(i, "name")
	if !l.broken[key] && slices.ContainsFunc(before, func(b IssuerConfig) bool { return b.Name == this.Name }) {
		l.refuse(key, l.at(key), "is the name of an earlier issuer too")
	}
	key = issuerKey(i, "issuer")
	if !l.broken[key] && slices.ContainsFunc(before, func(b IssuerConfig) bool { return b.URL == this.URL && this.URL != "" }) {
		l.refuse(key, l.at(key), "has an earlier entry: an issuer is listed once, with all its audiences")
	}
	key = issuerKey(i, "proxy.networks")
	if this.Trust.isSet() && slices.ContainsFunc(before, func(b IssuerConfig) bool { return b.Trust.isSet() }) {
		l.refuse(key, l.at(key), "makes a second proxy: what a proxy sends does not say which it is")
	}
	key = issuerKey(i, "introspection.client_id")
	if this.Introspect.isSet() && slices.ContainsFunc(before, func(b IssuerConfig) bool { return b.Introspect.isSet() && b.Source == this.Source }) {
		l.refuse(key, l.at(key), "is for an issuer with the source of an earlier one: an opaque token does not say whose it is")
	}
	key = issuerKey(i, "source")
	if this.Source.IsCookie() && len(l.config.CORSOrigins) == 0 && !l.broken["cors.origins"] {
		l.refuse(key, l.at(key), "needs cors.origins: a cookie counts only from a page of one of them")
	}
	if !l.broken[key] && l.isOfProxy(this.Source) {
		l.refuse(key, l.at(key), "is a header of the trusted proxy's, which cannot hold a token too")
	}
}

// isOfProxy reports whether a proxy speaks there, if it is clear where it does.
func (l *configLoader) isOfProxy(source authz.Source) bool {
	for i, issuer := range l.config.Issuers {
		if issuer.Trust.isSet() && issuer.proxied(notReadYet).Proxy.Uses(source) {
			return !l.broken[issuerKey(i, "proxy.headers")] && !l.broken[issuerKey(i, "proxy.secret_header")]
		}
	}
	return false
}

func (l *configLoader) checkListeners() {
	for _, pair := range []struct{ a, b, addressA, addressB string }{
		{"listen", "ops_listen", l.config.Listen, l.config.OpsListen},
		{"proxy_listen", "listen", l.config.ProxyListen, l.config.Listen},
		{"proxy_listen", "ops_listen", l.config.ProxyListen, l.config.OpsListen},
	} {
		if pair.addressA != "" && overlap(pair.addressA, pair.addressB) {
			l.conflict(pair.a, "must not be the same address as "+pair.b, pair.b, "must not be the same address as "+pair.a)
		}
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
		l.conflict("telnyx.timeout", "must be less than limits.request_timeout", "limits.request_timeout", "must be more than telnyx.timeout")
	}
	if limits.DrainTimeout < limits.RequestTimeout {
		l.conflict("limits.drain_timeout", "must be at least limits.request_timeout", "limits.request_timeout", "must be at most limits.drain_timeout")
	}
}

// conflict reports two keys that do not go together, at one that was set, and
// unless one of them is wrong by itself.
func (l *configLoader) conflict(a, ofA, b, ofB string) {
	if l.broken[a] || l.broken[b] {
		return
	}
	if !l.isSet(a) {
		a, ofA = b, ofB
	}
	l.findings = append(l.findings, configFinding{a, l.at(a), ofA})
}

// issuerKey is the key of an issuer's field, or of its entry.
func issuerKey(i int, field string) string {
	return strings.TrimSuffix(fmt.Sprintf("issuers[%d].%s", i, field), ".")
}

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
