package store

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Why a URL is not taken. None of these repeats a part of it.
var (
	errURL     = errors.New("must be the URL of a PostgreSQL database, as in postgres://user@host/database?sslmode=verify-full")
	errSSLMode = errors.New("must say sslmode, mostly sslmode=verify-full: the database is not on this machine")
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
	if !query.Has("sslmode") && !isLocal(cfg.Host) {
		return "", secret.Text{}, errSSLMode
	}
	return u.String(), secret.New(given), nil
}

// isLocal reports whether a host is this machine: the folder of a socket, or a
// loopback address.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || err == nil && ip.IsLoopback()
}
