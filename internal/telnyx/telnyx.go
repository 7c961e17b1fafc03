// Package telnyx makes the six Telnyx calls this service needs: mint a login
// token for a telephony credential, and get, list, create, update and delete
// credentials.
//
// It holds the account's API key, which can do anything in the account, and it
// speaks to one configured address only. It trusts that address for the
// meaning of an answer, never for its form: statuses, sizes, waits and bodies
// are checked, and no byte of an answer's body or headers reaches an error.
// A credential's SIP password, which Telnyx puts into every answer, is not
// even decoded. The package has no idea who users are.
package telnyx

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/secret"
)

// Defaults and bounds of a Config.
const (
	DefaultBaseURL        = "https://api.telnyx.com/v2"
	DefaultTimeout        = 10 * time.Second
	MaxTimeout            = 2 * time.Minute
	DefaultMaxConnections = 256
	MaxMaxConnections     = 1 << 16
)

// Config says how to reach Telnyx. Only APIKeys must be set.
type Config struct {
	// BaseURL is the address of the API, version included. Default
	// DefaultBaseURL. https, or http on a loopback address; no user
	// information, query or fragment.
	BaseURL string
	// APIKeys gives the account's API keys, in the order in which they are to be
	// used, at most MaxAPIKeys: the next is for when Telnyx does not accept those
	// before it. All should be of one account; see Epoch. It is asked at every
	// attempt, from any goroutine, so that a replaced key is taken up without a
	// restart. Required; a key that is empty or unprintable is as good as rejected.
	APIKeys func() []secret.Text
	// OnKeys is told when Telnyx takes a key otherwise than before. It must neither
	// block nor panic. Default none.
	OnKeys func(State)
	// Timeout bounds a whole call: connecting, retries, waits between them,
	// and reading the answer. Default DefaultTimeout, at most MaxTimeout.
	Timeout time.Duration
	// MaxConnections is how many connections are open at once, and how many of
	// them are kept when idle. Calls beyond it wait for one within their
	// Timeout. Over HTTP/2 many calls share a connection. Default
	// DefaultMaxConnections.
	MaxConnections int
	// UserAgent is sent with every request: printable ASCII, at most 256
	// bytes. Default "tokensvc".
	UserAgent string
	// Proxy chooses the proxy of a request, such as http.ProxyFromEnvironment.
	// Default none.
	Proxy func(*http.Request) (*url.URL, error)
	// Gate says when an attempt may be made, and is told how each ended. Its waits
	// count for the Timeout. Default none: at once, always.
	Gate gate
	// Tracer is told of each attempt, and has it name its cause. Default none.
	Tracer tracer
}

// A Client calls Telnyx. It is safe for use by many goroutines, and all of
// them should share one: connections and the retry budget belong to it.
type Client struct {
	base      string // no slash at its end
	keys      *keyring
	timeout   time.Duration
	userAgent string
	transport *http.Transport
	dialer    *dialer
	budget    *budget
	gate      gate
	tracer    tracer
}

// New checks the configuration without any network call. The error names the
// field that is wrong and repeats no value.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("telnyx: %w", err)
	}
	transport, dialer := newTransport(cfg)
	return &Client{
		base:      strings.TrimRight(cfg.BaseURL, "/"),
		keys:      newKeyring(cfg),
		timeout:   cfg.Timeout,
		userAgent: cfg.UserAgent,
		transport: transport,
		dialer:    dialer,
		budget:    newBudget(),
		gate:      cfg.Gate,
		tracer:    cfg.Tracer,
	}, nil
}

// CloseIdleConnections closes the connections that no call is using.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

func (cfg Config) withDefaults() Config {
	if cfg.BaseURL == "" {
		cfg.BaseURL = DefaultBaseURL
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = DefaultMaxConnections
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "tokensvc"
	}
	if cfg.Gate == nil {
		cfg.Gate = open{}
	}
	if cfg.Tracer == nil {
		cfg.Tracer = untraced{}
	}
	return cfg
}

func (cfg Config) check() error {
	if err := checkBaseURL(cfg.BaseURL); err != nil {
		return fmt.Errorf("BaseURL %w", err)
	}
	switch {
	case cfg.APIKeys == nil:
		return errors.New("APIKeys is required")
	case cfg.Timeout < 0 || cfg.Timeout > MaxTimeout:
		return fmt.Errorf("Timeout must be positive and at most %v", MaxTimeout)
	case cfg.MaxConnections < 0 || cfg.MaxConnections > MaxMaxConnections:
		return fmt.Errorf("MaxConnections must be between 1 and %d", MaxMaxConnections)
	case !printable(cfg.UserAgent, 256):
		return errors.New("UserAgent must be printable ASCII, at most 256 bytes")
	}
	return nil
}

// checkBaseURL refuses every address that the API key must not be sent to.
func checkBaseURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return errors.New("must be an absolute URL")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return errors.New("must have no user information, query or fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("must be https: plain http is accepted on loopback addresses only")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("must be https")
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// printable reports whether s is 1 to most bytes of ASCII that can stand in a
// header: no control characters.
func printable(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// A call is one operation, as it goes over the wire.
type call struct {
	op         string       // as in Error.Op
	credential CredentialID // zero for list and create
	method     string
	path       string // below the base URL, escaped, query included
	body       []byte // JSON, or nil
	accept     []int  // the statuses that mean success
	maxBody    int64  // bytes of a successful answer, after decompression
	// decode reads the body of a successful answer. Its error repeats nothing of
	// the body.
	decode func(body []byte) error
	made   int // attempts before this one, of all that the call is repeated for
	// repeatable says that doing it twice is the same as doing it once, so it
	// may be repeated even when the fate of an attempt is unknown.
	repeatable bool
}

// do makes the call, repeating it where that is safe. This is where an error
// learns which call it is of.
func (c *Client) do(ctx context.Context, k call) *Error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	made, uncertain := 0, false
	var before *Error
	for attempt := 1; ; attempt++ {
		k.made = made
		err := c.withKeys(ctx, k)
		if err == nil {
			c.budget.earn()
			return nil
		}
		if before != nil && err.withheld && errors.Is(err, ErrTimeout) && ctx.Err() != nil {
			return before // Telnyx is not slow: the time ran out before it was asked again
		}
		made, uncertain = made+err.Attempts, uncertain || err.Uncertain
		err.Op, err.Credential, err.Attempts, err.Uncertain = k.op, k.credential, made, uncertain
		if !c.again(ctx, k, attempt, err) {
			return err
		}
		before = err
	}
}
