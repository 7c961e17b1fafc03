package handler

import (
	"net/http"
	"net/netip"

	"github.com/go-chi/chi/v5/middleware"
)

// peer returns the address that opened a request's connection, or none if that is
// no address. An IPv4 address is one however it is spelt.
func peer(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}

// forwarded returns who sent a request by the word of the trusted proxies, which
// throughProxies has read.
func forwarded(r *http.Request) netip.Addr { return middleware.GetClientIPAddr(r.Context()) }

// throughProxies reads X-Forwarded-For, of which only what trusted proxies have
// added counts.
func throughProxies(proxies []netip.Prefix) func(http.Handler) http.Handler {
	ranges := make([]string, len(proxies))
	for i, p := range proxies {
		ranges[i] = p.String()
	}
	return middleware.ClientIPFromXFF(ranges...)
}
