package store

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Why a URL is not taken. None of these repeats a part of it.
var (
	errURL     = errors.New("must be the URL of a PostgreSQL database, as in postgres://user@host/database?sslmode=verify-full")
	errSSLMode = errors.New("must say sslmode, mostly sslmode=verify-full, and neither prefer nor allow: the database is not on this machine")
	errSSLKey  = errors.New("must not hold the password of a key, sslpassword: use a key without one, in a file that only the service may read")
)

// ParseURL takes the URL of a PostgreSQL database apart into one without a password,
// and the password, which may be empty. Off this machine the URL must say whether
// the connection is encrypted: the library's own default, to try it and do without
// where it fails, protects against nobody.
func ParseURL(text string) (address string, password secret.Text, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", secret.Text{}, errURL
	}
	query := u.Query()
	if query.Has("sslpassword") {
		return "", secret.Text{}, errSSLKey
	}
	given, _ := u.User.Password()
	if query.Has("password") {
		given = query.Get("password")
		query.Del("password")
		u.RawQuery = query.Encode()
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		return "", secret.Text{}, errURL
	}
	if maybePlain(query.Get("sslmode")) && !allLocal(cfg) {
		return "", secret.Text{}, errSSLMode
	}
	return u.String(), secret.New(given), nil
}

// maybePlain reports whether a mode leaves it to whoever stands between whether the
// connection is encrypted. One that says that it is not is somebody's decision.
func maybePlain(mode string) bool { return mode == "" || mode == "allow" || mode == "prefer" }

// allLocal reports whether all hosts of a URL are this machine: it may name several,
// which are tried one after the other.
func allLocal(cfg *pgx.ConnConfig) bool {
	away := func(f *pgconn.FallbackConfig) bool { return !isLocal(f.Host) }
	return isLocal(cfg.Host) && !slices.ContainsFunc(cfg.Fallbacks, away)
}

// isLocal reports whether a host is this machine: the folder of a socket, or a
// loopback address.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || err == nil && ip.IsLoopback()
}
