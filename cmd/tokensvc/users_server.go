package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokensvc/tokensvc/internal/authz"
	"github.com/tokensvc/tokensvc/internal/secret"
)

// Bounds of what is asked of a service's admin API.
const (
	adminTimeout = 30 * time.Second
	answerTime   = time.Minute // for what the service has taken its own time for to arrive
	adminBytes   = 64 << 20    // of an answer: a page of users with all the devices that one may have
)

// serverBooks are the books behind the admin API of a service.
type serverBooks struct {
	base   string // up to the API's version
	token  secret.Text
	client *http.Client
}

func openServer(address, tokenFile string, trust serverTrust) (books, error) {
	var base string
	if flaw := flawOf(asBaseURL(&base), address); flaw != "" {
		return nil, misused("-server %s", flaw)
	}
	token, err := readBearerFile(tokenFile)
	if err != nil {
		return nil, misused("-token-file: %w", err)
	}
	config, err := trust.config()
	if err != nil {
		return nil, usageError{err}
	}
	return &serverBooks{base + "/admin/v1", token, &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for who was named
	}}, nil
}

// readBearerFile reads what goes after "Bearer": somebody's bearer, or the admin
// token.
func readBearerFile(path string) (secret.Text, error) {
	text, err := readSmallFile(path, authz.MaxBearerBytes+maxAround, "a token")
	text = strings.TrimSpace(text)
	switch {
	case err != nil:
		return secret.Text{}, err
	case text == "":
		return secret.Text{}, errors.New("the token is empty")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return secret.Text{}, errors.New("a token is printable ASCII without spaces")
	}
	return secret.New(text), nil
}

func (b *serverBooks) close() error {
	b.client.CloseIdleConnections()
	return nil
}

// An ask is a request to the admin API.
type ask struct {
	method      string
	path        []string // after the version, not escaped
	query       url.Values
	contentType string
	body        []byte
	header      http.Header
	timeout     time.Duration
}

// do asks, and reads the answer into a value if there is one.
func (b *serverBooks) do(ctx context.Context, a ask, into any) error {
	if a.timeout == 0 {
		a.timeout = adminTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	address := b.base
	for _, part := range a.path {
		address += "/" + url.PathEscape(part)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, address+"?"+a.query.Encode(), bytes.NewReader(a.body))
	if err != nil {
		return errors.New("the user cannot be asked for")
	}
	for name, values := range a.header {
		req.Header[name] = values
	}
	if a.contentType != "" {
		req.Header.Set("Content-Type", a.contentType)
	}
	req.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	req.Header.Set("User-Agent", "tokensvc/"+version)
	res, err := b.client.Do(req)
	if err != nil {
		return fmt.Errorf("the service does not answer: %w", withoutAddress(err))
	}
	defer res.Body.Close()
	content, err := io.ReadAll(io.LimitReader(res.Body, adminBytes+1))
	switch {
	case err != nil || len(content) > adminBytes:
		return errors.New("the service's answer did not arrive whole")
	case res.StatusCode >= 300:
		return refusalOf(res.StatusCode, content)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s is no admin API of tokensvc: its answer cannot be read", b.base)
	}
	return nil
}

// withoutAddress leaves out of an error what was asked for, which has a user in
// it.
func withoutAddress(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// A refusal is a problem document.
type refusal struct {
	Status int    `json:"-"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	ID     string `json:"request_id"`
}

func (r *refusal) Error() string {
	if r.Code == "" {
		return fmt.Sprintf("the service answers %d, and not as the admin API does", r.Status)
	}
	return fmt.Sprintf("%s: %s (request %s)", r.Code, r.Detail, r.ID)
}

func refusalOf(status int, content []byte) error {
	r := &refusal{Status: status}
	_ = json.Unmarshal(content, r) // then it is somebody else who answers
	return r
}
