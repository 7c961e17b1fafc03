package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// UpstreamOptions are those of the fakes.
type UpstreamOptions struct {
	Users     int           // who have a credential
	Algorithm string        // of bearers: RS256 or ES256, which is quicker to sign
	Latency   time.Duration // of Telnyx
	Limit     int           // requests that Telnyx serves in a second; 0 is all
}

// An Upstream is the fake Telnyx and the fake issuer, in one process.
type Upstream struct {
	*Process
	Telnyx   string `json:"telnyx"` // base URL
	APIKey   string `json:"api_key"`
	Issuer   string `json:"issuer"`
	Audience string `json:"audience"`
	Control  string `json:"control"`
}

// A User has a credential, and a bearer.
type User struct{ Name, Credential, Bearer string }

// Counts is what has come in at the upstream.
type Counts struct {
	Mints       int `json:"mints"`
	Lists       int `json:"lists"`
	Creates     int `json:"creates"`
	Limited     int `json:"limited"` // of all
	Connections int `json:"connections"`
	KeyFetches  int `json:"key_fetches"`
}

// Upstream starts one.
func (l *Lab) Upstream(ctx context.Context, o UpstreamOptions) (*Upstream, error) {
	binary, err := l.build(ctx, l.root, "upstream", module+"/bench/upstream")
	if err != nil {
		return nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	u := &Upstream{}
	u.Process, err = l.launch(ctx, command{name: "upstream", path: binary, args: []string{
		"-users", strconv.Itoa(o.Users), "-algorithm", o.Algorithm, "-latency", o.Latency.String(), "-limit", strconv.Itoa(o.Limit),
	}}, in)
	if err := errors.Join(err, in.Close()); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(out).Decode(u); err != nil {
		return nil, fmt.Errorf("lab: upstream: %w:\n%s", err, u.Log())
	}
	return u, nil
}

// Users returns the first users, each with a new bearer.
func (u *Upstream) Users(ctx context.Context, count int) (users []User, err error) {
	err = get(ctx, fmt.Sprintf("%s/users?count=%d", u.Control, count), func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) != 3 {
				return errors.New("lab: upstream: a line is not a user")
			}
			users = append(users, User{fields[0], fields[1], fields[2]})
		}
		return lines.Err()
	})
	if err == nil && len(users) != count {
		err = errors.New("lab: upstream: not all users came")
	}
	return users, err
}

// Counts asks what has come in so far.
func (u *Upstream) Counts(ctx context.Context) (c Counts, err error) {
	err = get(ctx, u.Control+"/counts", func(body io.Reader) error { return json.NewDecoder(body).Decode(&c) })
	return c, err
}
