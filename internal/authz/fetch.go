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
	return &publisher{i.URL, &http.Client{Transport: cfg.to(i, cfg.Transport), CheckRedirect: sameHostOnly}}
}

// discover reads the issuer's discovery document (OpenID Connect Discovery 1.0
// section 4).
func (p *publisher) discover(ctx context.Context) ([]byte, http.Header, error) {
	body, header, err := p.get(ctx, strings.TrimSuffix(p.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		err = fmt.Errorf("discovery document: %w", err)
	}
	return body, header, err
}

// discoveredKeys reads the discovery document and then the keys.
func (p *publisher) discoveredKeys(ctx context.Context) (*keySet, time.Duration, error) {
	document, _, err := p.discover(ctx)
	if err != nil {
		return nil, 0, err
	}
	address, err := keysAddress(p.issuer, document)
	if err != nil {
		return nil, 0, fmt.Errorf("discovery document: %w", err)
	}
	return p.keysAt(address)(ctx)
}

// discoveredEndpoint reads from the discovery document where the issuer answers
// about tokens (RFC 8414 section 2).
func (p *publisher) discoveredEndpoint(ctx context.Context) (endpoint *string, life time.Duration, err error) {
	document, header, err := p.discover(ctx)
	if err != nil {
		return nil, 0, err
	}
	address, err := introspectionAddress(p.issuer, document)
	if err != nil {
		return nil, 0, fmt.Errorf("discovery document: %w", err)
	}
	return &address, keyLife(header.Get("Cache-Control")), nil
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

// discovery is what a discovery document says that we use.
type discovery struct {
	Issuer                string `json:"issuer"`
	JWKSURI               string `json:"jwks_uri"`
	IntrospectionEndpoint string `json:"introspection_endpoint"`
}

// parseDiscovery reads a discovery document, if it is that of the issuer:
// section 4.3 has the two compared exactly, or one issuer could speak for
// another.
func parseDiscovery(issuer string, document []byte) (discovery, error) {
	var doc discovery
	if err := json.Unmarshal(document, &doc); err != nil {
		return doc, errors.New("is not JSON of the expected shape")
	}
	if doc.Issuer != issuer {
		return doc, errors.New("names another issuer than the configured one (they are compared exactly, a slash at the end included)")
	}
	return doc, nil
}

func keysAddress(issuer string, document []byte) (string, error) {
	doc, err := parseDiscovery(issuer, document)
	if err != nil {
		return "", err
	}
	return doc.JWKSURI, checkPublished(issuer, "jwks_uri", doc.JWKSURI)
}

func introspectionAddress(issuer string, document []byte) (string, error) {
	doc, err := parseDiscovery(issuer, document)
	if err != nil {
		return "", err
	}
	return doc.IntrospectionEndpoint, checkPublished(issuer, "introspection_endpoint", doc.IntrospectionEndpoint)
}

// checkPublished refuses an address that a discovery document must not send us
// to. Only an issuer on loopback may name one of plain http, there too.
func checkPublished(issuer, name, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return fmt.Errorf("has no usable %s", name)
	}
	plain := strings.HasPrefix(issuer, "http://") && isLoopback(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !plain) {
		return fmt.Errorf("has a %s that is not https", name)
	}
	return nil
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
