package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// A Server answers requests for tokens.
type Server struct {
	*Process
	Address string // host:port
	Ops     string // that of the service's health and metrics; others have none
}

// Bare starts a handler that does nothing but answer, with so many bytes.
func (l *Lab) Bare(ctx context.Context, size int) (*Server, error) {
	binary, err := l.build(ctx, l.root, "bare", module+"/bench/bare")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := l.start(ctx, command{
		name: "bare", path: binary, listen: address, args: []string{"-listen", address, "-bytes", strconv.Itoa(size)},
	})
	return &Server{Process: p, Address: address}, err
}

// HandwrittenGo starts the server that people write in Go.
func (l *Lab) HandwrittenGo(ctx context.Context, u *Upstream, users []User) (*Server, error) {
	binary, err := l.build(ctx, filepath.Join(l.root, "bench", "handwritten", "go"), "handwritten-go", ".")
	if err != nil {
		return nil, err
	}
	return l.handwritten(ctx, u, users, command{name: "handwritten-go", path: binary})
}

// HandwrittenNode starts the server that people write in JavaScript, whose packages
// must have been installed.
func (l *Lab) HandwrittenNode(ctx context.Context, u *Upstream, users []User) (*Server, error) {
	folder := filepath.Join(l.root, "bench", "handwritten", "node")
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		return nil, errors.New("lab: the hand-written Node server has no node_modules: run `make bench`, or `npm ci` in its folder")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return l.handwritten(ctx, u, users, command{
		name: "handwritten-node", path: node, args: []string{"server.mjs"}, dir: folder, env: []string{"NODE_ENV=production"},
	})
}

func (l *Lab) handwritten(ctx context.Context, u *Upstream, users []User, c command) (*Server, error) {
	credentials := make(map[string]string, len(users))
	for _, user := range users {
		credentials[user.Name] = user.Credential
	}
	content, err := json.Marshal(credentials)
	if err != nil {
		return nil, err
	}
	path, err := l.Write("users.json", content)
	if err != nil {
		return nil, err
	}
	if c.listen, err = freeAddress(); err != nil {
		return nil, err
	}
	c.env = append(
		c.env, "TELNYX_API_KEY="+u.APIKey, "TELNYX_BASE_URL="+u.Telnyx, "OIDC_ISSUER="+u.Issuer, "OIDC_AUDIENCE="+u.Audience,
		"USERS_FILE="+path, "LISTEN="+c.listen,
	)
	p, err := l.start(ctx, c)
	return &Server{Process: p, Address: c.listen}, err
}

// Service starts the binary of tokensvc, with these users in a users file, and
// further variables. The name is that of its log. No user meets the bounds of a
// user's rate: that would be no measure.
func (l *Lab) Service(ctx context.Context, name, binary string, u *Upstream, users []User, env ...string) (*Server, error) {
	var list strings.Builder
	list.WriteString("users:\n")
	for _, user := range users {
		fmt.Fprintf(&list, "  %s: %s\n", user.Name, user.Credential)
	}
	path, err := l.Write(name+".users.yaml", []byte(list.String()))
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ops, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := l.start(ctx, command{
		name: name, path: binary, args: []string{"serve"}, dir: l.folder, listen: address, ready: "http://" + ops + "/readyz",
		env: append([]string{
			"TELNYX_API_KEY=" + u.APIKey, "TELNYX_BASE_URL=" + u.Telnyx,
			"TOKENSVC_OIDC_ISSUER=" + u.Issuer, "TOKENSVC_OIDC_AUDIENCE=" + u.Audience, "TOKENSVC_DIRECTORY=file:" + path,
			"TOKENSVC_LISTEN=" + address, "TOKENSVC_OPS_LISTEN=" + ops,
			"TOKENSVC_LIMITS_USER_PER_MINUTE=60000", "TOKENSVC_LIMITS_USER_BURST=10000",
		}, env...),
	})
	return &Server{p, address, ops}, err
}
