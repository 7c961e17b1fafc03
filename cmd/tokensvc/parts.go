package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/tokensvc/tokensvc/internal/authz"
)

// parts are what the commands need that look at a service and do not run it.
type parts struct {
	cfg     Config
	issuers []authz.Issuer
	users   finder
}

// openParts loads a configuration and reads every file, as serve does. It returns
// all that serve would refuse to start for, a line each, and asks nothing of the
// network.
func openParts(path string, environ []string) (parts, []string) {
	cfg, problems := Load(path, environ)
	if len(problems) > 0 {
		return parts{}, linesOf(joined(problems))
	}
	issuers, err := cfg.openIssuers(func(string, string, func() outcome) {}) // nothing runs long enough
	open := cfg.openDirectory
	if cfg.Directory.isDatabase() {
		open = cfg.lookOnly
	}
	users, failed := open()
	p := parts{cfg, issuers, users}
	if err == nil {
		_, err = p.verifier(nil)
	}
	return p, linesOf(errors.Join(err, failed))
}

// verifier returns one that is not run.
func (p parts) verifier(transport http.RoundTripper) (*authz.Verifier, error) {
	cfg := p.cfg.authz(p.issuers)
	cfg.Transport = transport
	return authz.New(cfg)
}

// issuer returns the issuer of that name.
func (p parts) issuer(name string) (authz.Issuer, bool) {
	for _, i := range p.issuers {
		if i.Name == name {
			return i, true
		}
	}
	return authz.Issuer{}, false
}

func linesOf(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// sayError prints each of the errors that were joined on a line of its own.
func sayError(w io.Writer, err error) { sayLines(w, linesOf(err)) }

func sayLines(w io.Writer, lines []string) {
	for _, line := range lines {
		say(w, "%s\n", oneLine(line))
	}
}

// maxLine bounds what is shown of a text that is not ours.
const maxLine = 500 // characters

const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'

// oneLine makes one line of a text, which may hold words of somebody else's: a
// terminal obeys what it is shown.
func oneLine(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > maxLine {
			return b.String() + " …"
		}
		if unicode.IsPrint(r) || r == zeroWidthJoiner || r == zeroWidthNonJoiner { // names have these
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}

// sayJSON prints a value of ours on a line.
func sayJSON(w io.Writer, v any) {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // to the person at the terminal, who may have gone
}

// sign is how it stands, at the beginning of a line.
func sign(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

// sayRow prints a row of what is said of several things.
func sayRow(w io.Writer, mark, name string, width int, text string) {
	line := fmt.Sprintf("%s %-*s  %s", mark, width, name, oneLine(text))
	say(w, "%s\n", strings.TrimRight(line, " "))
}
