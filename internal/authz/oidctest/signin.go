package oidctest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

const (
	challengeMethod = "S256"
	grantCode       = "authorization_code"
	grantRefresh    = "refresh_token"

	maxForm = 16 << 10 // bytes of a form that is sent here
)

// SetRedirects makes these the addresses that a browser may be sent back to after
// signing in: a page's port is often known only after the issuer's. Without any,
// nobody signs in.
func (i *Issuer) SetRedirects(addresses ...string) error {
	if len(addresses) > 0 && i.options.ClientID == "" {
		return errors.New("oidctest: a ClientID is required with Redirects")
	}
	origins := make(map[string]bool)
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Fragment != "" {
			return fmt.Errorf("oidctest: %q is no absolute address without a fragment", address)
		}
		origins[originOf(u)] = true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.redirects, i.origins = slices.Clone(addresses), origins
	return nil
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

// signsIn reports whether anybody can sign in.
func (i *Issuer) signsIn() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.redirects) > 0
}

func (i *Issuer) redirectsTo(address string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.redirects, address)
}

// shared lets the pages that people sign in for read what is answered.
func (i *Issuer) shared(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Origin")
		i.mu.Lock()
		ours := i.origins[r.Header.Get("Origin")]
		i.mu.Unlock()
		if ours {
			w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		}
		next(w, r)
	}
}

// preflight answers what browsers ask first if a library adds a header to the
// simple request that a form is.
func preflight(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", "POST")
	w.Header().Set("Access-Control-Allow-Headers", "Content-Type, DPoP")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
