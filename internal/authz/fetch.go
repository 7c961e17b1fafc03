package authz

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxDocumentBytes = 1 << 20 // of a discovery document or a key set
	maxRedirects     = 3
)

// A publisher is where an issuer's documents are read from.
type publisher struct {
	issuer string // its URL
	client *http.Client
}

func newPublisher(i Issuer, cfg Config) *publisher {
	return &publisher{i.URL, &http.Client{Transport: cfg.Transport, CheckRedirect: sameHostOnly}}
}

// discoveredKeys reads the issuer's discovery document and then its keys (OpenID
// Connect Discovery 1.0 section 4).
func (p *publisher) discoveredKeys(ctx context.Context) (*keySet, time.Duration, error) {
	address := strings.TrimSuffix(p.issuer, "/") + "/.well-known/openid-configuration"
	body, _, err := p.get(ctx, address)
	if err != nil {
		return nil, 0, fmt.Errorf("discovery document: %w", err)
	}
	address, err = keysAddress(p.issuer, body)
	if err != nil {
		return nil, 0, fmt.Errorf("discovery document: %w", err)
	}
	return p.keysAt(address)(ctx)
}

// keysAt returns what reads the keys at an address. life is how long the issuer
// says they are good for, within our bounds.
func (p *publisher) keysAt(address string) func(context.Context) (*keySet, time.Duration, error) {
	return func(ctx context.Context) (set *keySet, life time.Duration, err error) {
		body, header, err := p.get(ctx, address)
		if err != nil {
			return nil, 0, fmt.Errorf("key set: %w", err)
		}
		set, err = parseKeySet(body)
		if err != nil {
			return nil, 0, fmt.Errorf("key set: %w", err)
		}
		return set, keyLife(header.Get("Cache-Control")), nil
	}
}

// keysAddress returns a discovery document's jwks_uri, if the document is that
// of the issuer: section 4.3 has the two compared exactly, or one issuer could
// speak for another.
func keysAddress(issuer string, document []byte) (string, error) {
	var doc struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return "", errors.New("is not JSON of the expected shape")
	}
	if doc.Issuer != issuer {
		return "", errors.New("names another issuer than the configured one (they are compared exactly, a slash at the end included)")
	}
	u, err := url.Parse(doc.JWKSURI)
	if err != nil || u.Host == "" || u.User != nil {
		return "", errors.New("has no usable jwks_uri")
	}
	plain := strings.HasPrefix(issuer, "http://") && isLoopback(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !plain) {
		return "", errors.New("has a jwks_uri that is not https")
	}
	return doc.JWKSURI, nil
}

// get returns a document and the header it came with.
func (p *publisher) get(ctx context.Context, address string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := p.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("answered status %d", res.StatusCode)
	}
	body, err := readDocument(res.Body)
	return body, res.Header, err
}

func readDocument(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxDocumentBytes+1))
	if err == nil && len(body) > maxDocumentBytes {
		err = fmt.Errorf("is larger than %d bytes", maxDocumentBytes)
	}
	return body, err
}

// sameHostOnly lets an issuer redirect within itself. Keys from elsewhere would
// be somebody else's keys.
func sameHostOnly(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
		return errors.New("refused a redirect to another host")
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// keyLife reads max-age (RFC 9111 section 5.2.2.1).
func keyLife(cacheControl string) time.Duration {
	for directive := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		if err != nil {
			return minKeyLife
		}
		return min(max(time.Duration(seconds)*time.Second, minKeyLife), maxKeyLife)
	}
	return defaultKeyLife
}
