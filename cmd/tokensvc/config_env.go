package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// readEnviron takes the environment's values over the file's.
func (l *configLoader) readEnviron(environ []string) {
	env := map[string]string{}
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		l.empty[name] = text == ""
		if text != "" {
			env[name] = text
		}
	}
	issuer, fromEnviron := newIssuer(), false
	table := settings(&l.config, &issuer)
	for order, s := range table {
		text, ok := env[s.variable]
		switch {
		case ok && s.ofIssuer() && l.isSet("issuers"):
			l.refuseIssuerTwice(order, s)
		case ok:
			l.variable(order, s, text)
			fromEnviron = fromEnviron || s.ofIssuer()
		}
		delete(env, s.variable)
	}
	// Without a file, an issuer of which nothing is set is one of which
	// everything is missing, and reported so.
	if fromEnviron || l.path == "" {
		l.config.Issuers = append(l.config.Issuers, issuer)
	}
	l.refuseUnknown(env, table)
}

// variable takes one variable's value.
func (l *configLoader) variable(order int, s setting, text string) {
	key := numbered(s.name(), 0)
	at := configPlace{where: s.variable, environ: true, line: order}
	l.places[key] = at
	delete(l.broken, key) // what the file said is overruled, though reported
	v, ok := s.field.shape.fromVariable(text)
	if !ok {
		l.refuse(key, at, "must be "+s.field.expects)
		return
	}
	for _, f := range s.field.accept(v) {
		l.refuse(key, at, f.text)
	}
}

func (l *configLoader) refuseIssuerTwice(order int, s setting) {
	const key = "issuers from both"
	if !l.broken[key] {
		at := configPlace{where: s.variable, environ: true, line: order}
		l.refuse(key, at, "cannot be used together with issuers in the file: use one or the other")
	}
}

// refuseUnknown reports the variables that look like ours and are not: a
// setting with a typo in its name would silently be at its default.
func (l *configLoader) refuseUnknown(env map[string]string, table []setting) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		near := suggestVariable(name, table)
		switch {
		case strings.HasPrefix(name, "TOKENSVC_") && !isServiceVariable(name, env[name]):
		case strings.HasPrefix(name, "TELNYX_") && near != "": // others are of other tools for Telnyx
		default:
			continue
		}
		at := configPlace{where: variableLike(name), environ: true, line: len(table)}
		l.refuse(at.where, at, "unknown variable"+near)
	}
}

// Kubernetes tells every container where the namespace's Services are, in
// variables made of the Services' names (as Docker's links once did): next to
// a Service called tokensvc, as ours will mostly be called, the pod finds
//
//	TOKENSVC_SERVICE_HOST=10.96.7.7
//	TOKENSVC_SERVICE_PORT=8080
//	TOKENSVC_SERVICE_PORT_HTTP=8080
//	TOKENSVC_PORT=tcp://10.96.7.7:8080
//	TOKENSVC_PORT_8080_TCP=tcp://10.96.7.7:8080
//	TOKENSVC_PORT_8080_TCP_ADDR=10.96.7.7 (and _PORT, _PROTO)
//
// and the same with TOKENSVC_OPS_ for a Service tokensvc-ops. A service that
// refuses unknown variables then does not start in the one place it is made
// for, and one that reads a TOKENSVC_PORT of its own gets a URL for a port. So
// none of our names may ever look like these, and these are passed over, but
// TOKENSVC_PORT only with a URL: TOKENSVC_PORT=8080 is somebody's mistake.
var serviceVariable = regexp.MustCompile(`^TOKENSVC(_[A-Z0-9]+)*_(` +
	`SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|` +
	`PORT=(tcp|udp|sctp)://|` +
	`PORT_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?=)`)

func isServiceVariable(name, text string) bool {
	return serviceVariable.MatchString(name + "=" + text)
}

var variableName = regexp.MustCompile(`^[A-Z0-9_]{1,64}$`)

// variableLike returns the name if it is fit to be shown.
func variableLike(name string) string {
	if !variableName.MatchString(name) {
		prefix, _, _ := strings.Cut(name, "_")
		return prefix + "_…"
	}
	return name
}

func suggestVariable(name string, table []setting) string {
	// Most of what others set for Telnyx is nothing like ours once the prefix is
	// off, while a whole TELNYX_PUBLIC_KEY is half a TELNYX_API_KEY.
	ofTelnyx := strings.HasPrefix(name, "TELNYX_")
	short := func(s string) string {
		if ofTelnyx {
			return strings.TrimPrefix(s, "TELNYX_")
		}
		return strings.TrimPrefix(s, "TOKENSVC_")
	}
	var names []string
	full := map[string]string{}
	for _, s := range table {
		if ofTelnyx && !strings.HasPrefix(s.variable, "TELNYX_") {
			continue
		}
		names = append(names, short(s.variable))
		full[short(s.variable)] = s.variable
	}
	if near := nearest(short(name), names); near != "" {
		return "; did you mean " + full[near] + "?"
	}
	return ""
}
