package shared

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Why a URL is not taken. None of these repeats a part of it.
var (
	errURL      = errors.New("must be the URL of a Redis, as in rediss://user@host:6379/0; in a password, write / as %2F, # as %23, ? as %3F and @ as %40")
	errQuery    = errors.New("must have neither a query nor a fragment; in a password, write ? as %3F and # as %23")
	errDatabase = errors.New("must end with the number of a database, as in /0, or with none")
)

const defaultPort = "6379"

// ParseURL reads redis://[user[:password]@]host[:port][/db], or rediss:// for TLS,
// and returns it without the password, which may be empty. Its error repeats
// nothing of the URL.
func ParseURL(text string) (address string, password secret.Text, err error) {
	u, _, err := parse(text)
	if err != nil {
		return "", secret.Text{}, err
	}
	given, _ := u.User.Password()
	switch {
	case u.User.Username() != "":
		u.User = url.User(u.User.Username())
	default:
		u.User = nil
	}
	return u.String(), secret.New(given), nil
}

// target is who to connect to.
type target struct {
	address  string // host:port
	user     string // may be empty: the default user
	database int
	tls      *tls.Config // nil without TLS
}

func parse(text string) (*url.URL, target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || u.Opaque != "" {
		return nil, target{}, errURL
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#") {
		return nil, target{}, errQuery
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, target{}, errURL
	}
	database, err := parseDatabase(u.Path)
	if err != nil {
		return nil, target{}, err
	}
	to := target{address: net.JoinHostPort(u.Hostname(), port), user: u.User.Username(), database: database}
	if u.Scheme == "rediss" {
		to.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	}
	return u, to, nil
}

func parseDatabase(path string) (int, error) {
	digits := strings.TrimPrefix(path, "/")
	if digits == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || digits != strconv.FormatUint(n, 10) {
		return 0, errDatabase
	}
	return int(n), nil
}
