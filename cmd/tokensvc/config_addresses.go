package main

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokensvc/tokensvc/internal/authz"
)

var hostName = regexp.MustCompile(`^[A-Za-z0-9.-]*$`)

func asAddress(into *string) field {
	return asOne(into, oneText, "host:port, such as 127.0.0.1:8080 or :8080", only(func(s string) bool {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return false
		}
		_, err = strconv.ParseUint(port, 10, 16)
		_, notIP := netip.ParseAddr(host)
		return err == nil && (notIP == nil || hostName.MatchString(host))
	}))
}

// The characters that need no escaping in a path: a router's patterns use
// others, such as braces and stars.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)

func asBasePath(into *string) field {
	return asOne(into, oneText, "a path such as /tokens, clean and without a slash at the end", only(func(s string) bool {
		return s == "" || basePath.MatchString(s) && path.Clean(s) == s
	}))
}

func asNetworks(into *[]netip.Prefix) field {
	expects := "a list of networks such as 10.0.0.0/8, with no bits beyond the prefix, and not /0"
	return asMany(into, expects, func(s string) (netip.Prefix, error) {
		p, err := netip.ParsePrefix(s)
		if err != nil || p != p.Masked() || p.Bits() == 0 || p.Addr().Is4In6() {
			return netip.Prefix{}, errUnexpected
		}
		return p, nil
	})
}

var origin = regexp.MustCompile(`^https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]+)?$`)

func asOrigins(into *[]string) field {
	expects := "a list of origins, scheme://host[:port] as browsers send them: lower case, no path, no default port, no *; https, or http on a loopback host"
	return asMany(into, expects, only(func(s string) bool {
		u, err := url.Parse(s)
		if err != nil || !origin.MatchString(s) || authz.CheckURL(s) != nil {
			return false
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		standard := u.Scheme == "https" && port == 443 || u.Scheme == "http" && port == 80
		return u.Port() == "" || err == nil && port > 0 && !standard
	}))
}

func asBaseURL(into *string) field {
	return asOne(into, oneText, "an https URL, or http on a loopback address", func(s string) (string, error) {
		return strings.TrimRight(s, "/"), authz.CheckURL(s)
	})
}
