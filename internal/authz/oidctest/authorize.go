package oidctest

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// An errand is what a browser comes with: a request for a code (RFC 6749 section
// 4.1.1, RFC 7636 section 4.3), from a page that is known.
type errand struct {
	form     url.Values
	redirect *url.URL
}

// What an errand consists of. Anything else is left alone.
var errandParameters = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "prompt", "code_challenge", "code_challenge_method",
}

var (
	isChallenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`) // a SHA-256, in base64url
	isVerifier  = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
)

// authorize sends the browser back with a code, if somebody is signed in or has just
// said who they are. Otherwise it asks.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		i.sayNo(w, http.StatusBadRequest, "What the browser was sent here with cannot be read.")
		return
	}
	e, flaw := i.errandOf(r.Form)
	if flaw != "" { // whoever it is from is nobody to send a browser to: section 4.1.2.1
		i.sayNo(w, http.StatusBadRequest, flaw)
		return
	}
	if code, why := e.refusal(); code != "" {
		e.sendBack(w, r, url.Values{"error": {code}, "error_description": {why}, "iss": {i.URL()}})
		return
	}
	name, known := i.whoIs(w, r, e)
	switch {
	case known:
		e.sendBack(w, r, url.Values{"code": {i.newCode(name, e)}, "iss": {i.URL()}})
	case e.prompts("none"):
		e.sendBack(w, r, url.Values{"error": {"login_required"}, "iss": {i.URL()}})
	default:
		i.askWho(w, e)
	}
}

// errandOf looks at who sends the browser, and where it would go. The flaw is a
// sentence for whoever sits before it.
func (i *Issuer) errandOf(form url.Values) (e errand, flaw string) {
	clients, redirects := form["client_id"], form["redirect_uri"]
	switch {
	case !i.signsIn():
		return e, "Nobody signs in here: this issuer has no page to sign in for."
	case len(clients) != 1 || clients[0] != i.options.ClientID:
		return e, "The page that sent you here is not known to this issuer (client_id)."
	case len(redirects) != 1 || !i.redirectsTo(redirects[0]):
		return e, "The page that sent you here wants you back at an address that this issuer does not know (redirect_uri). It must be the same to the letter."
	}
	to, err := url.Parse(redirects[0])
	if err != nil {
		return e, "The address to go back to cannot be read."
	}
	return errand{form, to}, ""
}

// refusal is the error that the page is told, if there is one, and what it is about.
func (e errand) refusal() (code, why string) {
	for _, name := range errandParameters {
		if len(e.form[name]) > 1 {
			return "invalid_request", name + " is there more than once"
		}
	}
	switch prompts := strings.Fields(e.form.Get("prompt")); {
	case e.form.Get("response_type") == "":
		return "invalid_request", "response_type is missing"
	case e.form.Get("response_type") != "code":
		return "unsupported_response_type", "response_type must be code"
	case e.form.Get("response_mode") != "" && e.form.Get("response_mode") != "query":
		return "invalid_request", "response_mode must be query"
	case e.form.Get("code_challenge_method") != challengeMethod:
		return "invalid_request", "code_challenge_method must be S256"
	case !isChallenge.MatchString(e.form.Get("code_challenge")):
		return "invalid_request", "code_challenge must be a SHA-256 in base64url"
	case len(prompts) > 1 && slices.Contains(prompts, "none"):
		return "invalid_request", "prompt is none or something else"
	}
	return "", ""
}

// prompts reports whether the page wants one of these to be done about the person.
func (e errand) prompts(wishes ...string) bool {
	return slices.ContainsFunc(strings.Fields(e.form.Get("prompt")), func(p string) bool { return slices.Contains(wishes, p) })
}

// sendBack sends the browser back, with the state that it came with.
func (e errand) sendBack(w http.ResponseWriter, r *http.Request, answer url.Values) {
	if state := e.form.Get("state"); state != "" && len(e.form["state"]) == 1 {
		answer.Set("state", state)
	}
	to := *e.redirect
	query := to.Query()
	for name, values := range answer {
		query[name] = values
	}
	to.RawQuery = query.Encode()
	// To one of the addresses that were configured. 303, so that a form that was
	// filled in here is not sent there.
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
}

// whoIs says who sits before the browser: whoever they have just said, or whoever
// said so before, unless the page wants them to be asked again.
func (i *Issuer) whoIs(w http.ResponseWriter, r *http.Request, e errand) (name string, known bool) {
	if said := r.PostForm.Get("person"); said != "" {
		if _, lives := i.options.People[said]; !lives {
			return "", false
		}
		i.remember(w, said)
		return said, true
	}
	cookie, err := r.Cookie(i.cookie())
	if err != nil || e.prompts("login", "select_account") {
		return "", false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sessions.get(cookie.Value)
}

// remember signs somebody in, so that another tab need not ask.
func (i *Issuer) remember(w http.ResponseWriter, name string) {
	session := rand.Text()
	i.mu.Lock()
	i.sessions.put(session, name)
	i.mu.Unlock()
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // there is no TLS on loopback, and a Secure cookie would not come back
		Name: i.cookie(), Value: session, Path: "/authorize", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// cookie is the name of the session's cookie. Browsers do not tell one port's
// cookies from another's, so it has the port in it.
func (i *Issuer) cookie() string {
	_, port, _ := net.SplitHostPort(i.Addr())
	return "signed-in-" + port
}
