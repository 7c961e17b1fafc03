package oidctest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// askWho writes the page on which somebody says who they are: a button for each of
// the people, in a form that has the browser's errand in it.
func (i *Issuer) askWho(w http.ResponseWriter, e errand) {
	var b strings.Builder
	b.WriteString("<h1>Who are you?</h1>\n<p>This identity provider is made up: nobody here is real, and nobody has a password.</p>\n<form method=\"post\" action=\"/authorize\">\n")
	for _, name := range errandParameters {
		if value := e.form.Get(name); value != "" {
			fmt.Fprintf(&b, "<input type=\"hidden\" name=\"%s\" value=\"%s\">\n", name, html.EscapeString(value))
		}
	}
	b.WriteString("<ul>\n")
	for _, name := range slices.Sorted(maps.Keys(i.options.People)) {
		shown := html.EscapeString(name)
		fmt.Fprintf(&b, "<li><button name=\"person\" value=\"%s\"><strong>%s</strong> <span>%s</span></button></li>\n",
			shown, shown, html.EscapeString(i.options.Shows[name]))
	}
	b.WriteString("</ul>\n</form>\n")
	writePage(w, http.StatusOK, "Who are you?", b.String(), originOf(e.redirect))
}

// sayNo tells whoever sits before the browser, when no page can be told.
func (i *Issuer) sayNo(w http.ResponseWriter, status int, sentence string) {
	writePage(w, status, "You cannot sign in", "<h1>You cannot sign in</h1>\n<p>"+html.EscapeString(sentence)+"</p>\n", "")
}

// writePage writes a page of ours. A form on it may end at that origin, too:
// browsers take the redirect that answers a form to be part of sending it.
func writePage(w http.ResponseWriter, status int, title, body, origin string) {
	sum := sha256.Sum256([]byte(style))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", strings.TrimSpace(fmt.Sprintf(
		"default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' %s", base64.StdEncoding.EncodeToString(sum[:]), origin)))
	w.WriteHeader(status)
	fmt.Fprintf(w, `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>%s</title>
<style>%s</style>
</head>
<body>
<main>
%s</main>
</body>
</html>
`, html.EscapeString(title), style, body)
}

const style = `
:root { color-scheme: light dark; --back: #f5f4f0; --card: #fff; --line: #d3d0c7; --text: #1b2127; --quiet: #59626c; --mark: #2b5cab }
@media (prefers-color-scheme: dark) { :root { --back: #101317; --card: #181c22; --line: #3a434e; --text: #e7eaee; --quiet: #9ba6b2; --mark: #8ab2f7 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 30rem; margin: 0 auto; padding: 3rem 1rem }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2 }
p { color: var(--quiet) }
ul { list-style: none; margin: 1.5rem 0 0; padding: 0; display: grid; gap: .75rem }
button { width: 100%; padding: .85rem 1rem; text-align: left; font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; cursor: pointer }
button:hover { border-color: var(--mark) }
button:focus-visible { outline: 3px solid var(--mark); outline-offset: 2px }
strong { display: block; font-size: 1.05rem }
span { color: var(--quiet) }
`
